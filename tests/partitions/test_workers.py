"""Two workers beside each other over PostgreSQL, on partitions of their own, on each other's, and as zombies."""

import threading
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest

from domain.account import AccountRegistered, DisplayNameChanged
from domain.event import Event, Id
from domain.follow import AccountFollowed
from domain.ids import derived, relation_id
from infra import migrate
from infra.event_store import postgres_store
from infra.partitions import FleetUnsettled, PartitionsMissing, leave_fleet
from infra.postgres import connect
from infra.rows import (
    FRONTIER,
    PARTITION,
    create_missing,
    lock_checkpoints,
    prepare_for_folding,
    read_checkpoints,
    read_reached,
)
from infra.shadow import Shadow
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import StaleCheckpoint
from schemas.envelope import Recorded
from schemas.topics import place
from streams import dead_letters
from streams.batches import Batch, fold_batch
from streams.partitions import Delivery, EmbeddedRunnerActive, PartitionFolder, join_fleet
from streams.rebuild import rebuild
from streams.runner import Runner
from streams.views import list_views, roll_back
from tests.equivalence.histories import Happened, World
from tests.equivalence.recording import Filler, recorded
from tests.equivalence.test_equivalence import all_rows, straight, table_rows
from tests.equivalence.test_runner import LIMITS, SECONDS
from tests.partitions.delivering import Partitions, by_place
from tests.projections.folds import NOW

EVERY = list(ALL.values())


@pytest.fixture
def views(database: str) -> str:
    migrate.migrate(database)
    return database


@pytest.fixture
def connection(views: str) -> Iterator[Any]:
    with connect(views) as opened:
        prepare_for_folding(opened, "moot worker")
        yield opened


class Reader:
    """Reads some partitions as a consumer of Kafka does: offsets are indices, and it goes where it is sent."""

    def __init__(self, partitions: Partitions, random: Random) -> None:
        self._partitions = partitions
        self._random = random
        self.at: dict[int, int] = {}

    def seek(self, folder: PartitionFolder, connection: Any, numbers: Sequence[int]) -> None:
        self.at = {number: start.offset or 0 for number, start in folder.look(connection, numbers).items()}

    def some(self, size_max: int) -> list[Delivery]:
        """What came of some of the partitions; nothing at the end."""
        left = [number for number, at in self.at.items() if at < len(self._partitions.get(number, ()))]
        taken = self._random.sample(left, min(len(left), self._random.randrange(1, 5)))
        found = []
        for number in taken:
            start, end = self.at[number], self.at[number] + self._random.randrange(1, size_max)
            events = self._partitions[number][start:end]
            self.at[number] = start + len(events)
            found.append(Delivery(number, events, self.at[number]))
        return found


class Worker(threading.Thread):
    """Folds its partitions to their ends, again and again losing its place and finding it."""

    def __init__(self, database: str, partitions: Partitions, numbers: Sequence[int], seed: int) -> None:
        super().__init__(daemon=True)
        self._database, self._partitions, self._numbers, self._random = database, partitions, numbers, Random(seed)
        self.stale = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            self.failure = error

    def _work(self) -> None:
        folder, reader = PartitionFolder(EVERY), Reader(self._partitions, self._random)
        with connect(self._database) as connection:
            prepare_for_folding(connection, "moot worker")
            join_fleet(connection, EVERY)
            reader.seek(folder, connection, self._numbers)
            while deliveries := reader.some(200):
                try:
                    for _ in folder.take(connection, deliveries):
                        pass
                except StaleCheckpoint:
                    self.stale += 1
                    reader.seek(folder, connection, self._numbers)


def work(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive(), "workers wait for each other for ever"
        if worker.failure is not None:
            raise worker.failure


def relay(connection: Any, partitions: Partitions, frontier: int) -> None:
    """Say what the relay says when everything up to there is in the topics."""
    sent = {number: max((e.position for e in events if e.position <= frontier), default=0)
            for number, events in partitions.items()}  # fmt: skip
    for partition, position in {**sent, FRONTIER: frontier}.items():
        if position:
            connection.execute(
                "INSERT INTO log.relayed VALUES (%s, %s) ON CONFLICT (partition) DO UPDATE SET position = %s",
                (partition, position, position),
            )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_workers_on_different_partitions_lose_nothing(views: str, connection: Any, seed: int) -> None:
    log = recorded(World(seed).happen(4_000))
    partitions = by_place(log)
    numbers = PartitionFolder(EVERY).partitions
    workers = [Worker(views, partitions, numbers[half::2], seed + half) for half in (0, 1)]
    work(workers)
    assert [worker.stale for worker in workers] == [0, 0]
    assert all_rows(views) == straight(log)
    relay(connection, partitions, len(log))
    assert read_reached(connection) == dict.fromkeys(ALL, len(log))


def test_two_workers_on_the_same_partitions_fold_each_event_once(views: str) -> None:
    # As while a partition is taken over from a worker that does not know it yet.
    log = recorded(World(4).happen(3_000))
    partitions = by_place(log)
    numbers = PartitionFolder(EVERY).partitions
    workers = [Worker(views, partitions, numbers, seed) for seed in (1, 2)]
    work(workers)
    assert sum(worker.stale for worker in workers) > 0
    assert all_rows(views) == straight(log)


def test_a_zombie_is_told_and_changes_nothing(views: str, connection: Any) -> None:
    log = recorded(World(5).happen(2_000))
    partitions = by_place(log)
    number, events = max(partitions.items(), key=lambda item: len(item[1]))
    join_fleet(connection, EVERY)
    zombie, heir = PartitionFolder(EVERY), PartitionFolder(EVERY)
    zombie.look(connection, [number])
    list(zombie.take(connection, [Delivery(number, events[:100], 100)]))
    start = heir.look(connection, [number])[number]
    assert (start.offset, start.position) == (100, events[99].position)
    list(heir.take(connection, [Delivery(number, events[100:200], 200)]))
    before = all_rows(views)
    for late in (events[50:150], events[100:200], events[100:300]):
        with pytest.raises(StaleCheckpoint, match="stands at"):
            list(zombie.take(connection, [Delivery(number, late, 300)]))
    assert all_rows(views) == before
    assert zombie.look(connection, [number])[number] == heir.look(connection, [number])[number]
    for folder in (zombie, heir):  # what both have read is folded once
        for _ in folder.look(connection, [number]):
            list(folder.take(connection, [Delivery(number, events[:300], 300)]))
    assert {found.position for found in read_checkpoints(connection, number).values()} == {events[299].position}


def test_a_partition_that_is_not_the_workers_is_refused(connection: Any) -> None:
    log = recorded(World(5).happen(200))
    (first, events), (second, others), *_ = by_place(log).items()
    join_fleet(connection, EVERY)
    folder = PartitionFolder(EVERY)
    folder.look(connection, [first])
    with pytest.raises(StaleCheckpoint, match="not this worker's"):
        list(folder.take(connection, [Delivery(first, events), Delivery(second, others)]))
    with pytest.raises(StaleCheckpoint, match="twice"):
        list(folder.take(connection, [Delivery(first, events), Delivery(first, events)]))


class Held:
    """A transaction of another worker that has written and has yet to commit."""

    def __init__(self, database: str, batch: Batch, *names: str) -> None:
        self.entered, self.done = threading.Event(), threading.Event()
        self._release = threading.Event()
        self._arguments = (database, batch, names)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.entered.wait(SECONDS)

    def _run(self) -> None:
        database, batch, names = self._arguments
        with connect(database) as connection:
            tables = {name: Table(ALL[name]) for name in names}
            with connection.transaction():
                fold_batch(connection, tables, [ALL[name] for name in names], batch)
                self.entered.set()
                assert self._release.wait(SECONDS)
        self.done.set()

    def commit(self) -> None:
        self._release.set()
        self._thread.join(SECONDS)
        assert self.done.is_set()


ANN, BEN, CAT = derived("ann"), derived("ben"), derived("cat")


def at_positions(*events: tuple[int, Event, Id]) -> list[Recorded]:
    world = recorded([Happened(stream, event, NOW, None) for _, event, stream in events])
    return [
        Recorded(p, e.stream_id, e.version, e.event, e.raw_meta) for (p, _, _), e in zip(events, world, strict=True)
    ]


def test_rows_of_several_partitions_are_waited_for_and_local_ones_are_not(views: str, connection: Any) -> None:
    follows = at_positions(
        *(
            (position, AccountFollowed(who, whom), relation_id(who, whom))
            for position, (who, whom) in enumerate([(ANN, BEN), (ANN, CAT), (BEN, ANN), (CAT, ANN)], 1)
        )
    )
    by_number: dict[int, list[Recorded]] = {}
    for event in follows:
        by_number.setdefault(place(event).number, []).append(event)
    (one, here), (other, there), *_ = sorted(by_number.items())
    join_fleet(connection, EVERY)
    mine = Batch(there, 0, there[-1].position, other)
    tables = {name: Table(ALL[name]) for name in ("follows", "profiles")}
    held = Held(views, Batch(here, 0, here[-1].position, one), "profiles", "follows")
    fold_batch(connection, tables, [ALL["follows"]], mine)  # waits for nobody
    finished = threading.Event()

    def fold_shared() -> None:
        with connect(views) as another:
            fold_batch(another, tables, [ALL["profiles"]], mine)
        finished.set()

    thread = threading.Thread(target=fold_shared, daemon=True)
    thread.start()
    assert not finished.wait(0.3), "it did not wait for the one before it, whose rows it writes"
    held.commit()
    thread.join(SECONDS)
    profile: Any = table_rows(connection, ALL["profiles"])[ANN]
    folded = [event.event for event in (*here, *there)]
    assert profile.following == sum(isinstance(e, AccountFollowed) and e.follower_id == ANN for e in folded)
    assert profile.followers == sum(isinstance(e, AccountFollowed) and e.followed_id == ANN for e in folded)


def test_what_the_one_before_has_parked_is_seen_by_the_one_that_waited(views: str, connection: Any) -> None:
    # The name of the second event cannot be stored: its key is parked, and the third must wait behind it.
    events = at_positions(
        (1, AccountRegistered(ANN, "ann", "Ann"), ANN),
        (2, DisplayNameChanged(ANN, "nul\0"), ANN),
        (3, DisplayNameChanged(ANN, "later"), ANN),
    )
    number = place(events[0]).number
    join_fleet(connection, EVERY)
    tables = {"profiles": Table(ALL["profiles"])}
    fold_batch(connection, tables, [ALL["profiles"]], Batch(events[:1], 0, 1, number))
    held = Held(views, Batch(events[1:2], 1, 2, number), "profiles")
    finished = threading.Event()

    def fold_next() -> None:
        with connect(views) as another:
            fold_batch(another, tables, [ALL["profiles"]], Batch(events[2:], 2, 3, number))
        finished.set()

    thread = threading.Thread(target=fold_next, daemon=True)
    thread.start()
    assert not finished.wait(0.3)
    held.commit()
    thread.join(SECONDS)
    assert finished.is_set()
    assert dead_letters.positions(connection, "profiles", ANN) == [2, 3]
    profile: Any = table_rows(connection, ALL["profiles"])[ANN]
    assert profile.display_name == "Ann"


# -- the way there and back ------------------------------------------------------------------------------------------


@pytest.fixture
def site(views: str, connection: Any) -> Iterator["Site"]:
    opened = Site(views, connection)
    yield opened
    opened.store.close()


class Site:
    """An event store with a history, a runner of the embedded log, and a fleet."""

    def __init__(self, database: str, connection: Any) -> None:
        self.database, self.connection = database, connection
        self.store = postgres_store(database, bytes(32))
        self.history = list(World(6).happen(1_500))
        self.log = recorded(self.history)
        self._filler = Filler(connection, self.store.codec)

    def record(self, upto: int) -> None:
        self._filler.fill(self.history[self._filler.position : upto])

    def embedded(self, upto: int) -> None:
        runner = Runner(self.database, self.store, EVERY, limits=LIMITS)
        runner.start()
        try:
            assert runner.wait(upto, SECONDS), runner.trouble
        finally:
            assert runner.stop(SECONDS)

    def fleet(self, upto: int, *, leave_out: int | None = None) -> None:
        """Fold everything up to there from the partitions, but for one of them."""
        partitions = by_place(self.log[:upto])
        folder, reader = PartitionFolder(EVERY), Reader(partitions, Random(1))
        reader.seek(folder, self.connection, [n for n in folder.partitions if n != leave_out])
        while deliveries := reader.some(300):
            for _ in folder.take(self.connection, deliveries):
                pass
        relay(self.connection, partitions, upto)

    def reached(self) -> set[int]:
        return set(read_reached(self.connection).values())


def test_from_the_embedded_log_to_a_fleet_and_back(site: Site) -> None:
    site.record(500)
    site.embedded(500)
    with connect(site.database) as worker:
        join_fleet(worker, EVERY)
        assert read_checkpoints(site.connection, PARTITION) == {}
        assert site.reached() == {500}
        join_fleet(worker, EVERY)  # as the next worker does
        assert site.reached() == {500}
        site.record(1_000)
        site.fleet(1_000)
        assert site.reached() == {1_000}
        assert all_rows(site.database) == straight(site.log[:1_000])
    site.record(1_500)
    site.embedded(1_500)
    assert {found.position for found in read_checkpoints(site.connection).values()} == {1_500}
    assert all_rows(site.database) == straight(site.log[:1_500])
    join_fleet(site.connection, EVERY)
    site.fleet(1_500)
    assert site.reached() == {1_500}
    assert all_rows(site.database) == straight(site.log[:1_500])


def test_the_embedded_runner_refuses_what_a_fleet_left_in_the_middle(site: Site) -> None:
    site.record(1_000)
    create_missing(site.connection, EVERY)
    with connect(site.database) as worker:
        join_fleet(worker, EVERY)
        busiest = max(by_place(site.log[:1_000]).items(), key=lambda item: len(item[1]))[0]
        site.fleet(1_000, leave_out=busiest)
    with pytest.raises(FleetUnsettled, match="moot projections rebuild --all"):
        leave_fleet(site.connection, EVERY)
    before = all_rows(site.database)
    runner = Runner(site.database, site.store, EVERY, limits=LIMITS)
    runner.start()
    try:
        assert not runner.settled(0.5)
        assert "moot projections rebuild --all" in (runner.trouble or "")
        assert all_rows(site.database) == before
        rebuild(site.database, site.store, EVERY)
        assert site.reached() == {1_000}
        assert runner.wait(1_000, SECONDS), runner.trouble
        assert runner.trouble is None
    finally:
        assert runner.stop(SECONDS)
    assert all_rows(site.database) == straight(site.log[:1_000])


def test_a_rebuild_meets_a_fleet_and_it_goes_on_from_there(site: Site) -> None:
    site.record(1_000)
    with connect(site.database) as worker:
        join_fleet(worker, EVERY)
        site.fleet(600)
        rebuild(site.database, site.store, [ALL["scores"], ALL["karma"]])
        reached = read_reached(site.connection)
        assert (reached["scores"], reached["karma"], reached["feed"]) == (1_000, 1_000, 600)
        site.fleet(1_000)
        assert site.reached() == {1_000}
        assert all_rows(site.database) == straight(site.log[:1_000])

        assert roll_back(site.connection, ALL["karma"]) < 600
        starts = PartitionFolder([ALL["karma"]]).look(site.connection, PartitionFolder([ALL["karma"]]).partitions)
        assert {start.offset for start in starts.values()} == {None}, "it is not known any more where that was"
        site.fleet(1_000)
        assert all_rows(site.database) == straight(site.log[:1_000])
    states = list_views(site.connection, EVERY, head=1_000)
    assert {(state.position, state.lag_events) for state in states} == {(1_000, 0)}


def test_a_rebuild_is_never_behind_any_partition(site: Site) -> None:
    join_fleet(site.connection, EVERY)
    site.fleet(600)
    shadow = Shadow(site.connection, ALL["scores"])
    shadow.create()
    foremost = max(at.position for at in lock_checkpoints(site.connection, ["scores"]).values())
    assert shadow.lock(1.0) == foremost
    site.connection.execute("ROLLBACK")


def test_a_fleet_waits_until_the_embedded_runner_has_ended(site: Site) -> None:
    site.record(300)
    runner = Runner(site.database, site.store, EVERY, limits=LIMITS)
    runner.start()
    try:
        assert runner.wait(300, SECONDS)
        with connect(site.database) as worker, pytest.raises(EmbeddedRunnerActive):
            join_fleet(worker, EVERY, seconds=0.1)
    finally:
        assert runner.stop(SECONDS)
    with connect(site.database) as worker:
        join_fleet(worker, EVERY)
        runner = Runner(site.database, site.store, EVERY, limits=LIMITS)
        runner.start()
        try:
            assert not runner.settled(0.3)
            assert read_checkpoints(site.connection) == {}
        finally:
            assert runner.stop(SECONDS)


def test_a_runner_that_is_overtaken_in_the_middle_of_a_batch_undoes_it(site: Site) -> None:
    site.record(300)
    site.embedded(300)
    tables = {"scores": Table(ALL["scores"])}
    join_fleet(site.connection, EVERY)
    with pytest.raises(StaleCheckpoint, match="is gone"):
        fold_batch(site.connection, tables, [ALL["scores"]], Batch(site.log[300:400], 300, 400))


def test_workers_that_begin_at_once_make_the_views_once(views: str) -> None:
    failures: list[BaseException] = []

    def begin() -> None:
        try:
            with connect(views) as connection:
                join_fleet(connection, EVERY)
                time.sleep(0.1)
        except BaseException as error:  # noqa: BLE001 - asserted on below
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_checkpoints_that_are_missing_are_not_made_up(connection: Any) -> None:
    join_fleet(connection, EVERY)
    connection.execute("DELETE FROM views.checkpoints WHERE projection = 'scores' AND partition = 3004")
    with pytest.raises(PartitionsMissing, match=r"scores .* 3004"):
        join_fleet(connection, EVERY)
    with pytest.raises(PartitionsMissing):
        PartitionFolder(EVERY).look(connection, [3004])
