"""Waiting for the views to reach a position."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from infra import postgres
from infra.guarded_pool import guarded_pool
from infra.migrate import migrate
from infra.progress import Progress
from infra.signals import MemorySignals
from projections.catalogue import ALL

SECONDS = 10.0


@pytest.fixture
def views(database: str) -> str:
    """The conninfo of a migrated database in which all views stand at position 10."""
    migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        for name, projection in ALL.items():
            connection.execute(
                "INSERT INTO views.checkpoints (projection, position, version) VALUES (%s, 10, %s)",
                (name, projection.version),
            )
    return database


class Opened:
    def __init__(self, progress: Progress, signals: MemorySignals, pool: Any) -> None:
        self.progress = progress
        self.signals = signals
        self._pool = pool

    async def set(self, position: int, *names: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE views.checkpoints SET position = %s WHERE projection = ANY(%s)",
                (position, list(names) or list(ALL)),
            )

    def signal(self, position: int) -> None:
        self.signals.publish({}, position)


@asynccontextmanager
async def opened(views: str) -> AsyncIterator[Opened]:
    signals, pool = MemorySignals(), postgres.pool(views)
    await pool.open(wait=True)
    progress = Progress(signals, pool, wait_seconds_max=SECONDS)
    await progress.open()
    try:
        yield Opened(progress, signals, pool)
    finally:
        await progress.close()
        await pool.close()


def scenario(views: str, play: Callable[[Opened], Any]) -> None:
    async def run() -> None:
        async with opened(views) as at:
            await play(at)

    asyncio.run(run())


def test_what_is_reached_already_is_not_waited_for(views: str) -> None:
    async def play(at: Opened) -> None:
        assert await at.progress.wait(10)
        assert await at.progress.wait(10, names=["scores", "posts"])
        assert await at.progress.wait(0)

    scenario(views, play)


def test_a_position_ahead_is_waited_for_and_seen_by_its_signal(views: str) -> None:
    async def play(at: Opened) -> None:
        waiting = [asyncio.create_task(at.progress.wait(position)) for position in (11, 12, 12)]
        await asyncio.wait(waiting, timeout=0.05)
        assert not any(task.done() for task in waiting)
        at.signal(11)
        assert await asyncio.wait_for(waiting[0], SECONDS)
        assert not waiting[1].done()
        at.signal(12)
        assert await asyncio.wait_for(asyncio.gather(*waiting), SECONDS) == [True, True, True]

    scenario(views, play)


def test_it_gives_up_in_time_and_says_so(views: str) -> None:
    async def play(at: Opened) -> None:
        assert not await asyncio.wait_for(at.progress.wait(11, timeout=0.05), SECONDS)
        assert not await asyncio.wait_for(at.progress.wait(11, names=["scores"], timeout=0.05), SECONDS)

    scenario(views, play)


def test_without_any_signal_the_checkpoints_are_asked_before_giving_up(views: str) -> None:
    async def play(at: Opened) -> None:
        assert not await at.progress.wait(11, timeout=0.0)
        await at.set(11)
        assert await at.progress.wait(11, timeout=0.05)

    scenario(views, play)


def test_when_signals_were_lost_the_checkpoints_are_asked_at_once(views: str) -> None:
    async def play(at: Opened) -> None:
        waiting = asyncio.create_task(at.progress.wait(11))
        await asyncio.wait([waiting], timeout=0.05)
        await at.set(11)
        at.progress._wake(None)
        assert await asyncio.wait_for(waiting, SECONDS / 2)

    scenario(views, play)


def test_only_the_views_that_are_named_are_waited_for(views: str) -> None:
    async def play(at: Opened) -> None:
        await at.set(11, "scores")
        assert await at.progress.wait(11, names=["scores"])
        assert not await at.progress.wait(11, names=["scores", "posts"], timeout=0.05)
        waiting = asyncio.create_task(at.progress.wait(11, names=["scores", "posts"]))
        await asyncio.wait([waiting], timeout=0.05)
        await at.set(11, "posts")
        at.signal(10)
        assert await asyncio.wait_for(waiting, SECONDS / 2)

    scenario(views, play)


def test_a_view_that_another_version_built_holds_nobody_up(views: str) -> None:
    async def play(at: Opened) -> None:
        async with at._pool.connection() as connection:
            await connection.execute(
                "UPDATE views.checkpoints SET position = 1, version = version + 1 WHERE projection = 'karma'"
            )
        assert await at.progress.wait(10)

    scenario(views, play)


def test_a_wait_that_signals_answer_asks_the_database_nothing(views: str) -> None:
    async def play(at: Opened) -> None:
        assert await at.progress.wait(10)
        async with at._pool.connection() as connection:
            await connection.execute("DROP TABLE views.checkpoints CASCADE")
        waiting = asyncio.create_task(at.progress.wait(12))
        await asyncio.wait([waiting], timeout=0.05)
        at.signal(11)
        at.signal(12)
        assert await asyncio.wait_for(waiting, SECONDS)

    scenario(views, play)


def test_signals_without_a_position_are_answered_by_few_readings(views: str) -> None:
    # As from a fleet: each worker says that it has come further, and nobody how far all have.
    async def play(at: Opened) -> None:
        assert await at.progress.wait(10)
        readings = 0
        real = at.progress._read

        async def read() -> Any:
            nonlocal readings
            readings += 1
            return await real()

        at.progress._read = read  # type: ignore[method-assign]
        waiting = [asyncio.create_task(at.progress.wait(11)) for _ in range(50)]
        await asyncio.wait(waiting, timeout=0.05)
        assert readings == 0, "nothing has happened since"
        for _ in range(100):
            at.signals.publish({}, None)
        await asyncio.wait(waiting, timeout=0.2)
        assert 1 <= readings <= 3
        assert not any(task.done() for task in waiting)
        await at.set(11)
        at.signals.publish({}, None)
        assert await asyncio.wait_for(asyncio.gather(*waiting), SECONDS / 2) == [True] * 50
        assert readings <= 6

    scenario(views, play)


def test_views_in_partitions_are_as_far_as_all_of_them(views: str) -> None:
    async def play(at: Opened) -> None:
        async with at._pool.connection() as connection:
            await connection.execute("DELETE FROM views.checkpoints")
            for partition in (3000, 3001):
                await connection.execute(
                    "INSERT INTO views.checkpoints (projection, partition, position, version)"
                    " SELECT n, %s, 20, v FROM unnest(%s::text[], %s::integer[]) AS p(n, v)",
                    (partition, list(ALL), [projection.version for projection in ALL.values()]),
                )
            await connection.execute("INSERT INTO log.relayed VALUES (-1, 30), (3000, 28), (3001, 20)")
        assert await at.progress.wait(20)
        assert not await at.progress.wait(21, timeout=0.01), "what was sent to 3000 is not folded"
        waiting = asyncio.create_task(at.progress.wait(30))
        await asyncio.wait([waiting], timeout=0.05)
        async with at._pool.connection() as connection:
            await connection.execute("UPDATE views.checkpoints SET position = 28 WHERE partition = 3000")
        at.signals.publish({}, None)
        assert await asyncio.wait_for(waiting, SECONDS / 2), "what came after 28 went elsewhere"
        assert not await at.progress.wait(31, timeout=0.01)

    scenario(views, play)


def test_what_was_known_before_a_connection_broke_is_asked_again(views: str) -> None:
    # Views are committed without waiting for the disk: after a crash the last of it is not there any more.
    async def play() -> None:
        pool, signals = guarded_pool(views), MemorySignals()
        await pool.open(wait=True)
        progress = Progress(signals, pool, wait_seconds_max=SECONDS)
        pool.on_broken = progress.doubt
        await progress.open()
        try:
            assert await progress.wait(10)
            with psycopg.connect(views, autocommit=True) as connection:
                connection.execute("UPDATE views.checkpoints SET position = 7")
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            assert await progress.wait(10), "nobody has noticed yet"
            with pytest.raises(psycopg.OperationalError):
                async with pool.connection() as broken:
                    await broken.execute("SELECT 1")
            assert progress.doubts == 1
            assert not await progress.wait(10, timeout=0.05)
            assert await progress.wait(7)
        finally:
            await progress.close()
            await pool.close()

    asyncio.run(play())


def test_while_the_database_is_away_the_answer_is_no(views: str) -> None:
    async def play(at: Opened) -> None:
        await at._pool.close()
        assert not await at.progress.wait(11, timeout=0.05)

    scenario(views, play)
