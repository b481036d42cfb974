"""What Redis remembers of sessions: for a minute that one goes on, and at once that one has ended.

It is asked for every request, so those that come in the same moment are asked for in one go: one round trip, one
connection, however many there are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.event import Id

T = TypeVar("T")

LIVE_SECONDS = 60
"""How long Redis remembers that a session goes on. Should Redis miss the end of one, this is how long it could err."""

_log = structlog.get_logger(__name__)


def ended_channel(session_id: Id) -> str:
    """The Redis channel on which the end of that session is published, once it is committed."""
    return f"session-ended:{session_id}"


class SessionMarks:
    """The marks of one process; they belong to the event loop that uses them.

    A Redis that is away, or takes longer than ``seconds_max``, knows nothing: nothing is raised.
    """

    def __init__(self, redis: Redis, *, seconds_max: float) -> None:
        self._redis = redis
        self._seconds_max = seconds_max
        self._waiting: list[tuple[Id, asyncio.Future[bool | None]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def goes_on(self, session_id: Id) -> bool | None:
        """Whether the session goes on; ``None`` if Redis does not know."""
        answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((session_id, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def live(self, session_id: Id) -> None:
        """Remember that the session goes on, unless its end is remembered already."""
        await self._try(lambda: self._redis.set(_key(session_id), "live", ex=LIVE_SECONDS, nx=True))

    async def ended(self, session_id: Id, seconds: int) -> None:
        """Remember for so long that the session has ended, and tell every process."""
        await self._try(lambda: self._redis.set(_key(session_id), "ended", ex=seconds))
        await self._try(lambda: self._redis.publish(ended_channel(session_id), b""))

    async def _ask(self) -> None:
        """Ask for whatever waits, again and again until nothing does: what comes meanwhile is in the next go."""
        asked: list[tuple[Id, asyncio.Future[bool | None]]] = []
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                keys = [_key(session_id) for session_id, _ in asked]
                found = await self._try(lambda keys=keys: self._redis.mget(keys)) or [None] * len(keys)  # type: ignore[misc]
                for (_, answer), mark in zip(asked, found, strict=True):
                    if not answer.done():
                        answer.set_result(None if mark is None else mark in {b"live", "live"})
        finally:
            self._asking = None
            for _, answer in (*asked, *self._waiting):
                answer.cancel()
            self._waiting = []

    async def _try(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        try:
            async with asyncio.timeout(self._seconds_max):
                return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("sessions do without Redis", error=type(error).__name__)
            return None


def _key(session_id: Id) -> str:
    return f"session:{session_id}"
