"""What an agent does with what it reads: whatever a consumer loses, repeats or mixes up, the views come out right."""

import asyncio
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import psycopg
import pytest
from structlog.testing import capture_logs

from infra import migrate
from infra.event_store import GroupCommitStore, postgres_store
from infra.partitions import PartitionsFailure
from infra.postgres import connect
from infra.rows import create_missing, forget_offsets
from projections.catalogue import ALL, GROUPS
from projections.core import StaleCheckpoint
from streams.worker.folding import Folded, Folding, Read
from streams.worker.keeping import Fetch, Keeper
from streams.worker.limits import WorkerLimits
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler, recorded
from tests.equivalence.test_equivalence import all_rows, straight
from tests.relay.world import MASTER_KEY, stored
from tests.worker.world import Reader, Topics, topics_of

EVENTS = 2_500
LIMITS = WorkerLimits(release_seconds_max=0.3, retry_seconds_min=0.01, retry_seconds_max=0.05, batch_seconds_max=2)
ROUNDS_MAX = 3_000


@pytest.fixture
def store(database: str) -> Iterator[GroupCommitStore]:
    migrate.migrate(database)
    with connect(database) as connection:
        create_missing(connection, list(ALL.values()))
    store = postgres_store(database, MASTER_KEY)
    yield store
    store.close()


def fill(database: str, store: GroupCommitStore, seed: int, events: int = EVENTS) -> Topics:
    with connect(database) as connection:
        Filler(connection, store.codec).fill(World(seed).happen(events))
    return topics_of(stored(database), Random(seed))


