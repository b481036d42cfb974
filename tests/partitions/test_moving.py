"""From the embedded log to a fleet and back, and rebuilds in between: nothing is lost, and nothing counts twice."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import pytest

from domain.ballot import VoteCast
from domain.event import Id
from infra.event_store import postgres_store
from infra.partitions import FleetUnsettled, PartitionsMissing, leave_fleet
from infra.postgres import connect
from infra.rows import PARTITION, create_missing, lock_checkpoints, read_checkpoints, read_reached
from infra.shadow import Shadow
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import StaleCheckpoint
from schemas.envelope import Recorded
from streams.batches import Batch, fold_batch
from streams.limits import RebuildLimits
from streams.partitions import EmbeddedRunnerActive, PartitionFolder, join_fleet
from streams.rebuild import Progress, RebuildSummary, rebuild
from streams.runner import Runner
from streams.views import list_views, roll_back
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler, recorded
from tests.equivalence.test_equivalence import all_rows, straight
from tests.equivalence.test_runner import LIMITS, SECONDS
from tests.partitions.delivering import by_place
from tests.partitions.reading import EVERY, Reader, relay


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

    def scored(self, upto: int) -> Id:
        """What was voted on last up to there."""
        return next(e.event.target_id for e in reversed(self.log[:upto]) if isinstance(e.event, VoteCast))

    def reached(self) -> set[int]:
        return set(read_reached(self.connection).values())


def busiest(log: Sequence[Recorded]) -> int:
    """The partition that has the most of these events."""
    return max(by_place(log).items(), key=lambda item: len(item[1]))[0]


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
        site.fleet(1_000, leave_out=busiest(site.log[:1_000]))
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
    assert max(shadow.lock(1.0).values()) == foremost
    site.connection.execute("ROLLBACK")


class Meanwhile:
    """What happens while the views are rebuilt, once the log was read and before they are exchanged."""

    def __init__(self, happening: Callable[[], None]) -> None:
        self._happening = happening

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "index":
            self._happening()


def differences(summary: RebuildSummary) -> dict[str, int | None]:
    return {view.name: view.differences for view in summary.views}


def test_views_are_compared_where_each_of_their_partitions_stands(site: Site) -> None:
    site.record(600)
    join_fleet(site.connection, EVERY)
    site.fleet(600)

    def goes_on() -> None:
        site.record(1_000)
        site.fleet(1_000, leave_out=busiest(site.log[600:1_000]))
        # Not even the view that differs differs by more than it was told to.
        site.connection.execute("UPDATE views.scores SET up = up + 1 WHERE target_id = %s", (site.scored(600),))

    found = rebuild(site.database, site.store, EVERY, compare=True, progress=Meanwhile(goes_on))
    assert differences(found) == {**dict.fromkeys(ALL, 0), "scores": 2}
    assert site.reached() == {1_000}
    assert all_rows(site.database) == straight(site.log[:1_000])


def test_to_compare_a_rebuild_waits_for_the_partition_that_is_furthest_behind(site: Site) -> None:
    site.record(1_000)
    join_fleet(site.connection, EVERY)
    site.fleet(600)
    site.fleet(1_000, leave_out=busiest(site.log[600:1_000]))
    catching_up = threading.Thread(target=site.fleet, args=(1_000,))
    limits = RebuildLimits(ahead_seconds_max=SECONDS, switch_attempts_max=10_000)
    found = rebuild(
        site.database, site.store, EVERY, compare=True, progress=Meanwhile(catching_up.start), limits=limits
    )
    catching_up.join()
    assert differences(found) == dict.fromkeys(ALL, 0)
    assert all_rows(site.database) == straight(site.log[:1_000])


def test_a_view_that_stays_behind_is_exchanged_and_said_not_to_be_compared(site: Site) -> None:
    site.record(1_000)
    join_fleet(site.connection, EVERY)
    site.fleet(600)
    site.fleet(1_000, leave_out=busiest(site.log[600:1_000]))
    found = rebuild(site.database, site.store, EVERY, compare=True, limits=RebuildLimits(ahead_seconds_max=0.0))
    behind = {name for name, count in differences(found).items() if count is None}
    assert {"scores", "votes", "feed", "karma"} <= behind
    assert set(differences(found).values()) <= {None, 0}
    assert all_rows(site.database) == straight(site.log[:1_000])


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
