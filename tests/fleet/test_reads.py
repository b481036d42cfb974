"""Reads from a replica: as far as it has come, never a step back for who knows better, and not at all when it fails."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from infra.breaker import Breaker, BreakerLimits
from infra.composition import open_moot
from infra.guarded_pool import GuardedPool, PostgresAway, guarded_pool
from infra.migrate import migrate
from infra.reads import ReadLimits, Reads
from infra.telemetry import metrics
from projections.catalogue import ALL
from tests.api.stack import Client, serving
from tests.databases import database_on
from tests.live.forum import a_community, submit_post


@pytest.fixture
def replica(postgres: str) -> Iterator[str]:
    """A database that stands for a replica: as far behind as a test wants it."""
    with database_on(postgres, "replica") as conninfo:
        migrate(conninfo)
        yield conninfo


def stands_at(conninfo: str, position: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("DELETE FROM views.checkpoints")
        connection.execute(
            "INSERT INTO views.checkpoints (projection, partition, position, version)"
            " SELECT n, 0, %s, 1 FROM unnest(%s::text[]) n",
            (position, list(ALL)),
        )


async def where(connection: psycopg.AsyncConnection[Any]) -> str:
    row = await (await connection.execute("SELECT current_database()")).fetchone()
    assert row is not None
    return "replica" if str(row[0]).startswith("replica") else "primary"


@asynccontextmanager
async def reading(primary: str, replica: str, **limits: Any) -> AsyncIterator[Reads]:
    pools = [guarded_pool(conninfo, wait_seconds_max=2.0) for conninfo in (primary, replica)]
    for pool in pools:
        await pool.open()
    try:
        yield Reads(*pools, limits=ReadLimits(**{"replica_retry_seconds": 0.0, **limits}))
    finally:
        for pool in pools:
            await pool.close()


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def test_a_query_reads_on_the_replica_and_one_that_knows_more_on_the_primary(database: str, replica: str) -> None:
    stands_at(replica, 7)

    async def scene() -> None:
        async with reading(database, replica) as reads:
            assert await reads.begin().run(where) == "replica"
            for position, expected in ((7, "replica"), (8, "primary")):
                one = reads.begin()
                await one.see(position)
                assert await one.run(where) == expected
            stands_at(replica, 8)
            one = reads.begin()
            await one.see(8)
            assert await one.run(where) == "replica"
            assert await reads.begin().on_primary().run(where) == "primary"

    run(scene)


def test_a_replica_that_was_asked_just_now_is_not_asked_by_everybody(database: str, replica: str) -> None:
    stands_at(replica, 1)

    async def scene() -> None:
        async with reading(database, replica, replica_retry_seconds=60.0) as reads:
            assert not await reads.replica_has(2)
            stands_at(replica, 2)
            assert not await reads.replica_has(2)
            assert await reads.replica_has(1), "what was found once needs no asking"

    run(scene)


def test_what_was_known_of_a_replica_that_failed_is_forgotten(database: str, replica: str) -> None:
    """What answers in its place, or when it is back, may not be as far."""
    stands_at(replica, 7)

    async def fails(_: psycopg.AsyncConnection[Any]) -> str:
        raise psycopg.OperationalError("gone")

    async def scene() -> None:
        async with reading(database, replica, replica_retry_seconds=0.0) as reads:
            assert await reads.replica_has(7)
            stands_at(replica, 3)
            with suppress(psycopg.OperationalError):
                await reads.begin().run(fails)
            assert not await reads.replica_has(7)
            assert await reads.replica_has(3)

    run(scene)


def test_a_replica_that_fails_costs_no_answer(database: str, replica: str) -> None:
    async def scene() -> None:
        async with reading(database, replica) as reads:
            one = reads.begin()
            asked = []

            async def cancelled_by_recovery(connection: psycopg.AsyncConnection[Any]) -> str:
                asked.append(await where(connection))
                if asked[-1] == "replica":
                    raise psycopg.errors.SerializationFailure("canceling statement due to conflict with recovery")
                return asked[-1]

            assert await one.run(cancelled_by_recovery) == "primary"
            assert asked == ["replica", "primary"]
            assert await one.run(where) == "primary", "the rest of the operation is read in one place"
        gone = psycopg.conninfo.make_conninfo(database, dbname="replica_that_is_not_there")
        async with reading(database, gone) as reads:
            assert await reads.begin().run(where) == "primary"
            assert not await reads.replica_has(1)

    run(scene)


def test_a_read_whose_connection_broke_is_made_once_more(database: str) -> None:
    async def scene() -> None:
        pool = guarded_pool(database, breaker=Breaker("reads", refusal=PostgresAway))
        await pool.open()
        reads = Reads(pool)
        times = []

        async def broken(connection: psycopg.AsyncConnection[Any]) -> str:
            times.append(1)
            if len(times) == 1:
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return await where(connection)

        assert await reads.begin().run(broken) == "primary"
        assert len(times) == 2
        with pytest.raises(psycopg.errors.UndefinedTable):
            await reads.begin().run(_wrong)
        await pool.close()

    run(scene)


async def _wrong(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute("SELECT * FROM nothing_of_that_name")


def test_a_pool_is_closed_soon_while_its_server_says_nothing() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            pool = guarded_pool(f"host=127.0.0.1 port={server.getsockname()[1]} user=moot dbname=moot")
            await pool.open()
            silent, _ = await asyncio.get_running_loop().sock_accept(server)
            workers = [task for task in asyncio.all_tasks() if "worker" in task.get_name()]
            with silent:
                async with asyncio.timeout(4):
                    await pool.close()
            assert workers
            assert all(task.done() for task in workers)

    asyncio.run(scene())


def test_a_pool_whose_server_is_away_refuses_at_once_and_is_back_when_that_is(database: str) -> None:
    async def scene() -> None:
        limits = BreakerLimits(failures_max=2, open_seconds_min=1.0, open_seconds_max=1.0)
        pool = guarded_pool(
            psycopg.conninfo.make_conninfo(database, port=1, host="127.0.0.1"),
            wait_seconds_max=0.3,
            breaker=Breaker("away", limits, refusal=PostgresAway),
        )
        await pool.open()
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                await _ask(pool)
        with pytest.raises(PostgresAway):  # which says that it was not asked
            await _ask(pool)
        pool.conninfo = database
        deadline = asyncio.get_running_loop().time() + 15
        while True:
            try:
                await _ask(pool)
                break
            except psycopg.OperationalError:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.05)
        await pool.close()

    run(scene)


def test_that_all_connections_are_busy_opens_no_breaker(database: str) -> None:
    async def scene() -> None:
        breaker = Breaker("busy", BreakerLimits(failures_max=1), refusal=PostgresAway)
        pool = guarded_pool(database, max_size=1, wait_seconds_max=2.0, breaker=breaker)
        await pool.open(wait=True)

        async def busy() -> None:
            for _ in range(2):
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(0.3)")

        given_up: list[PoolTimeout] = []

        async def tolerant() -> None:
            try:
                await busy()
            except PoolTimeout as error:
                given_up.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(tolerant())
        assert given_up, "or the test shows nothing"
        assert not metrics.REGISTRY.get_sample_value("moot_breaker_opened_total", {"dependency": "busy"})
        await pool.close()

    run(scene)


async def _ask(pool: GuardedPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")


def test_what_a_read_waits_for_is_as_the_settings_say(settings: Any) -> None:
    given = settings.model_copy(update={"pool_wait_seconds_max": 3.5, "pool_connections_max": 7})

    async def scene() -> None:
        async with open_moot(given) as moot:
            assert (moot.pool.timeout, moot.pool.reconnect_timeout, moot.pool.max_size) == (3.5, 3.5, 7)

    asyncio.run(scene())


def test_an_answer_that_never_comes_gives_the_connection_up(database: str) -> None:
    async def scene() -> None:
        pool = guarded_pool(database, answer_seconds_max=0.3, breaker=Breaker("slow", refusal=PostgresAway))
        await pool.open()
        with pytest.raises(psycopg.OperationalError, match="did not answer within"):
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_sleep(30)")
        await _ask(pool)
        await pool.close()

    run(scene)


def test_a_mutation_and_what_follows_it_are_read_where_they_are_to_be_seen(settings: Any, replica: str) -> None:
    """The replica here is empty: whatever is read there is not found."""
    given = settings.model_copy(update={"database_replica_url": _secret(replica)})
    with psycopg.connect(replica, autocommit=True) as connection:
        from infra.rows import create_missing  # noqa: PLC0415 - of this test alone

        create_missing(connection, list(ALL.values()))
    with serving(given) as stack, Client(stack) as ada:
        ada.appear()
        community = a_community(ada)
        ada.position = None
        post = submit_post(ada, community)  # the payload of the mutation has the post
        query = "query($id: ID!) { node(id: $id) { id } }"
        assert ada.ask(query, id=post)["node"] == {"id": post}, "he who wrote it knows its position"
        ada.position = None
        assert ada.ask(query, id=post)["node"] is None, "who knows nothing reads what the replica has"


def _secret(text: str) -> Any:
    from pydantic import SecretStr  # noqa: PLC0415 - of this test alone

    return SecretStr(text)


def test_an_answer_that_was_read_anew_after_a_connection_broke_says_that_it_may_be_stale(settings: Any) -> None:
    """Perhaps PostgreSQL crashed: then the views are not where they were known to be."""
    query = "{ communities(first: 1) { nodes { id } } }"
    with serving(settings) as stack, Client(stack) as ada, Client(stack) as visitor:
        a_community(ada.appear())
        visitor.position = ada.position
        assert visitor.post(query)["extensions"]["consistency"]["stale"] is False
        with psycopg.connect(stack.moot.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        answer = visitor.post(query)
        assert "errors" not in answer
        assert answer["extensions"]["consistency"]["stale"] is True
        assert visitor.post(query)["extensions"]["consistency"]["stale"] is False
