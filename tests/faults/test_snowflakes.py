"""Ids that grow with time, while clocks are set back and forward, processes freeze and die, and PostgreSQL is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from domain.snowflake import EPOCH_MS, milliseconds
from infra.composition import NumbersTaken, open_moot
from infra.guarded_pool import guarded_pool
from infra.migrate import migrate
from infra.postgres import connect, pool
from infra.settings import Settings
from infra.snowflakes import GIVE_BACK_SECONDS_MAX, Clock, Lease, NoIds, Snowflakes
from infra.telemetry import metrics

BACK_SECONDS, FORWARD_SECONDS = -5, 3600
LEASE_SECONDS = 2.0
SECONDS_MAX = 30


def lacking() -> float | None:
    """What ``/metrics`` says of ids."""
    return metrics.REGISTRY.get_sample_value("moot_ids_lacking_seconds")


class Steady:
    """A steady clock that goes when it is told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Wrong(AsyncConnectionPool[Any]):
    """A pool that does not answer. ``asked`` is set once it was."""

    def __init__(self) -> None:
        super().__init__("", open=False)
        self.asked = asyncio.Event()

    def connection(self, timeout: float | None = None) -> Any:
        self.asked.set()
        raise psycopg.OperationalError("away")


class Told:
    """A pool of which it is told when a connection came back: ``used`` is set then."""

    def __init__(self, pooled: AsyncConnectionPool[Any]) -> None:
        self._pooled = pooled
        self.used = asyncio.Event()

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ASYNC109 - as of a pool
        async with self._pooled.connection(timeout) as connection:
            yield connection
        self.used.set()


class Database:
    """PostgreSQL, whose clock is wrong by so many seconds."""

    def __init__(self, conninfo: str) -> None:
        migrate(conninfo)
        self.conninfo = conninfo

    def set_clock(self, seconds: float) -> None:
        text = f"""CREATE OR REPLACE FUNCTION log.id_clock_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
            SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - {EPOCH_MS} + {int(1000 * seconds)} $$"""
        self.execute(text)

    def execute(self, text: str) -> Any:
        with connect(self.conninfo) as connection:
            return connection.execute(text.encode())

    def held(self) -> int:
        with connect(self.conninfo) as connection:
            row = connection.execute(
                "SELECT count(*) FROM log.id_workers WHERE until_ms >= log.id_clock_ms()"
            ).fetchone()
        return int(row[0]) if row else 0

    def run(self, use: Callable[[AsyncConnectionPool[Any]], Awaitable[None]]) -> None:
        async def opened() -> None:
            async with self.pool() as pooled:
                await use(pooled)

        asyncio.run(opened())

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[AsyncConnectionPool[Any]]:
        pooled = pool(self.conninfo, min_size=1, max_size=4)
        await pooled.open()
        try:
            yield pooled
        finally:
            await pooled.close()


@pytest.fixture
def site(database: str) -> Database:
    return Database(database)


def test_ids_say_when_and_by_whom_they_were_made(site: Database) -> None:
    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        ids = Snowflakes(pooled)
        await ids.open()
        before = int(1000 * datetime.now(UTC).timestamp())
        made = [ids.next() for _ in range(20_000)]
        assert made == sorted(set(made))
        assert max(made) < 1 << 63
        assert abs(milliseconds(made[0]) - before) < 60_000
        await ids.close()
        assert site.held() == 0

    site.run(use)


def test_one_millisecond_that_is_full_overflows_into_the_next_one() -> None:
    clock = Clock(Lease(3, 10, 11), Steady())
    made = [clock.next() for _ in range(2 * 4096)]
    assert made == sorted(set(made))
    assert {snowflake >> 22 for snowflake in made} == {10, 11}
    assert {snowflake >> 12 & 1023 for snowflake in made} == {3}
    with pytest.raises(NoIds):
        clock.next()


