"""Ids that grow with time (``domain.snowflake``), made by many processes.

The clock of a machine that makes ids is never asked. PostgreSQL leases a number, and with it a span of milliseconds by
its own clock in which nobody else makes ids under that number; a process goes on from there by its steady clock. So
neither a clock that is set back or forward, nor a process that was frozen, nor two that start at once make an id twice,
and those of one process only grow. If PostgreSQL's own clock is set back, ids go on from where they were.

An id may be committed after a larger one: whoever resumes something does so by position in the log, never by id.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog
from msgspec import Struct
from psycopg import Connection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from commands.ports import IdsUnavailable
from domain.snowflake import EPOCH_MS, SEQUENCE_BITS, made
from infra.bounded import BoundedAsync
from infra.tasks import end
from infra.telemetry import metrics

LEASE_SECONDS: Final = 30.0
"""How long ids are made without hearing from PostgreSQL, and how long a number is taken after a crash."""
RETRY_SECONDS: Final = 0.5
"""About so long it is waited before PostgreSQL is asked again that did not prolong the lease."""
GIVE_BACK_SECONDS_MAX: Final = 1.0
"""How long whoever ends waits for PostgreSQL to take the number back."""

_SEQUENCE_MAX: Final = (1 << SEQUENCE_BITS) - 1

_TAKE: Final = b"""
WITH clock AS MATERIALIZED (SELECT log.id_clock_ms() AS ms),
free AS (
    SELECT w.worker FROM log.id_workers w, clock WHERE w.until_ms < clock.ms
    ORDER BY w.until_ms, w.worker LIMIT 1 FOR UPDATE OF w SKIP LOCKED)
UPDATE log.id_workers w SET until_ms = clock.ms + %(lease_ms)s FROM free, clock WHERE w.worker = free.worker
RETURNING w.worker, clock.ms, w.until_ms
"""
_RENEW: Final = b"""
UPDATE log.id_workers w SET until_ms = greatest(w.until_ms, c.ms + %(lease_ms)s) FROM (SELECT log.id_clock_ms() AS ms) c
WHERE w.worker = %(worker)s AND w.until_ms = %(until_ms)s
RETURNING w.worker, c.ms, w.until_ms
"""
_HELD: Final = "SELECT count(*) FILTER (WHERE until_ms >= log.id_clock_ms()), count(*) FROM log.id_workers"
_GIVE_BACK: Final = (
    b"UPDATE log.id_workers SET until_ms = %(last_ms)s WHERE worker = %(worker)s AND until_ms = %(until_ms)s"
)

_log = structlog.get_logger(__name__)


class NoIds(IdsUnavailable):
    """No id can be made now: PostgreSQL did not prolong the lease in time, or all numbers are taken. Try again."""


class Lease(Struct, frozen=True):
    """What PostgreSQL gave: a number, the time by its clock, and the last millisecond in which ids may be made."""

    worker: int
    now_ms: int
    until_ms: int


def numbers_held(connection: Connection[Any]) -> tuple[int, int]:
    """How many numbers are under a lease, those of who just ended without a word included; of all."""
    row = connection.execute(_HELD).fetchone()
    return (row[0], row[1]) if row is not None else (0, 0)


class Clock:
    """Makes ids under a lease, all after ``after_ms``. ``steady`` gives seconds that only grow, from any beginning."""

    def __init__(self, lease: Lease, steady: Callable[[], float] = time.monotonic, *, after_ms: int = 0) -> None:
        self.lease = lease
        self._steady = steady
        self._began = steady()
        self.last_ms = max(lease.now_ms, after_ms + 1)
        self._sequence = -1

    def prolong(self, lease: Lease) -> None:
        """Go on under another lease of the same number."""
        self.lease, self._began = lease, self._steady()

    def next(self) -> int:
        """An id larger than all before. Raises ``NoIds`` when the lease has ended."""
        now = self._now_ms()
        if now > self.last_ms:
            ms, sequence = now, 0
        elif self._sequence < _SEQUENCE_MAX:
            ms, sequence = self.last_ms, self._sequence + 1
        else:
            ms, sequence = self.last_ms + 1, 0
        if ms > self.lease.until_ms:
            raise NoIds("no ids can be made: PostgreSQL has not prolonged the lease. Try again")
        self.last_ms, self._sequence = ms, sequence
        return made(ms + EPOCH_MS, self.lease.worker, sequence)

    def lacking_seconds(self) -> float:
        """How long ago the lease ended; 0 while it lasts."""
        return max(0, self._now_ms() - self.lease.until_ms) / 1000

    def _now_ms(self) -> int:
        return self.lease.now_ms + int(1000 * (self._steady() - self._began))


class PastIds:
    """Makes the ids of messages that a program writes into the past, each of its own time. One program at a time."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def at(self, at: datetime) -> "PastIdsAt":
        """The ids of that time."""
        return PastIdsAt(self, int(at.timestamp() * 1000))

    def make(self, ms: int) -> int:
        """Another id of that millisecond since 1970."""
        count = self._counts[ms] = self._counts.get(ms, -1) + 1
        return made(ms, count >> SEQUENCE_BITS, count & _SEQUENCE_MAX)


