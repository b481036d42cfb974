"""Where queries read the views: on the replica, where one is given and has come far enough, else on the primary.

Commands never come here: they decide on the primary. Whoever must see something that he knows of (his own write, a
page that goes on where the last one ended) says up to which position; a replica that is not there yet is passed over,
never waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from infra.breaker import pauses
from infra.guarded_pool import PostgresAway, is_away
from infra.telemetry import metrics
from projections.catalogue import ALL

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
T = TypeVar("T")

_REPLICA_FAILURES: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TooManyRequests)
"""What makes the primary answer instead: a query that recovery cancelled is among them."""
_log = structlog.get_logger(__name__)


class ReadLimits:
    """``attempts_max`` of a read, up to ``retry_seconds_max`` apart; a replica that lags is left alone for so long."""

    __slots__ = ("attempts_max", "replica_retry_seconds", "retry_seconds_max")

    def __init__(
        self, attempts_max: int = 2, retry_seconds_max: float = 0.1, replica_retry_seconds: float = 0.2
    ) -> None:
        self.attempts_max = attempts_max
        self.retry_seconds_max = retry_seconds_max
        self.replica_retry_seconds = replica_retry_seconds


class Reads:
    """The servers that one process reads from. ``names`` are the views that have to be far enough: all of them."""

    def __init__(
        self,
        primary: Pool,
        replica: Pool | None = None,
        *,
        limits: ReadLimits | None = None,
        names: Collection[str] = tuple(ALL),
    ) -> None:
        self.primary = primary
        self.replica = replica
        self.limits = limits or ReadLimits()
        self._names = list(names)
        self._reached = 0
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    def begin(self) -> "Reading":
        """The reads of one operation."""
        return Reading(self)

    async def replica_has(self, position: int) -> bool:
        """Whether all views are that far on the replica. What was found once is remembered while it answers."""
        if self.replica is None:
            return False
        if position <= self._reached:
            return True
        async with self._asking:
            if position <= self._reached or time.monotonic() - self._asked_at < self.limits.replica_retry_seconds:
                return position <= self._reached
            try:
                async with self.replica.connection() as connection:
                    found = await connection.execute("SELECT views.reached(%s::text[])", (self._names,))
                    row = await found.fetchone()
            except (*_REPLICA_FAILURES, psycopg.Error) as error:
                _log.debug("replica.unknown", error=f"{type(error).__name__}: {error}")
                row = None
                self.forget()
            self._asked_at = time.monotonic()
            if row is not None and row[0] is not None:
                self._reached = max(self._reached, row[0])
        return position <= self._reached

    def forget(self) -> None:
        """The replica failed: what answers in its place next may not be as far."""
        self._reached = 0


class Reading:
    """The reads of one operation, all on one server unless that fails."""

    __slots__ = ("_on_replica", "_reads")

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._on_replica = reads.replica is not None

    def on_primary(self) -> "Reading":
        """Read on the primary from now on."""
        self._on_replica = False
        return self

    @property
    def server(self) -> str:
        """Which server is read, unless it fails."""
        return "replica" if self._on_replica else "primary"

    async def see(self, position: int) -> None:
        """Read where everything up to that position is to be seen, if it is anywhere."""
        if self._on_replica and not await self._reads.replica_has(position):
            self._on_replica = False

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What ``read`` gives, on a connection of its own.

        It is called once more where the first connection turns out to be broken, so it must only read.
        """
        reads = self._reads
        if self._on_replica and reads.replica is not None:
            try:
                async with reads.replica.connection() as connection:
                    found = await read(connection)
            except _REPLICA_FAILURES as error:
                self._on_replica = False
                reads.forget()
                metrics.RETRIES.labels("replica").inc()
                _log.info("replica.passed_over", error=f"{type(error).__name__}: {error}")
            else:
                _REPLICA_READS.inc()
                return found
        limits = reads.limits
        for pause in pauses(limits.attempts_max, limits.retry_seconds_max, limits.retry_seconds_max):
            try:
                return await _run(reads.primary, read)
            except psycopg.OperationalError as error:
                # Who waited for a connection in vain, or was refused one, has waited long enough.
                if isinstance(error, PoolTimeout | PostgresAway) or not is_away(error):
                    raise
                metrics.RETRIES.labels("postgres").inc()
                await asyncio.sleep(pause)
        return await _run(reads.primary, read)


async def _run(pool: Pool, read: Callable[[Connection], Awaitable[T]]) -> T:
    async with pool.connection() as connection:
        found = await read(connection)
    _PRIMARY_READS.inc()
    return found


_PRIMARY_READS = metrics.READS.labels("primary")
_REPLICA_READS = metrics.READS.labels("replica")
