"""The event store in memory and in PostgreSQL."""

import asyncio
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import DataError, IntegrityError, StoredEvent

from commands.ports import StoreUnavailable
from domain.event import Id
from infra.codec import Codec
from infra.event_store import GroupCommitStore, StoreOverloaded, memory_store, postgres_store
from infra.keyring import Keyring, MemoryKeys
from infra.migrate import migrate
from infra.recorders import Datastore, Entry, MemoryRecorder, PostgresRecorder
from infra.store_limits import StoreLimits
from schemas.envelope import Recorded
from tests.conformance.event_store import (
    RECORDED_AT,
    EventStoreConformance,
    assert_whole,
    meta,
    new_id,
    one,
    outcomes,
    run,
)
from tests.conformance.guards import GuardsConformance
from tests.conformance.proxy import Proxy

MASTER_KEY = bytes(range(32))
TOLD = StoreLimits(poll_seconds=1e6)
"""Nobody ever looks for himself: what works then works by being told."""


class TestMemory(EventStoreConformance, GuardsConformance):
    @pytest.fixture
    def store(self) -> GroupCommitStore:
        return memory_store(clock=lambda: RECORDED_AT, limits=TOLD)


class TestMemoryThreaded(EventStoreConformance, GuardsConformance):
    """The in-memory recorder behind the threads of group commit."""

    @pytest.fixture
    def store(self) -> Iterator[GroupCommitStore]:
        recorder = MemoryRecorder()
        recorder.blocking = True
        codec = Codec(Keyring(MemoryKeys(), MASTER_KEY))
        store = GroupCommitStore(recorder, codec, clock=lambda: RECORDED_AT, limits=TOLD)
        yield store
        store.close()


class TestPostgres(EventStoreConformance, GuardsConformance):
    @pytest.fixture
    def store(self, database: str) -> Iterator[GroupCommitStore]:
        migrate(database)
        store = postgres_store(database, MASTER_KEY, clock=lambda: RECORDED_AT, limits=TOLD)
        yield store
        store.close()


@pytest.fixture
def log(database: str) -> str:
    """The conninfo of a database with an empty log."""
    migrate(database)
    return database