def first_half(topics: Topics) -> Topics:
    return {number: records[: len(records) // 2] for number, records in topics.items()}


def anew(topics: Topics) -> Topics:
    """The same with no marks between their records: offsets that were known before lead too far."""
    return {
        number: [msgspec.structs.replace(record, offset=offset) for offset, record in enumerate(records)]
        for number, records in topics.items()
    }


def keeper_of(database: str, store: GroupCommitStore, group: str) -> Keeper:
    return Keeper(group, Folding(database, GROUPS[group], store.codec), LIMITS)


async def follow(keeper: Keeper, reader: Reader, *, releases: float = 0.0, random: Random | None = None) -> None:
    """Be an agent until everything is in the views."""
    await keeper.place(reader)
    await go_on(keeper, reader, releases=releases, random=random)


async def go_on(keeper: Keeper, reader: Reader, *, releases: float = 0.0, random: Random | None = None) -> None:
    """The same from where it reads already."""
    for _ in range(ROUNDS_MAX):
        if random is not None and random.random() < releases:
            await keeper.release()
            await keeper.place(reader)
        fetch = reader.fetch()
        if fetch is not None:
            await keeper.take(reader, fetch)
        elif reader.at_end():
            reader.losing = reader.repeating = reader.late = 0.0
            if caught_up(keeper, reader):
                return
            await keeper.place(reader)
    raise AssertionError("it never came to an end")


def caught_up(keeper: Keeper, reader: Reader) -> bool:
    ends = {number: records[-1].offset + 1 for number, records in reader.topics.items() if number in reader.numbers}
    return all(keeper.offsets.get(number) == end for number, end in ends.items())


def assert_views(database: str, seed: int, groups: Any = GROUPS, events: int = EVENTS) -> None:
    expected = straight(recorded(World(seed).happen(events)))
    found = all_rows(database)
    for group in groups:
        for projection in GROUPS[group]:
            assert found[projection.name] == expected[projection.name], projection.name


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_or_counted_twice_whatever_the_consumer_does(
    database: str, store: GroupCommitStore, seed: int
) -> None:
    topics, random = fill(database, store, seed), Random(seed)

    async def all_groups() -> None:
        for group in GROUPS:
            keeper = keeper_of(database, store, group)
            reader = Reader(topics, keeper.folding.partitions, random)
            reader.losing, reader.repeating, reader.late = 0.02, 0.1, 0.1
            await follow(keeper, reader, releases=0.05, random=random)
            assert keeper.trouble is None
            await keeper.close()

    asyncio.run(all_groups())
    assert_views(database, seed)


def test_two_who_both_believe_to_have_a_partition(database: str, store: GroupCommitStore) -> None:
    """One of them is a zombie that was not told; each overtakes the other again and again."""
    topics, random = fill(database, store, 4), Random(4)

    async def both() -> None:
        keepers = [keeper_of(database, store, "votes") for _ in range(2)]
        readers = [Reader(topics, keeper.folding.partitions, Random(seed)) for seed, keeper in enumerate(keepers)]
        for keeper, reader in zip(keepers, readers, strict=True):
            await keeper.place(reader)
        for _ in range(ROUNDS_MAX):
            number = random.randrange(2)
            fetch = readers[number].fetch()
            if fetch is not None:
                await keepers[number].take(readers[number], fetch)
            elif all(caught_up(keeper, reader) for keeper, reader in zip(keepers, readers, strict=True)):
                break
        assert min(len(reader.seeks) for reader in readers) > 1, "nobody was overtaken"
        for keeper in keepers:
            await keeper.close()

    asyncio.run(both())
    assert_views(database, 4, ["votes"])


def test_a_topic_that_is_another_by_now_is_read_from_its_beginning(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 5)

    async def twice() -> None:
        keeper = keeper_of(database, store, "votes")
        partitions = keeper.folding.partitions
        await follow(keeper, Reader(first_half(topics), partitions, Random(5)))
        reader = Reader(anew(topics), partitions, Random(6))
        await follow(keeper, reader)
        assert any(0 in seek.values() for seek in reader.seeks[1:])
        await keeper.close()

    asyncio.run(twice())
    assert_views(database, 5, ["votes"])


def test_a_topic_that_is_another_is_read_from_its_beginning_once(database: str, store: GroupCommitStore) -> None:
    """Where partitions are shared out anew afterwards, reading goes on from where it was."""
    topics = fill(database, store, 5)

    async def thrice() -> None:
        keeper = keeper_of(database, store, "votes")
        partitions = keeper.folding.partitions
        await follow(keeper, Reader(first_half(topics), partitions, Random(5)))
        reader = Reader(anew(topics), partitions, Random(6))
        await follow(keeper, reader)
        assert any(0 in seek.values() for seek in reader.seeks[1:])
        await keeper.place(reader)
        assert reader.seeks[-1] == {number: len(topics.get(number, ())) - 1 for number in partitions}
        await keeper.close()

    asyncio.run(thrice())
    assert_views(database, 5, ["votes"])


@pytest.mark.parametrize("by", ["the same", "another"])
def test_views_that_come_from_the_embedded_log_are_not_read_from_the_beginning_each_time(
    database: str, store: GroupCommitStore, by: str
) -> None:
    """Their checkpoints know no offset. Everything is known, so nothing is committed that would keep one."""
    topics = fill(database, store, 13, 400)

    async def passing() -> None:
        keeper = keeper_of(database, store, "votes")
        await follow(keeper, Reader(topics, keeper.folding.partitions, Random(13)))
        await keeper.close()
        with connect(database) as connection:
            connection.execute('UPDATE views.checkpoints SET "offset" = NULL')
        keeper = keeper_of(database, store, "votes")
        reader = Reader(topics, keeper.folding.partitions, Random(14), 20)
        await follow(keeper, reader)
        assert set(reader.seeks[0].values()) == {0}
        if by == "another":
            await keeper.close()
            keeper = keeper_of(database, store, "votes")
        await keeper.place(reader)
        ends = {number: records[-1].offset for number, records in topics.items()}
        assert {number: offset for number, offset in reader.seeks[-1].items() if number in ends} == {
            number: end for number, end in ends.items() if number in reader.numbers
        }
        await keeper.close()

    asyncio.run(passing())
    assert_views(database, 13, ["votes"], 400)


@pytest.mark.parametrize("idle", [False, True], ids=["while more comes", "while nothing comes"])
def test_a_partition_that_lost_its_end_is_read_from_its_beginning(
    database: str, store: GroupCommitStore, idle: bool
) -> None:
    """What was lost is there again in less room, so what comes next stands where the worker has been already."""
    topics = fill(database, store, 5)

    async def scene() -> None:
        keeper = keeper_of(database, store, "votes")
        reader = Reader(first_half(topics), keeper.folding.partitions, Random(5))
        await follow(keeper, reader)
        await keeper.place_if_otherwise(reader)
        assert len(reader.seeks) == 1
        with connect(database) as connection:
            forget_offsets(connection, list(topics))
        reader.topics = anew(topics)
        if idle:
            await keeper.place_if_otherwise(reader)
            assert set(reader.seeks[-1].values()) == {0}
        await go_on(keeper, reader)
        assert len(reader.seeks) > 1
        await keeper.close()

    asyncio.run(scene())
    assert_views(database, 5, ["votes"])


class Broken(Folding):
    """Fails as it is told, before anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failures: list[Exception] = []

    def fold(self, reads: Any, events_max: int) -> Folded:
        if self.failures:
            raise self.failures.pop()
        return super().fold(reads, events_max)


class Slow(Folding):
    """Cannot fold more than ten events in one transaction."""

    def fold(self, reads: Any, events_max: int) -> Folded:
        if events_max > 10 and sum(len(read.records) for read in reads) > 10:
            raise psycopg.errors.TransactionTimeout("too slow")
        return super().fold(reads, events_max)


def test_what_takes_too_long_at_once_is_folded_in_parts(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 6, 400)

    async def slowly() -> None:
        folding = Slow(database, GROUPS["votes"], store.codec)
        keeper = Keeper("votes", folding, LIMITS)
        await asyncio.wait_for(follow(keeper, Reader(topics, folding.partitions, Random(6))), 60)
        await keeper.close()

    asyncio.run(slowly())
    assert_views(database, 6, ["votes"], 400)


def test_whatever_is_raised_is_waited_for_and_nothing_is_passed_over(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 7)

    async def troubled() -> None:
        folding = Broken(database, GROUPS["votes"], store.codec)
        keeper = Keeper("votes", folding, LIMITS)
        reader = Reader(topics, folding.partitions, Random(7), 10)
        await keeper.place(reader)
        for error in (StaleCheckpoint("overtaken"), psycopg.OperationalError("away"), RuntimeError("a bug")):
            folding.failures = [error] * 3
            for _ in range(10):  # what comes after it would hide what was passed over
                fetch = reader.fetch()
                assert fetch is not None
                await keeper.take(reader, fetch)
        folding.failures = []
        await follow(keeper, reader)
        assert keeper.trouble is None
        await keeper.close()

    with capture_logs() as lines:
        asyncio.run(troubled())
    assert_views(database, 7, ["votes"])
    traces = {json.loads(row[4])["meta"]["correlation_id"].replace("-", "") for row in stored(database)}
    waited = [line for line in lines if line["event"] == "worker.waits"]
    assert waited
    assert {line["trace_id"] for line in waited} <= traces


def test_a_release_ends_what_waits_and_what_came_late_is_dropped(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 8)

    async def released() -> None:
        folding = Broken(database, GROUPS["votes"], store.codec)
        keeper = Keeper("votes", folding, LIMITS)
        reader = Reader(topics, folding.partitions, Random(8))
        await keeper.place(reader)
        folding.failures = [psycopg.OperationalError("away")] * 1_000
        fetch = reader.fetch()
        assert fetch is not None
        waiting = asyncio.create_task(keeper.take(reader, fetch))
        await asyncio.sleep(0.1)
        assert keeper.away
        assert not waiting.done()
        await keeper.release()
        await asyncio.wait_for(waiting, 1)
        assert not keeper.offsets
        folding.failures = []
        await keeper.place(reader)
        events = keeper.events
        await keeper.take(reader, fetch)
        assert keeper.events == events, "a fetch from before the seek was folded"
        await keeper.close()

    asyncio.run(released())


def test_a_move_while_it_is_placed_is_no_trouble(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 9, 300)

    async def moving() -> None:
        keeper = keeper_of(database, store, "people")
        reader = Reader(topics, keeper.folding.partitions, Random(9))
        reader.moved = 1
        await keeper.place(reader)
        assert not keeper.offsets
        await keeper.take(reader, Fetch(0, [Read(1000, 0, 1, [])]))
        assert keeper.offsets
        assert keeper.trouble is None
        await keeper.close()

    asyncio.run(moving())


def test_one_that_hangs_in_postgresql_is_cut_off(database: str, store: GroupCommitStore) -> None:
    topics = fill(database, store, 10, 300)

    async def hanging() -> None:
        keeper = keeper_of(database, store, "people")
        reader = Reader(topics, keeper.folding.partitions, Random(10))
        await keeper.place(reader)
        with connect(database) as other, other.transaction():
            other.execute("SELECT FROM views.checkpoints FOR UPDATE")
            fetch = reader.fetch()
            assert fetch is not None
            taking = asyncio.create_task(keeper.take(reader, fetch))
            await asyncio.sleep(LIMITS.batch_seconds_max + 0.5)
            assert keeper.away
        await asyncio.wait_for(taking, 10)
        await follow(keeper, reader)
        await keeper.close()

    asyncio.run(hanging())
    assert_views(database, 10, ["people"], 300)


def test_the_embedded_runner_is_kept_out_and_waited_for(database: str, store: GroupCommitStore) -> None:
    fill(database, store, 11, 100)
    with connect(database) as runner:
        runner.execute("SELECT pg_advisory_lock(%s)", (0x6D6F6F74_72756E72,))
        folding = Folding(database, GROUPS["people"], store.codec)
        with pytest.raises(PartitionsFailure, match="moot stop"):
            folding.look([1000])
    assert folding.look([1000])
    folding.close()
