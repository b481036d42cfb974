"""Reading one's own writes: wait until the views have reached a position of the log."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from infra.signals import PROGRESS, Signals
from infra.telemetry import metrics
from projections.catalogue import ALL

WAIT_SECONDS_MAX = 2.0
"""How long a query waits for the views unless told otherwise. They are behind by milliseconds, or in trouble."""

REST_SECONDS_MAX = 0.05
"""How long the checkpoints are left alone after they were read: as long as that took, and at most so long."""

_REACHED = metrics.POSITION_WAITS.labels("reached")
_STALE = metrics.POSITION_WAITS.labels("stale")
_log = structlog.get_logger(__name__)


class Progress:
    """How far the views have come, as this process knows it. ``open`` it in its event loop, ``close`` it there.

    The runner signals every step, so a wait costs no query; the checkpoints are read when that may have failed: at the
    start, after signals were lost, and before giving up. The workers of a fleet signal that they have come further, and
    none knows how far all have: then the checkpoints are read, once for all who wait and all signals meanwhile.

    Views are committed without waiting for the disk (``infra.rows``), so a crash of PostgreSQL takes the last of it
    back until it is folded again. No connection outlives a crash: whoever meets a broken one says so by ``doubt``.
    """

    def __init__(
        self,
        signals: Signals,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        *,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        self._signals = signals
        self._pool = pool
        self._wait_seconds_max = wait_seconds_max
        self._reached = 0
        self._certain = False
        self._reading = asyncio.Lock()
        self._rested = 0.0
        self._changed: asyncio.Future[None] | None = None
        self._stack = AsyncExitStack()
        self.doubts = 0
        """How often what was known was doubted: what was found reached before the last time may not be any more."""

    async def open(self) -> None:
        """Start to listen."""
        await self._stack.enter_async_context(self._signals.watch(PROGRESS, self._wake))

    async def close(self) -> None:
        """Stop listening."""
        await self._stack.aclose()

    def doubt(self) -> None:
        """Forget how far the views have come: PostgreSQL may have crashed. Whoever waits next asks it."""
        self.doubts += 1
        self._reached = 0
        self._certain = False

    async def wait(self, position: int, *, names: Collection[str] | None = None, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - giving up is an answer here, not an exception
        """Wait until those views, or all that are kept up to date, have folded the log up to that position.

        Whether they have, within ``timeout`` seconds (``None``: the usual bound). False as well when the database does
        not say.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        reached = await self._wait(position, names, began + (self._wait_seconds_max if timeout is None else timeout))
        (_REACHED if reached else _STALE).inc()
        metrics.POSITION_WAIT_SECONDS.observe(loop.time() - began)
        return reached

    async def _wait(self, position: int, names: Collection[str] | None, deadline: float) -> bool:
        loop = asyncio.get_running_loop()
        while True:
            changed = self._next_change()
            if await self._has(position, names):
                return True
            left = deadline - loop.time()
            if left <= 0:
                return False
            done, _ = await asyncio.wait([changed], timeout=left)
            if not done:
                self._certain = False  # nothing was heard all the while: ask once more, then give up

    async def _has(self, position: int, names: Collection[str] | None) -> bool:
        if names is None and position <= self._reached:
            return True
        if names is None and self._certain:
            return False
        async with self._reading:
            if names is None and (position <= self._reached or self._certain):
                return position <= self._reached
            await asyncio.sleep(self._rested - asyncio.get_running_loop().time())
            self._certain = True  # unless a signal comes while we read, without a position
            try:
                checkpoints = await self._read()
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("progress.unknown", error=f"{type(error).__name__}: {error}")
                self._certain = False
                return False
        if names is not None:
            return all(checkpoints.get(name, (-1, 0))[0] >= position for name in names)
        kept = [at for name, (at, version) in checkpoints.items() if name in ALL and ALL[name].version == version]
        self._reached = max(self._reached, min(kept, default=0))
        return position <= self._reached

    async def _read(self) -> dict[str, tuple[int, int]]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute("SELECT projection, position, version FROM views.progress")
                return {name: (position, version) for name, position, version in await cursor.fetchall()}
        finally:
            self._rested = loop.time() + min(loop.time() - started, REST_SECONDS_MAX)

    def _wake(self, position: int | None) -> None:
        if position is None:
            self._certain = False
        else:
            self._reached = max(self._reached, position)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _next_change(self) -> asyncio.Future[None]:
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed
