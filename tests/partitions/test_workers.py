"""Two workers beside each other over PostgreSQL, on partitions of their own, on each other's, and as zombies."""

import threading
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from domain.account import AccountRegistered, DisplayNameChanged
from domain.event import Event, Id
from domain.follow import AccountFollowed
from domain.ids import derived, relation_id
from infra.postgres import connect
from infra.rows import (
    prepare_for_folding,
    read_checkpoints,
    read_reached,
)
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import StaleCheckpoint
from schemas.envelope import Recorded
from schemas.topics import place
from streams import dead_letters
from streams.batches import Batch, fold_batch
from streams.partitions import Delivery, PartitionFolder, join_fleet
from tests.equivalence.histories import Happened, World
from tests.equivalence.recording import recorded
from tests.equivalence.test_equivalence import all_rows, straight, table_rows
from tests.equivalence.test_runner import SECONDS
from tests.partitions.delivering import Partitions, by_place
from tests.partitions.reading import EVERY, Reader, relay
from tests.projections.folds import NOW


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