class PastIdsAt(Struct, frozen=True):
    """Makes ids of one millisecond since 1970."""

    ids: PastIds
    ms: int

    def next(self) -> int:
        """Another one."""
        return self.ids.make(self.ms)


class Snowflakes:
    """The ids that one process makes. Of one event loop; open it, and close it."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        lease_seconds: float = LEASE_SECONDS,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._lease_ms = int(1000 * lease_seconds)
        self._steady = steady
        self._clock: Clock | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        """Set when an id was wanted and none could be made."""

    async def open(self) -> None:
        """Take a lease and keep it. Raises ``NoIds``, ``psycopg.Error`` and ``PoolTimeout``."""
        await self.renew()
        self._renewing = asyncio.create_task(self._keep(), name="moot-message-ids")
        metrics.IDS_LACKING_SECONDS.set_function(self.lacking_seconds)

    async def close(self) -> None:
        """Give the number back."""
        if self._renewing is not None:
            metrics.IDS_LACKING_SECONDS.set_function(lambda: 0.0)
            await end(self._renewing)
        clock, self._clock = self._clock, None
        if clock is not None:
            with suppress(psycopg.Error, PoolTimeout):  # it is free anyway in a while
                async with self._pool.connection(GIVE_BACK_SECONDS_MAX) as connection:
                    if isinstance(connection, BoundedAsync):
                        connection.answer_seconds_max = GIVE_BACK_SECONDS_MAX
                    lease = clock.lease
                    held = {"worker": lease.worker, "until_ms": lease.until_ms, "last_ms": clock.last_ms}
                    await connection.execute(_GIVE_BACK, held)

    def next(self) -> int:
        """An id larger than all before that this process made. Raises ``NoIds``."""
        if self._clock is None:
            raise NoIds("no ids can be made: there is no lease. Try again")
        try:
            return self._clock.next()
        except NoIds:
            self._wanted.set()
            raise

    def lacking_seconds(self) -> float:
        """For how long no ids could be made; 0 while they can. For any thread."""
        clock = self._clock
        return 0.0 if clock is None else clock.lacking_seconds()

    async def renew(self) -> None:
        """Have the lease prolonged, or take another number where somebody else has this one by now."""
        async with self._pool.connection() as connection:
            if self._clock is not None:
                lease = self._clock.lease
                held = {"worker": lease.worker, "until_ms": lease.until_ms, "lease_ms": self._lease_ms}
                row = await (await connection.execute(_RENEW, held)).fetchone()
                if row is not None:
                    self._clock.prolong(Lease(*row))
                    return
            row = await (await connection.execute(_TAKE, {"lease_ms": self._lease_ms})).fetchone()
        if row is None:
            raise NoIds("no ids can be made: all 1,024 numbers are taken. Stop some processes, or try again")
        after_ms = self._clock.last_ms if self._clock is not None else 0
        self._clock = Clock(Lease(*row), self._steady, after_ms=after_ms)

    async def _keep(self) -> None:
        pause = self._lease_ms / 3000
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            try:
                await self.renew()
            except (psycopg.Error, PoolTimeout, NoIds) as error:
                _log.warning("snowflakes.not_renewed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
                pause = 0.0  # the lease goes on running: try again at once
            else:
                pause = self._lease_ms / 3000
            self._wanted.clear()