@pytest.mark.parametrize("seconds", [BACK_SECONDS, FORWARD_SECONDS])
def test_the_clock_of_this_machine_is_never_asked(
    site: Database, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        ids = Snowflakes(pooled)
        await ids.open()
        assert abs(milliseconds(ids.next()) - 1000 * real()) < 60_000
        await ids.close()

    site.run(use)


def test_postgresqls_clock_set_back_and_forward_makes_no_id_twice(site: Database) -> None:
    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        made: list[int] = []
        ids = Snowflakes(pooled)
        await ids.open()
        for seconds in (0, BACK_SECONDS, FORWARD_SECONDS, FORWARD_SECONDS + BACK_SECONDS, 0, BACK_SECONDS):
            site.set_clock(seconds)
            await ids.renew()
            made += [ids.next() for _ in range(100)]
            other = Snowflakes(pooled)
            await other.open()
            made += [other.next() for _ in range(100)]
            mine = ids.next()
            made.append(mine)
            await other.close()
        assert len(set(made)) == len(made)
        await ids.close()

    site.run(use)


def test_a_process_that_was_frozen_longer_than_its_lease_makes_none_until_it_has_another(site: Database) -> None:
    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        steady = Steady()
        ids = Snowflakes(pooled, lease_seconds=LEASE_SECONDS, steady=steady)
        await ids.renew()
        first = ids.next()
        steady.seconds += LEASE_SECONDS + 0.002
        with pytest.raises(NoIds):
            ids.next()
        await ids.renew()
        assert ids.next() > first

    site.run(use)


def test_without_postgresql_ids_are_made_to_the_end_of_the_lease(site: Database) -> None:
    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        steady = Steady()
        ids = Snowflakes(pooled, lease_seconds=LEASE_SECONDS, steady=steady)
        await ids.renew()
        ids._pool = Wrong()
        with pytest.raises(psycopg.OperationalError):
            await ids.renew()
        first = ids.next()
        steady.seconds += LEASE_SECONDS / 2
        assert ids.next() > first
        steady.seconds += LEASE_SECONDS
        with pytest.raises(NoIds):
            ids.next()

    site.run(use)


def test_ids_are_made_again_soon_after_postgresql_is_back(site: Database) -> None:
    """However long the lease is: its third, at which it is prolonged, may be a long time."""

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        steady = Steady()
        ids = Snowflakes(pooled, lease_seconds=300, steady=steady)
        await ids.open()
        first = ids.next()
        wrong, told = Wrong(), Told(pooled)
        ids._pool = wrong
        steady.seconds += 301
        with pytest.raises(NoIds):
            ids.next()  # is asked for anew, in vain
        assert lacking() == pytest.approx(1.0, abs=0.01)
        async with asyncio.timeout(SECONDS_MAX):
            await wrong.asked.wait()
            ids._pool = told  # type: ignore[assignment]  # has what is asked of it
            await told.used.wait()
        assert ids.next() > first
        assert lacking() == 0.0
        steady.seconds += 301
        assert lacking() > 0.0
        await ids.close()
        assert lacking() == 0.0

    site.run(use)


def test_whoever_ends_does_not_wait_for_a_server_that_does_not_answer(site: Database) -> None:
    async def scene() -> None:
        pooled = guarded_pool(site.conninfo)
        await pooled.open()
        ids = Snowflakes(pooled)
        await ids.open()
        with connect(site.conninfo, autocommit=False) as frozen:
            frozen.execute("LOCK TABLE log.id_workers")
            async with asyncio.timeout(5 * GIVE_BACK_SECONDS_MAX):
                await ids.close()
        await pooled.close()

    asyncio.run(scene())


def test_every_number_taken_is_told(site: Database) -> None:
    site.execute("UPDATE log.id_workers SET until_ms = log.id_clock_ms() + 60000")

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        with pytest.raises(NoIds, match="1,024"):
            await Snowflakes(pooled).open()

    site.run(use)


def test_a_process_that_gets_no_number_does_not_start_and_says_why(settings: Settings) -> None:
    with connect(settings.engine_urls()[0]) as connection:
        connection.execute("UPDATE log.id_workers SET until_ms = log.id_clock_ms() + 60000")

    async def start() -> None:
        async with open_moot(settings):
            raise AssertionError("it started")

    with pytest.raises(NumbersTaken, match="1,024"):
        asyncio.run(start())


def test_a_number_is_nobody_elses_before_its_lease_has_ended(site: Database) -> None:
    site.execute("DELETE FROM log.id_workers WHERE worker > 0")

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        first, second = (Snowflakes(pooled, lease_seconds=LEASE_SECONDS) for _ in range(2))
        site.set_clock(-60)
        await first.renew()
        site.set_clock(-60 + LEASE_SECONDS / 2)
        with pytest.raises(NoIds):
            await second.renew()
        site.set_clock(-60 + 2 * LEASE_SECONDS)
        await second.renew()
        assert second.next() > first.next()
        with pytest.raises(NoIds):  # it is not prolonged for who had it once
            await first.renew()

    site.run(use)


def test_ids_of_one_process_grow_also_under_another_number_by_a_clock_that_was_set_back(site: Database) -> None:
    site.execute("DELETE FROM log.id_workers WHERE worker > 0")

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        first, second = (Snowflakes(pooled, lease_seconds=LEASE_SECONDS) for _ in range(2))
        await first.renew()
        made = first.next()
        site.set_clock(2 * LEASE_SECONDS)
        await second.renew()
        site.execute("INSERT INTO log.id_workers VALUES (1, 0)")
        site.set_clock(-LEASE_SECONDS / 4)
        await first.renew()
        assert first.next() > made

    site.run(use)


class Process:
    """One of those who make ids."""

    def __init__(self, pooled: AsyncConnectionPool[Any]) -> None:
        self.steady = Steady()
        self.ids = Snowflakes(pooled, lease_seconds=LEASE_SECONDS, steady=self.steady)
        self.last = 0


class Site:
    """Few numbers, many processes: each starts, freezes, loses its number or dies, and all clocks go wrong."""

    def __init__(self, database: Database, pooled: AsyncConnectionPool[Any], seed: int) -> None:
        self._database = database
        self._pooled = pooled
        self._random = Random(seed)
        self._running: list[Process] = []
        self._wrong = 0.0
        self.made: set[int] = set()

    async def live(self) -> None:
        acts = [self._set_clock, self._start, self._go_on, self._renew, self._end, self._make]
        for _ in range(400):
            (act,) = self._random.choices(acts, [3, 6, 3, 6, 1, 12])
            await act()

    async def _set_clock(self) -> None:
        self._wrong += self._random.choice([3, BACK_SECONDS, FORWARD_SECONDS, -FORWARD_SECONDS])
        self._database.set_clock(self._wrong)

    async def _start(self) -> None:
        if len(self._running) < 6:
            process = Process(self._pooled)
            if await self._renewed(process):
                self._running.append(process)

    async def _go_on(self) -> None:
        for process in self._running[:1]:
            process.steady.seconds += self._random.choice([0.001, 0.5, LEASE_SECONDS + 1])
        self._random.shuffle(self._running)

    async def _renew(self) -> None:
        for process in self._running[:1]:
            await self._renewed(process)

    async def _renewed(self, process: Process) -> bool:
        try:
            await process.ids.renew()
        except NoIds:
            self._wrong += LEASE_SECONDS  # time goes on, and numbers become free
            self._database.set_clock(self._wrong)
            return False
        return True

    async def _end(self) -> None:
        if self._running:
            process = self._running.pop()
            if self._random.random() < 0.5:
                await process.ids.close()

    async def _make(self) -> None:
        for process in self._running[:1]:
            for _ in range(self._random.choice([1, 50, 5_000])):
                try:
                    made = process.ids.next()
                except NoIds:
                    break
                assert made not in self.made, "made twice"
                assert made > process.last, "smaller than one before"
                self.made.add(made)
                process.last = made


@pytest.mark.parametrize("seed", range(6))
def test_no_id_is_made_twice_whatever_happens(site: Database, seed: int) -> None:
    site.execute("DELETE FROM log.id_workers WHERE worker > 2")

    async def use(pooled: AsyncConnectionPool[Any]) -> None:
        world = Site(site, pooled, seed)
        await world.live()
        assert len(world.made) > 1_000

    site.run(use)
