"""The pool of connections that an event loop reads through: bounded waits, and a breaker while PostgreSQL is away."""

import asyncio
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.pq import ConnStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from infra.bounded import bounded_async
from infra.breaker import Breaker, CircuitOpen, State
from infra.postgres import CONNECT_SECONDS_MAX, CONTEXT, POOL_SIZE_MAX, with_silence_max
from infra.tasks import end

ANSWER_SECONDS_MAX: Final = 10.0
"""How long PostgreSQL may take over one answer, unless told otherwise. A network that swallows packets says nothing."""

CLOSE_SECONDS: Final = 0.5
"""How long a pool that is closed waits for attempts to connect before it breaks them off."""

_log = structlog.get_logger(__name__)


class PostgresAway(CircuitOpen, psycopg.OperationalError):
    """PostgreSQL did not answer lately and was not asked: a breaker is open."""


def is_away(error: BaseException) -> bool:
    """Whether this says that the server cannot be reached or is going down, rather than that it said no.

    Connection failures have no SQLSTATE; classes 08 and 57P are those of lost connections and of a server that starts
    or stops (https://www.postgresql.org/docs/current/errcodes-appendix.html).
    """
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


class GuardedPool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """A pool whose breaker refuses at once while the server is away, in place of a wait for each caller.

    The server counts as away when a connection came back broken, and when a caller waited in vain while none came
    back whole: that all are busy is no sign of it. As soon as one was broken all are replaced, without asking them
    first: a restart breaks them all, and each would be somebody's error, or somebody's wait.

    ``on_broken`` is called in the event loop for each connection that came back broken, before anybody gets another.
    """

    breaker: Breaker | None = None
    on_broken: Callable[[], None] | None = None
    _came_back = 0
    _draining: "asyncio.Task[None] | None" = None

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[TupleRow]:  # noqa: ASYNC109 - the library's
        """A connection. Raises ``PostgresAway``, ``PoolTimeout`` or ``TooManyRequests``."""
        breaker = self.breaker
        if breaker is None:
            return await super().getconn(timeout)
        breaker.admit()
        came_back = self._came_back
        try:
            if breaker.state is State.HALF_OPEN:
                await self.drain()
            return await super().getconn(timeout)
        except (PoolTimeout, TooManyRequests):
            if self._came_back == came_back:
                breaker.failed()
            else:
                breaker.left()
            raise
        except BaseException:
            breaker.left()
            raise

    async def putconn(self, conn: AsyncConnection[TupleRow]) -> None:
        """Give it back."""
        broken = conn.pgconn.status == ConnStatus.BAD
        if broken and self.on_broken is not None:
            self.on_broken()
        if self.breaker is not None:
            if broken:
                self.breaker.failed()
                # One from before the last time says nothing new.
                if conn._created_at > self._drained_at and (self._draining is None or self._draining.done()):
                    self._draining = asyncio.create_task(self._drain(), name="moot-pool-drain")
            else:
                self._came_back += 1
                self.breaker.succeeded()
        await super().putconn(conn)

    async def close(self, timeout: float = CLOSE_SECONDS) -> None:  # noqa: ASYNC109 - as of whom it is inherited
        """Close it, and break off what attempts to connect: a server that does not answer keeps nobody here."""
        workers = tuple(self._workers)
        await super().close(timeout)
        await end(*workers)

    async def _drain(self) -> None:
        try:
            await self.drain()
        except psycopg.Error as error:
            _log.warning("pool.not_drained", error=f"{type(error).__name__}: {error}")


def guarded_pool(
    conninfo: str,
    *,
    min_size: int = 1,
    max_size: int = POOL_SIZE_MAX,
    wait_seconds_max: float = CONNECT_SECONDS_MAX,
    answer_seconds_max: float = ANSWER_SECONDS_MAX,
    breaker: Breaker | None = None,
    name: str = "",
) -> GuardedPool:
    """A pool for an event loop, still closed: ``await pool.open()`` it there, ``await pool.close()`` it at the end.

    Connections are in autocommit. After an outage it tries afresh for each caller rather than at growing distances, so
    it is back as soon as the server is; the breaker decides how often there is a caller.
    """
    made = GuardedPool(
        with_silence_max(conninfo),
        connection_class=bounded_async(answer_seconds_max),
        kwargs={"context": CONTEXT, "autocommit": True, "connect_timeout": max(2, int(wait_seconds_max))},
        min_size=min_size,
        max_size=max_size,
        open=False,
        name=name or None,
        timeout=wait_seconds_max,
        reconnect_timeout=wait_seconds_max,
    )
    made.breaker = breaker
    return made
