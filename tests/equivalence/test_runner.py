"""The runner over a real log: what it does with poison, outages, rivals and rebuilds, and what it says."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from domain.account import AccountRegistered, DisplayNameChanged
from domain.ballot import VoteCast
from domain.event import Id
from domain.ids import derived
from infra import migrate
from infra.event_store import GroupCommitStore, postgres_store
from infra.postgres import connect
from infra.rows import read_checkpoints
from infra.signals import late
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import Key, Projection, Row
from streams import dead_letters, rebuild
from streams.runner import Runner, RunnerLimits
from streams.views import list_views, roll_back
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler, recorded
from tests.equivalence.test_equivalence import all_rows, straight

LIMITS = RunnerLimits(retry_seconds_min=0.01, idle_seconds=0.05, bulk_events_min=10**9)
SECONDS = 30.0


class Heard:
    """A publisher that remembers what was said."""

    def __init__(self) -> None:
        self.channels: dict[str, int] = {}
        self.position = 0
        self.mended = threading.Event()

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        self.channels.update(channels)
        self.position = self.position if position is None else position

    def mend(self) -> None:
        self.mended.set()


class Log:
    """A database with a log, a way to fill it, and a runner's surroundings."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.store: GroupCommitStore = postgres_store(database, bytes(32))
        self.connection = connect(database)
        self.filler = Filler(self.connection, self.store.codec)

    def fill(self, events: list[Any]) -> int:
        return self.filler.fill(events)

    @contextmanager
    def running(self, *projections: Projection, heard: Heard | None = None) -> Iterator[Runner]:
        runner = Runner(self.database, self.store, projections or ALL.values(), heard, limits=LIMITS)
        runner.start()
        try:
            yield runner
        finally:
            assert runner.stop(SECONDS)

    def rows(self, projection: Projection) -> dict[Key, Row]:
        table = Table(projection)
        return table.by_key(self.connection.execute(table.all_sql).fetchall())


@pytest.fixture
def log(database: str) -> Iterator[Log]:
    migrate.migrate(database)
    opened = Log(database)
    yield opened
    opened.connection.close()
    opened.store.close()


def test_live_rows_are_those_of_a_straight_fold_and_are_signalled(log: Log) -> None:
    history = list(World(7).happen(2_000))
    heard = Heard()
    with log.running(heard=heard) as runner:
        for start in range(0, len(history), 150):
            assert runner.wait(log.fill(history[start : start + 150]), SECONDS), runner.trouble
    events = recorded(history)
    rows = straight(events)
    assert all_rows(log.database) == rows
    assert heard.position == len(events)
    voted = {f"score:{event.event.target_id}" for event in events if isinstance(event.event, VoteCast)}
    assert voted <= heard.channels.keys()


def test_one_that_has_nothing_to_do_has_what_was_lost_said(log: Log) -> None:
    heard = Heard()
    with log.running(heard=heard):
        assert heard.mended.wait(SECONDS)


def test_one_runner_at_a_time_and_the_next_takes_over(log: Log) -> None:
    history = list(World(8).happen(400))
    with log.running() as first:
        assert first.wait(log.fill(history[:200]), SECONDS)
        with log.running() as second:
            assert second.positions == {}
            assert first.wait(log.fill(history[200:]), SECONDS)
            assert first.stop(SECONDS)
            assert second.wait(len(history), SECONDS)
    assert all_rows(log.database) == straight(recorded(history))


def test_it_survives_the_loss_of_its_connections(log: Log) -> None:
    history = list(World(9).happen(3_000))
    with log.running() as runner:
        for start in range(0, len(history), 500):
            log.fill(history[start : start + 500])
            log.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'moot runner'"
            )
        assert runner.wait(len(history), SECONDS), runner.trouble
    assert all_rows(log.database) == straight(recorded(history))


class Named(Row, frozen=True):
    key_fields: ClassVar[tuple[str, ...]] = ("account_id",)
    account_id: Id
    names: str = ""


NAMED_DDL = "CREATE TABLE views.named (account_id uuid PRIMARY KEY, names text NOT NULL)"
BROKEN = "broken"


def named(*, fixed: bool, version: int = 1) -> Projection:
    """Every display name that an account had; one of them is poison until the fold is fixed."""
    projection = Projection("named", version=version, row=Named, signal=lambda row: f"named:{row.account_id}")

    @projection.on(AccountRegistered, DisplayNameChanged, key=lambda e: e.account_id)
    def _(row: Named, e: AccountRegistered | DisplayNameChanged) -> Named:
        if e.display_name == BROKEN and not fixed:
            raise ValueError("cannot fold this")
        return Named(row.account_id, f"{row.names}/{e.display_name}")

    return projection


def names(log: Log, *renames: tuple[Id, str]) -> int:
    world = World(1)
    return log.fill([world._happened(who, DisplayNameChanged(who, text), who) for who, text in renames])


ANN, BEN = derived("ann"), derived("ben")


@pytest.fixture
def with_named(log: Log) -> Log:
    log.connection.execute(NAMED_DDL)
    return log