@contextmanager
def opened(conninfo: str, **limits: Any) -> Iterator[GroupCommitStore]:
    store = postgres_store(conninfo, MASTER_KEY, limits=msgspec.structs.replace(TOLD, **limits))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def locked(conninfo: str) -> Iterator[psycopg.Connection]:
    """Nobody can append meanwhile."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("LOCK TABLE log.stored_events IN EXCLUSIVE MODE")
        yield connection
        connection.rollback()


def waiting_backends(connection: psycopg.Connection) -> list[int]:
    """The backends that wait for a lock, once there are any."""
    while True:
        found = connection.execute(
            "SELECT pid FROM pg_locks WHERE NOT granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
        if found:
            return [pid for (pid,) in found]


def test_positions_of_several_processes_grow_in_the_order_of_commits(log: str) -> None:
    """A follower with a connection of its own reads after each position it saw: a gap would show as a jump."""
    total = 600

    async def follow(store: GroupCommitStore) -> list[Recorded]:
        seen: list[Recorded] = []
        async for page in store.follow(0):
            seen += page
            if len(seen) >= total:
                return seen
        raise AssertionError("follow ended")

    async def write(store: GroupCommitStore) -> None:
        for _ in range(10):
            await outcomes(store.append(one(new_id()), meta()) for _ in range(total // 30))

    async def all_together(stores: list[GroupCommitStore]) -> list[Recorded]:
        following = asyncio.create_task(follow(stores[0]))
        await asyncio.gather(*(write(store) for store in stores[1:]))
        return await following

    with opened(log) as reader, opened(log) as first, opened(log) as second, opened(log) as third:
        assert_whole(run(all_together([reader, first, second, third])), total)


def test_too_many_waiting_are_refused_and_the_others_recorded(log: str) -> None:
    async def flood(store: GroupCommitStore) -> list[int | BaseException]:
        with locked(log):
            work = [asyncio.ensure_future(store.append(one(new_id()), meta())) for _ in range(50)]
            refused, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            assert all(isinstance(task.exception(), StoreOverloaded) for task in refused)
        return await asyncio.gather(*work, return_exceptions=True)

    with opened(log, waiting_max=5) as store:
        found = run(flood(store))
        recorded = [outcome for outcome in found if isinstance(outcome, int)]
        assert 5 <= len(recorded) < 20
        assert all(isinstance(outcome, StoreOverloaded) for outcome in found if not isinstance(outcome, int))
        assert_whole(store.read_sync(0, 100), len(recorded))


def test_close_finishes_what_waits_and_refuses_what_comes_after(log: str) -> None:
    store = postgres_store(log, MASTER_KEY)

    async def append_and_close() -> tuple[list[int | BaseException], Thread]:
        with locked(log) as connection:
            work = [asyncio.ensure_future(store.append(one(new_id()), meta())) for _ in range(20)]
            await asyncio.sleep(0)
            waiting_backends(connection)
            closing = Thread(target=close)
            closing.start()
        found = await asyncio.gather(*work, return_exceptions=True)
        return found, closing

    def close() -> None:
        store.close()
        with psycopg.connect(log) as connection:
            heads.extend(connection.execute("SELECT max(notification_id) FROM log.stored_events").fetchone() or ())

    heads: list[int | None] = []
    found, closing = run(append_and_close())
    closing.join()
    assert sorted(found) == list(range(1, 21))
    assert heads == [20]
    with pytest.raises(StoreUnavailable):
        run(store.append(one(new_id()), meta()))


def test_a_connection_that_dies_in_an_append_costs_nothing(log: str) -> None:
    async def append(store: GroupCommitStore) -> list[int | BaseException]:
        with locked(log) as connection:
            work = [asyncio.ensure_future(store.append(one(new_id()), meta())) for _ in range(10)]
            await asyncio.sleep(0)
            for pid in waiting_backends(connection):
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        return await asyncio.gather(*work, return_exceptions=True)

    with opened(log) as store:
        assert sorted(run(append(store))) == list(range(1, 11))
        assert_whole(store.read_sync(0, 100), 10)


def test_what_was_recorded_is_no_conflict_when_the_answer_was_lost(log: str) -> None:
    taken = new_id()

    async def append(store: GroupCommitStore, proxy: Proxy) -> list[int | BaseException]:
        await store.append(one(taken), meta())
        with locked(log) as connection:
            work = [asyncio.ensure_future(store.append(one(new_id(), events=2), meta())) for _ in range(10)]
            work.append(asyncio.ensure_future(store.append(one(taken), meta())))
            await asyncio.sleep(0)
            waiting_backends(connection)
            proxy.lose_next_answer()
        return await asyncio.gather(*work, return_exceptions=True)

    with Proxy(log) as proxy, opened(proxy.conninfo) as store:
        *recorded, conflict = run(append(store, proxy))
        assert proxy.answers_lost == 1
        assert sorted(recorded) == list(range(3, 22, 2))
        assert type(conflict).__name__ == "Conflict"
        assert_whole(store.read_sync(0, 100), 21)


def test_what_the_database_cannot_take_fails_alone(log: str) -> None:
    good, bad = [Entry(new_id(), 0, (("name.claimed@1", b"{}"),)) for _ in range(3)], new_id()
    jobs = [(good[0],), (good[1], Entry(bad, 0, (("no\0text", b"{}"),))), (good[2],)]
    with opened(log) as store:
        first, failed, last = store._record(jobs)
        assert (first, last) == (1, 2)
        assert isinstance(failed, DataError)
        assert store.load_sync([good[1].stream_id, bad]) == {good[1].stream_id: [], bad: []}
        assert_whole(store.read_sync(0, 10), 2)


def test_a_server_out_of_reach_is_unavailable_and_welcome_back(log: str) -> None:
    with Proxy(log) as proxy, opened(proxy.conninfo, connect_seconds_max=0.5) as store:
        assert run(store.append(one(new_id()), meta())) == 1
        proxy.refuse()
        for refused in (store.append(one(new_id()), meta()), store.load([new_id()]), store.read(0, 1)):
            with pytest.raises(StoreUnavailable):
                run(refused)
        proxy.accept()
        assert run(store.append(one(new_id()), meta())) == 2
        assert_whole(store.read_sync(0, 100), 2)


def test_a_follower_outlives_all_its_connections(log: str) -> None:
    async def follow(store: GroupCommitStore, elsewhere: GroupCommitStore) -> list[Recorded]:
        seen: list[Recorded] = []
        async for page in store.follow(0):
            seen += page
            if len(seen) >= 6:
                return seen
            with psycopg.connect(log, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await elsewhere.append(one(new_id()), meta())
        raise AssertionError("follow ended")

    with opened(log) as store, opened(log) as elsewhere:
        elsewhere.append_sync(one(new_id()), meta())
        assert_whole(run(follow(store, elsewhere)), 6)


def test_the_librarys_own_methods_work_on_the_same_log(log: str) -> None:
    recorder = PostgresRecorder(Datastore(log))
    first, second = new_id(), new_id()

    def event(stream_id: Id, version: int) -> StoredEvent:
        return StoredEvent(stream_id, version, "name.claimed@1", b"{}")

    try:
        assert recorder.max_notification_id() is None
        assert recorder.insert_events([]) == []
        assert list(recorder.insert_events([event(first, 1), event(second, 1), event(first, 2)]) or ()) == [1, 2, 3]
        for bad in ([event(first, 2)], [event(first, 4)], [event(second, 2), event(second, 4)]):
            with pytest.raises(IntegrityError):
                recorder.insert_events(bad)
        recorder.append([[Entry(second, 1, (("name.claimed@1", b"{}"),))]])
        assert [one.originator_id for one in recorder.select_notifications(1, 10)] == [first, second, first, second]
        assert [one.originator_version for one in recorder.select_events(first)] == [1, 2]
        assert recorder.max_notification_id() == 4
    finally:
        recorder.close()


def test_a_server_with_a_thousand_sockets_is_told_of_news(log: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with ExitStack() as stack, opened(log) as elsewhere:
        for _ in range(1100):
            stack.callback(os.close, os.dup(0))
        with opened(log) as store:
            assert not store.wait_for_more(0, 0)
            with ThreadPoolExecutor(1) as thread:
                told = thread.submit(store.wait_for_more, 0, 10)
                elsewhere.append_sync(one(new_id()), meta())
                assert told.result()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_follower_that_missed_every_notice_looks_for_itself(log: str) -> None:
    async def follow(store: GroupCommitStore) -> list[Recorded]:
        seen: list[Recorded] = []
        async for page in store.follow(0):
            seen += page
            if len(seen) == 2:
                return seen
            with psycopg.connect(log, autocommit=True) as connection:
                connection.execute(
                    "INSERT INTO log.stored_events SELECT %s, 1, topic, state, 2 FROM log.stored_events", (new_id(),)
                )
        raise AssertionError("follow ended")

    with opened(log, poll_seconds=0.05) as store:
        store.append_sync(one(new_id()), meta())
        assert_whole(run(follow(store)), 2)
        assert store.wait_for_more(1, 0)
        assert not store.wait_for_more(2, 0.1)
