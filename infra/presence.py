"""Who is present, and who types: in Redis alone, for as long as devices say so. Neither is an event.

Each device of an account chooses a state, and what was chosen last among the devices that live is what holds. A device
lives for ``expiry_seconds`` after its last heartbeat. When it goes, the last choice of those that are left holds. One
that is new, or was silent for too long, repeats what holds, or held last; but who comes is not idle. Where Redis has
lost that, what the client was answered last holds: nobody becomes visible by it. Who is invisible is offline to
everybody else, in states, in counts, and in when anything is told.

People see each other in places, the servers that both are in (``infra.queries.presence`` says which), and in the
conversations that they share. A place has an index of who is present, and a log of whose state changed last, so that
whoever follows it reads what is new and nothing else. Those in conversations are few and are followed one by one: of
them nothing is kept but how each is. A signal on ``presence_channel``, of the place or the account, says when.

Redis knows the time, so clocks of processes do not matter, and each step is one script: any number of processes may
do the same, ``sweep`` among it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from math import ceil
from typing import Any, Final

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from domain.event import Id
from infra import presence_scripts as scripts
from infra.attempts import TooManyAttempts
from infra.settings import Settings
from infra.tasks import end

REDIS_TIME: Final = -1
"""In place of a time: that of Redis."""

_log = structlog.get_logger(__name__)


class Presence(StrEnum):
    """How somebody is. ``INVISIBLE`` is for the account itself alone; others are told ``OFFLINE``."""

    ONLINE = "ONLINE"
    IDLE = "IDLE"
    DO_NOT_DISTURB = "DO_NOT_DISTURB"
    INVISIBLE = "INVISIBLE"
    OFFLINE = "OFFLINE"


class PresenceUnavailable(ConnectionError):
    """Redis does not answer: who is present is not known."""


class PresenceLimits(Struct, frozen=True):
    """Those settings ``presence_…`` and ``typing_…`` that Redis needs; see them for units and reasons."""

    expiry_seconds: float = 30.0
    remembered_seconds: float = 7 * 24 * 60 * 60.0
    devices_max: int = 20
    changes_max: int = 30
    changes_seconds: float = 60.0
    log_max: int = 2_000
    sweep_seconds: float = 1.0
    sweep_accounts_max: int = 200
    read_accounts_max: int = 500
    redis_calls_max: int = 20
    redis_seconds_max: float = 1.0
    typing_expiry_seconds: float = 8.0
    typing_people_max: int = 10
    typing_starts_max: int = 20
    typing_starts_seconds: float = 20.0


class Changes(Struct, frozen=True):
    """Whose state changed in a place up to change ``number``; ``None``: not known, read who is there."""

    number: int
    accounts: Sequence[Id] | None


def presence_limits(settings: Settings) -> PresenceLimits:
    """The limits, from the settings."""
    fields = PresenceLimits.__struct_fields__
    return PresenceLimits(**{name: getattr(settings, _setting(name)) for name in fields})


def _setting(name: str) -> str:
    return name if name.startswith("typing_") else f"presence_{name}"


def presence_channel(subject_id: Id) -> str:
    """Signalled at each change of who is present in a place; or of how an account is shown, wherever that is."""
    return f"presence:{subject_id}"


def typing_channel(channel_id: Id) -> str:
    """Signalled when somebody begins to type there, or says that he stops; not when that ends by itself."""
    return f"typing:{channel_id}"


class Presences:
    """Who is present, and who types. ``now_ms`` is for tests: else Redis says what time it is.

    Everything raises ``PresenceUnavailable`` where Redis does not answer within ``redis_seconds_max``.
    """

    def __init__(self, redis: Redis, limits: PresenceLimits, now_ms: Callable[[], int] = lambda: REDIS_TIME) -> None:
        self._redis = redis
        self._limits = limits
        self._now_ms = now_ms
        self._touch = redis.register_script(scripts.TOUCH)
        self._sweep = redis.register_script(scripts.SWEEP)
        self._own = redis.register_script(scripts.OWN)
        self._shown = redis.register_script(scripts.SHOWN)
        self._changes = redis.register_script(scripts.CHANGES)
        self._type = redis.register_script(scripts.TYPE)
        self._stop_typing = redis.register_script(scripts.STOP_TYPING)
        self._typists = redis.register_script(scripts.TYPISTS)
        self._turns = asyncio.Semaphore(limits.redis_calls_max)
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to sweep, every ``sweep_seconds``. Does not wait for Redis."""
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._keep_sweeping(), name="moot-presence-sweeper")

    async def close(self) -> None:
        """Stop sweeping."""
        task, self._sweeping = self._sweeping, None
        if task is not None:
            await end(task)

    async def set(self, account_id: Id, device: str, state: Presence, places: Sequence[Id] | None) -> Presence:
        """A device chooses: this is the last choice from now on, and a heartbeat. Gives what holds.

        ``places`` are all that the account is in; ``None``: not known now, they are as before.
        Raises ``TooManyAttempts``.
        """
        return await self._heard("set", account_id, device, state, places)

    async def beat(
        self, account_id: Id, device: str, places: Sequence[Id] | None, answered: Presence = Presence.ONLINE
    ) -> Presence:
        """A device lives. Gives what holds. Raises ``TooManyAttempts`` for one that comes and goes too often.

        ``answered`` is what it was given last: that holds again where Redis knows nothing of the account any more.
        """
        return await self._heard("beat", account_id, device, answered, places)

    async def leave(self, account_id: Id, device: str) -> Presence:
        """A device is gone. Gives what holds now, ``OFFLINE`` if it was the last."""
        return await self._heard("leave", account_id, device, Presence.ONLINE, None)

    async def own(self, account_id: Id) -> Presence:
        """What holds, as the account itself may know it."""
        text = await self._run(self._own, account_id)
        return Presence(text.decode() or "OFFLINE")

    async def shown(self, account_ids: Sequence[Id]) -> dict[Id, Presence]:
        """What others see of those of the accounts that are not offline to them."""
        found: dict[Id, Presence] = {}
        size = self._limits.read_accounts_max
        for at in range(0, len(account_ids), size):
            page = account_ids[at : at + size]
            states = await self._run(self._shown, *page)
            found |= {
                account_id: Presence(state.decode()) for account_id, state in zip(page, states, strict=True) if state
            }
        return found

    async def present(self, place_id: Id) -> dict[Id, Presence]:
        """Who is present in a place, and how. What changes meanwhile may be in it or not."""
        found: dict[Id, Presence] = {}
        cursor = 0
        while True:
            cursor, page = await self._scan(place_id, cursor)
            found |= await self.shown([Id(account.decode()) for account in page])
            if not cursor:
                return found

    async def _scan(self, place_id: Id, cursor: int) -> tuple[int, list[bytes]]:
        key, size = f"presence:in:{place_id}", self._limits.read_accounts_max
        found: tuple[int, list[bytes]] = await self._answer(lambda: self._redis.sscan(key, cursor, count=size))
        return found

    async def last_change(self, place_id: Id) -> int:
        """The number of the last change in the place, as far as Redis remembers one; else 0."""
        log = f"presence:log:{place_id}"
        found = await self._answer(lambda: self._redis.zrevrange(log, 0, 0, withscores=True))
        return int(found[0][1]) if found else 0

    async def changes(self, place_id: Id, after: int) -> Changes:
        """Whose state changed in the place after change ``after``."""
        number, whole, *accounts = await self._run(self._changes, place_id, after)
        return Changes(int(number), None if whole else [Id(account.decode()) for account in accounts])

    async def sweep(self) -> int:
        """Tell of what has ended by itself. Gives for how many accounts."""
        total = 0
        while True:
            settled = int(await self._run(self._sweep, self._limits.sweep_accounts_max))
            total += settled
            if settled < self._limits.sweep_accounts_max:
                return total

    async def start_typing(self, account_id: Id, channel_id: Id) -> None:
        """The account types in the channel, for ``typing_expiry_seconds``. Raises ``TooManyAttempts``."""
        limits = self._limits
        wait_ms = await self._run(
            self._type,
            account_id,
            channel_id,
            _ms(limits.typing_expiry_seconds),
            limits.typing_people_max,
            limits.typing_starts_max,
            _ms(limits.typing_starts_seconds),
        )
        _refuse(int(wait_ms))

    async def stop_typing(self, account_id: Id, channel_id: Id) -> None:
        """The account types no more: it sent its message, or thought better of it."""
        await self._run(self._stop_typing, account_id, channel_id)

    async def typists(self, channel_id: Id) -> list[tuple[Id, float]]:
        """Who types in the channel, and for how many seconds that holds; the first to end first."""
        found = await self._run(self._typists, channel_id)
        return [(Id(account.decode()), int(left) / 1000) for account, left in zip(found[::2], found[1::2], strict=True)]

    async def _heard(
        self, verb: str, account_id: Id, device: str, state: Presence, places: Sequence[Id] | None
    ) -> Presence:
        limits = self._limits
        wait_ms, holds = await self._run(
            self._touch,
            _ms(limits.expiry_seconds),
            limits.devices_max,
            limits.changes_max,
            _ms(limits.changes_seconds),
            account_id,
            verb,
            device,
            state.value,
            0 if places is None else 1,
            *(places or ()),
        )
        _refuse(int(wait_ms))
        return Presence(holds.decode() or "OFFLINE")

    async def _run(self, script: AsyncScript, *given: Any) -> Any:
        common = (self._now_ms(), _ms(self._limits.remembered_seconds), self._limits.log_max)
        return await self._answer(lambda: script(args=[*common, *given]))

    async def _answer(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(self._limits.redis_seconds_max), self._turns:
                return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            raise PresenceUnavailable(f"{type(error).__name__}: {error}") from error

    async def _keep_sweeping(self) -> None:
        known_away = False
        while True:
            try:
                await self.sweep()
                known_away = False
            except PresenceUnavailable as error:
                if not known_away:
                    _log.warning("presence.not_swept", error=str(error))
                known_away = True
            await asyncio.sleep(self._limits.sweep_seconds)


Shown = Mapping[Id, Presence]
"""What others see of accounts; who is not in it is offline."""


def _ms(seconds: float) -> int:
    return ceil(seconds * 1000)


def _refuse(wait_ms: int) -> None:
    if wait_ms > 0:
        raise TooManyAttempts(ceil(wait_ms / 1000))