def test_poison_parks_its_key_in_order_and_nothing_else(with_named: Log) -> None:
    log = with_named
    with log.running(named(fixed=False)) as runner:
        assert runner.wait(names(log, (ANN, "1"), (BEN, "1"), (ANN, BROKEN), (BEN, "2"), (ANN, "3")), SECONDS)
        assert runner.wait(names(log, (ANN, "4"), (BEN, "3")), SECONDS)
        assert log.rows(named(fixed=True)) == {ANN: Named(ANN, "/1"), BEN: Named(BEN, "/1/2/3")}
        (parked,) = dead_letters.dead_letters(log.connection)
        assert (parked.projection, parked.key, parked.events) == ("named", ANN, 3)
        assert "cannot fold this" in parked.error
        assert dead_letters.positions(log.connection, "named", ANN) == [3, 5, 6]

        still = dead_letters.retry(log.connection, log.store, named(fixed=False), ANN)
        assert (still.applied, still.left) == (0, 3)
        done = dead_letters.retry(log.connection, log.store, named(fixed=True), ANN)
        assert (done.applied, done.left, done.error) == (3, 0, None)
        assert runner.wait(names(log, (ANN, "5")), SECONDS)
    assert log.rows(named(fixed=True))[ANN] == Named(ANN, f"/1/{BROKEN}/3/4/5")
    assert dead_letters.dead_letters(log.connection) == []


def test_discarding_the_poison_lets_the_rest_go_on(with_named: Log) -> None:
    log = with_named
    with log.running(named(fixed=False)) as runner:
        assert runner.wait(names(log, (ANN, "1"), (ANN, BROKEN), (ANN, "2")), SECONDS)
    assert dead_letters.discard(log.connection, "named", ANN, [2]) == 1
    assert dead_letters.retry(log.connection, log.store, named(fixed=False), ANN).applied == 1
    assert log.rows(named(fixed=True)) == {ANN: Named(ANN, "/1/2")}
    with pytest.raises(dead_letters.NotParked, match=ANN):
        dead_letters.discard(log.connection, "named", ANN)


def test_what_cannot_be_stored_is_poison_too(with_named: Log) -> None:
    log = with_named
    with capture_logs() as lines, log.running(named(fixed=False)) as runner:
        assert runner.wait(names(log, (ANN, "1"), (BEN, "1"), (ANN, "nul\0"), (BEN, "2"), (ANN, "3")), SECONDS)
    said = [line for line in lines if line["event"] == "views.parked"]
    # In a history of the tests the correlation id is that of the stream.
    assert (said[0]["position"], said[0]["trace_id"]) == (3, ANN.replace("-", ""))
    assert log.rows(named(fixed=True)) == {ANN: Named(ANN, "/1"), BEN: Named(BEN, "/1/2")}
    assert dead_letters.positions(log.connection, "named", ANN) == [3, 5]
    again = dead_letters.retry(log.connection, log.store, named(fixed=True), ANN)
    assert again.left == 2
    assert "NUL" in (again.error or "")


def test_what_cannot_be_decoded_parks_its_stream(with_named: Log) -> None:
    log = with_named
    names(log, (ANN, "1"), (BEN, "1"), (ANN, "2"), (ANN, "3"), (BEN, "2"))
    log.connection.execute(
        "UPDATE log.stored_events SET topic = 'account.display_name_changed@9' WHERE notification_id = 3"
    )
    with log.running(named(fixed=True)) as runner:
        assert runner.wait(5, SECONDS)
    assert log.rows(named(fixed=True)) == {ANN: Named(ANN, "/1"), BEN: Named(BEN, "/1/2")}
    (parked,) = dead_letters.dead_letters(log.connection, "named")
    assert (parked.key, parked.first_position, parked.events) == (f"stream:{ANN}", 3, 2)
    log.connection.execute(
        "UPDATE log.stored_events SET topic = 'account.display_name_changed@1' WHERE notification_id = 3"
    )
    assert dead_letters.retry(log.connection, log.store, named(fixed=True), f"stream:{ANN}").applied == 2
    assert log.rows(named(fixed=True))[ANN] == Named(ANN, "/1/2/3")


def test_events_of_a_stream_that_cannot_be_folded_either_wait_under_their_row(with_named: Log) -> None:
    log = with_named
    names(log, (ANN, "1"), (BEN, "1"), (ANN, BROKEN), (ANN, "3"), (BEN, "2"))
    topic = "UPDATE log.stored_events SET topic = 'account.display_name_changed@{}' WHERE notification_id = 3"
    log.connection.execute(topic.format(9).encode())
    with log.running(named(fixed=False)) as runner:
        assert runner.wait(5, SECONDS)
    log.connection.execute(topic.format(1).encode())
    heard = Heard()
    moved = dead_letters.retry(log.connection, log.store, named(fixed=False), f"stream:{ANN}", heard)
    assert (moved.applied, moved.left, moved.moved) == (0, 0, 2)
    (parked,) = dead_letters.dead_letters(log.connection, "named")
    assert (parked.key, parked.events) == (ANN, 2)
    assert "cannot fold this" in parked.error
    done = dead_letters.retry(log.connection, log.store, named(fixed=True), ANN, heard)
    assert (done.applied, done.left, done.moved) == (2, 0, 0)
    assert log.rows(named(fixed=True))[ANN] == Named(ANN, f"/1/{BROKEN}/3")
    assert heard.channels == {f"named:{ANN}": late(3)}, "who follows may be past where it begins"


def test_a_view_of_another_version_is_rebuilt_at_start(with_named: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log = with_named
    monkeypatch.setattr("infra.shadow.definition", lambda _, name: f"CREATE TABLE {name} {NAMED_DDL[25:]}".encode())
    with log.running(named(fixed=False)) as runner:
        assert runner.wait(names(log, (ANN, "1"), (ANN, BROKEN), (ANN, "2")), SECONDS)
    with log.running(named(fixed=True, version=2)) as runner:
        assert runner.wait(names(log, (ANN, "3")), SECONDS)
        assert runner.stale == frozenset()
    assert log.rows(named(fixed=True)) == {ANN: Named(ANN, f"/1/{BROKEN}/2/3")}
    (state,) = list_views(log.connection, [named(fixed=True, version=2)], head=4)
    assert (state.built_version, state.previous_version, state.lag_events, state.parked) == (2, 1, 0, 0)

    assert roll_back(log.connection, named(fixed=True)) == 3
    assert log.rows(named(fixed=True)) == {ANN: Named(ANN, "/1")}
    assert dead_letters.positions(log.connection, "named", ANN) == [2, 3]


def test_a_view_too_large_to_rebuild_at_start_is_left_alone_and_named(with_named: Log) -> None:
    log = with_named
    with log.running(named(fixed=True)) as runner:
        assert runner.wait(names(log, (ANN, "1")), SECONDS)
    limits = RunnerLimits(rebuild_events_max=0, idle_seconds=0.02)
    runner = Runner(log.database, log.store, [named(fixed=True, version=2)], limits=limits)
    runner.start()
    try:
        assert runner.settled(SECONDS)
        assert runner.stale == {"named"}
        assert "moot projections rebuild named" in (runner.trouble or "")
    finally:
        assert runner.stop(SECONDS)


def outcome_within(seconds: float, act: Callable[[], object]) -> object:
    """What the act gives, or the type of what it raises; ``None`` if it takes longer than that."""
    done: list[object] = []

    def run() -> None:
        try:
            done.append(act())
        except rebuild.RebuildFailure as error:
            done.append(type(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return done[0] if done else None


def test_two_rebuilds_of_one_view_are_refused(log: Log) -> None:
    log.fill(list(World(2).happen(300)))
    with log.running() as runner:
        assert runner.wait(300, SECONDS)
    inside: list[object] = []

    def again(_: rebuild.Progress) -> None:
        if not inside:
            inside.append(outcome_within(SECONDS, lambda: rebuild.rebuild(log.database, log.store, [ALL["scores"]])))

    rebuild.rebuild(log.database, log.store, [ALL["scores"], ALL["karma"]], progress=again)
    assert inside == [rebuild.RebuildRunning]


def test_a_rebuild_that_dies_leaves_everything_as_it_was(log: Log) -> None:
    history = list(World(3).happen(500))
    log.fill(history)
    with log.running() as runner:
        assert runner.wait(len(history), SECONDS)
    before = all_rows(log.database)
    checkpoints = {name: found.position for name, found in read_checkpoints(log.connection).items()}

    def die(progress: rebuild.Progress) -> None:
        if progress.phase == "index":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild.rebuild(log.database, log.store, list(ALL.values()), progress=die)
    assert all_rows(log.database) == before
    assert {name: found.position for name, found in read_checkpoints(log.connection).items()} == checkpoints
    found = log.connection.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'views' AND tablename LIKE '%shadow'"
    ).fetchone()
    assert found == (0,)


def test_readers_never_miss_a_view_while_it_is_rebuilt_under_load(log: Log) -> None:
    history = list(World(6).happen(6_000))
    log.fill(history[:3_000])
    stop = threading.Event()
    seen: list[int] = []
    failures: list[BaseException] = []

    def read() -> None:
        with connect(log.database) as connection:
            try:
                while not stop.is_set():
                    row = connection.execute(
                        "SELECT count(*), max(position) FROM views.scores", prepare=True
                    ).fetchone()
                    assert row is not None
                    seen.append(row[1])
            except BaseException as error:  # noqa: BLE001 - asserted on below
                failures.append(error)

    def write() -> None:
        for start in range(3_000, len(history), 50):
            log.fill(history[start : start + 50])

    with log.running() as runner:
        assert runner.wait(3_000, SECONDS)
        threads = [threading.Thread(target=read), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        while threads[1].is_alive():
            summary = rebuild.rebuild(log.database, log.store, list(ALL.values()), compare=True)
            assert not any(view.differences for view in summary.views), summary
        threads[1].join()
        assert runner.wait(len(history), SECONDS), runner.trouble
        stop.set()
        threads[0].join()
    assert failures == []
    assert seen == sorted(seen), "a reader saw an older view after a newer one"
    assert all_rows(log.database) == straight(recorded(history))
