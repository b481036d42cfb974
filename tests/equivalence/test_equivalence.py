"""Live rows = rebuilt rows, under whatever a log can do to a reader: repeats, other batches, other orders, crashes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from domain.event import Id
from infra import migrate
from infra.event_log import LogRecord, Partition, Span
from infra.event_store import postgres_store
from infra.log_memory import MemoryLog
from infra.log_records import EVENT_TOPICS, POSITION, names, outgoing
from infra.postgres import connect
from infra.rows import create_missing, transaction
from infra.rows_memory import MemoryViews
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import Key, Projection, Row, StaleCheckpoint
from projections.stepping import step
from schemas.envelope import Recorded
from streams.batches import Batch, fold_batch
from streams.limits import RebuildLimits, RelayLimits
from streams.rebuild import OtherLog, rebuild
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler, log_of_topics, recorded, relay_all
from tests.relay.world import reached, relaying

SEEDS = [1, 2, 3]
EVENTS = 3_000

Tables = dict[str, dict[Key, Row]]

BY_POSITION: dict[str, str] = {
    "position": "says where in the log the row's event is, so another order of the log gives another number",
    "bucket": "the positions themselves are what the index of subjects holds",
    "offsets": "likewise",
    "changed": "the position of the last event about a message",
    "said": "the position of the last event of a message itself",
}
"""Columns that may differ when the streams of the log are interleaved in another way, each with the reason."""


def batches(log: Sequence[Recorded], random: Random, size_max: int) -> Iterator[Sequence[Recorded]]:
    start = 0
    while start < len(log):
        end = start + random.randrange(1, size_max)
        yield log[start:end]
        start = end


def in_memory(log: Sequence[Recorded], sizes: Callable[[], Iterator[Sequence[Recorded]]]) -> Tables:
    views = MemoryViews()
    for projection in ALL.values():
        position = 0
        for batch in sizes():
            with views.transaction(projection) as rows:
                step(projection, batch, rows, expected=position, to=batch[-1].position)
            position = batch[-1].position
    assert not any(views.parked.values())
    assert set(views.positions.values()) == {log[-1].position}
    return views.tables


def straight(log: Sequence[Recorded]) -> Tables:
    return in_memory(log, lambda: iter([log]))


@pytest.fixture(scope="module", params=SEEDS)
def log(request: pytest.FixtureRequest) -> list[Recorded]:
    return recorded(World(request.param).happen(EVENTS))


def test_histories_hold_every_kind_of_event() -> None:
    kinds = {type(event.event) for event in recorded(World(1).happen(60_000))}
    assert {kind for projection in ALL.values() for kind in projection.handlers} <= kinds


@pytest.mark.parametrize("size_max", [2, 7, 500])
def test_batches_of_any_size_give_the_same_rows(log: list[Recorded], size_max: int) -> None:
    if size_max == 2:
        log = log[:600]
    assert in_memory(log, lambda: batches(log, Random(size_max), size_max)) == straight(log)


def test_a_repeated_batch_is_refused_and_changes_nothing(log: list[Recorded]) -> None:
    views = MemoryViews()
    random = Random(5)
    for projection in ALL.values():
        position = 0
        for batch in batches(log, random, 300):
            for _ in range(random.randrange(1, 4)):
                try:
                    with views.transaction(projection) as rows:
                        step(projection, batch, rows, expected=position, to=batch[-1].position)
                except StaleCheckpoint:
                    pass
            position = batch[-1].position
    assert views.tables == straight(log)


def interleaved(log: Sequence[Recorded], random: Random) -> list[Recorded]:
    """The same streams, each in its own order, mixed in another way."""
    streams: dict[Id, list[Recorded]] = defaultdict(list)
    for event in log:
        streams[event.stream_id].append(event)
    waiting = list(streams.values())
    mixed: list[Recorded] = []
    indices = [index for index, stream in enumerate(waiting) for _ in stream]
    random.shuffle(indices)
    taken = [0] * len(waiting)
    for index in indices:
        event = waiting[index][taken[index]]
        taken[index] += 1
        mixed.append(Recorded(len(mixed) + 1, event.stream_id, event.version, event.event, event.raw_meta))
    return mixed


def without(rows: Mapping[Key, Row], columns: Mapping[str, str]) -> list[str]:
    found = []
    for row in rows.values():
        values = {name: getattr(row, name) for name in row.__struct_fields__ if name not in columns}
        found.append(repr(values))
    return sorted(found)


@pytest.mark.parametrize("seed", [11, 12])
def test_the_order_between_streams_does_not_matter(log: list[Recorded], seed: int) -> None:
    before, after = straight(log), straight(interleaved(log, Random(seed)))
    for name, projection in ALL.items():
        if name == "subjects":
            assert touched(before[name]) == touched(after[name])
        elif name == "read_markers":  # each move is a stream: which one is the last is all that order says
            assert before[name].keys() == after[name].keys()
        else:
            assert without(after[name], BY_POSITION) == without(before[name], BY_POSITION), projection.name


def touched(rows: Mapping[Key, Any]) -> dict[Id, int]:
    """How many events touch each subject: what the index keeps when every position is another."""
    counts: dict[Id, int] = defaultdict(int)
    for row in rows.values():
        counts[row.subject_id] += len(row.positions)
    return dict(counts)


@pytest.fixture
def views(database: str) -> str:
    migrate.migrate(database)
    with connect(database) as connection:
        create_missing(connection, list(ALL.values()))
    return database


def table_rows(connection: Any, projection: Projection) -> dict[Key, Row]:
    table = Table(projection)
    return table.by_key(connection.execute(table.all_sql).fetchall())


def all_rows(database: str, names: Iterable[str] = ALL) -> Tables:
    with connect(database) as connection:
        connection.execute("SET timezone = 'UTC'")
        return {name: table_rows(connection, ALL[name]) for name in names}


class Crash(Exception):
    pass


def half_a_batch(connection: Any, tables: Mapping[str, Table], batch: Batch, names: Sequence[str]) -> None:
    with transaction(connection, tables) as opened:
        for name in names:
            step(ALL[name], batch.events, opened.rows(name), expected=batch.expected, to=batch.to)
        raise Crash


def test_crashes_and_repeats_in_postgres_change_nothing(views: str, log: list[Recorded]) -> None:
    random = Random(3)
    tables = {name: Table(projection) for name, projection in ALL.items()}
    position = 0
    with connect(views) as connection:
        for events in batches(log, random, 700):
            batch = Batch(events, position, events[-1].position)
            if random.random() < 0.5:
                with pytest.raises(Crash):
                    half_a_batch(connection, tables, batch, random.sample(sorted(ALL), 8))
            fold_batch(connection, tables, list(ALL.values()), batch)
            with pytest.raises(StaleCheckpoint):
                fold_batch(connection, tables, list(ALL.values()), batch)
            position = batch.to
    assert all_rows(views) == straight(log)


SPILLING = RebuildLimits(page_events=100, copy_rows=50, rows_max=400)


@pytest.mark.parametrize("limits", [RebuildLimits(), SPILLING], ids=["in memory", "spilling"])
def test_a_rebuild_gives_the_rows_of_a_straight_fold(views: str, limits: RebuildLimits) -> None:
    history = list(World(4).happen(EVENTS))
    store = postgres_store(views, bytes(32))
    try:
        with connect(views) as connection:
            Filler(connection, store.codec).fill(history)
        summary = rebuild(views, store, list(ALL.values()), limits=limits)
    finally:
        store.close()
    log = recorded(history)
    assert {view.position for view in summary.views} == {len(log)}
    assert all_rows(views) == straight(log)


IN_PAGES = RebuildLimits(page_events=100)


def test_each_view_can_be_rebuilt_alone(views: str) -> None:
    """What is read of the log, and how, depends on the views that are rebuilt together."""
    history = list(World(5).happen(EVENTS))
    expected = straight(recorded(history))
    store = postgres_store(views, bytes(32))
    try:
        with connect(views) as connection:
            Filler(connection, store.codec).fill(history)
        for name, projection in ALL.items():
            rebuild(views, store, [projection], limits=IN_PAGES)
            with connect(views) as connection:
                connection.execute("SET timezone = 'UTC'")
                assert table_rows(connection, projection) == expected[name], name
    finally:
        store.close()


@pytest.mark.parametrize("limits", [RebuildLimits(), SPILLING], ids=["in memory", "spilling"])
def test_a_rebuild_from_topics_gives_the_rows_of_a_straight_fold(views: str, limits: RebuildLimits) -> None:
    history = list(World(6).happen(EVENTS))
    store = postgres_store(views, bytes(32))
    topics = log_of_topics()
    try:
        with connect(views) as connection:
            filler = Filler(connection, store.codec)
            relayed = filler.fill(history[:-30])
            relay_all(topics, store.recorder.page(0, relayed))
            # What the relay has not sent yet is read from the event store, where the log is longer.
            filler.fill(history[-30:])
        summary = rebuild(views, store, list(ALL.values()), limits=limits, topics=topics)
    finally:
        store.close()
    log = recorded(history)
    assert {view.position for view in summary.views} == {len(log)}
    assert all_rows(views) == straight(log)


class DecidedLate:
    """A log of which the last writes are decided in some partitions, and only later in the others."""

    def __init__(self, log: MemoryLog, before: Mapping[Partition, Span]) -> None:
        self._log = log
        self._late = dict(sorted(before.items())[::2])
        self._answers = 3

    def ends(self, topics: Sequence[str], *, decided: bool = True) -> Mapping[Partition, Span]:
        found = self._log.ends(topics, decided=decided)
        if not decided or not self._answers:
            return found
        self._answers -= 1
        return {place: self._late.get(place, span) for place, span in found.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def test_a_rebuild_from_topics_waits_until_what_is_written_there_is_decided_everywhere(views: str) -> None:
    history = list(World(8).happen(EVENTS))
    store = postgres_store(views, bytes(32))
    topics = log_of_topics()
    try:
        with connect(views) as connection:
            filler = Filler(connection, store.codec)
            half = filler.fill(history[: EVENTS // 2])
            relay_all(topics, store.recorder.page(0, half))
            before = topics.ends(names(EVENT_TOPICS))
            whole = filler.fill(history[EVENTS // 2 :])
            relay_all(topics, store.recorder.page(half, whole))
        late: Any = DecidedLate(topics, before)
        rebuild(views, store, list(ALL.values()), topics=late)
    finally:
        store.close()
    assert all_rows(views) == straight(recorded(history))


@pytest.mark.parametrize("limits", [RebuildLimits(), SPILLING], ids=["in memory", "spilling"])
def test_what_no_relay_has_sent_is_passed_over_by_a_rebuild(views: str, limits: RebuildLimits) -> None:
    history = list(World(13).happen(300))
    store = postgres_store(views, bytes(32))
    topics = log_of_topics()
    try:
        with connect(views) as connection:
            head = Filler(connection, store.codec).fill(history)
        places = list(topics.ends(names(EVENT_TOPICS)))
        writer = topics.writer()
        writer.write([LogRecord(*place, b"k", b"garbage", [("of", b"somebody else")] * 4) for place in places])
        relay_all(topics, store.recorder.page(0, head))
        writer = topics.writer()
        writer.write([LogRecord(*place, b"k", value) for place in places for value in (b"garbage", None)])
        summary = rebuild(views, store, list(ALL.values()), topics=topics, limits=limits)
        *_, last = events = outgoing(store.recorder.page(0, head)).records
        claim = msgspec.structs.replace(last, headers=[(POSITION, b"x"), *last.headers[1:]])
        for follows in ([], [last]):
            writer.write([claim, *follows])
            with pytest.raises(OtherLog, match="does not say which event it is"):
                rebuild(views, store, list(ALL.values()), topics=topics)
    finally:
        store.close()
    # Partitions without any event are not read.
    assert summary.foreign == 3 * len({(event.topic, event.partition) for event in events})
    assert all_rows(views) == straight(recorded(history))


def test_topics_that_hold_more_than_the_event_store_rebuild_nothing(views: str) -> None:
    history = list(World(9).happen(300))
    store = postgres_store(views, bytes(32))
    topics = log_of_topics()
    try:
        with connect(views) as connection:
            head = Filler(connection, store.codec).fill(history)
            relay_all(topics, store.recorder.page(0, head))
            connection.execute("DELETE FROM log.stored_events WHERE notification_id > %s", (head - 10,))
        with pytest.raises(OtherLog, match=f"is not what this event store has at position {head}: .*moot log restore"):
            rebuild(views, store, list(ALL.values()), topics=topics)
    finally:
        store.close()
    assert not any(all_rows(views).values())


def test_topics_of_another_store_rebuild_nothing(views: str) -> None:
    """They end before this one does, so only what is in them tells."""
    topics = log_of_topics()
    store = postgres_store(views, bytes(32))
    try:
        with connect(views) as connection:
            filler = Filler(connection, store.codec)
            head = filler.fill(World(10).happen(300))
            relay_all(topics, store.recorder.page(0, head))
            connection.execute("TRUNCATE log.stored_events")
            filler.fill(World(11).happen(600))
        with pytest.raises(OtherLog, match="the topics are of another store"):
            rebuild(views, store, list(ALL.values()), topics=topics)
    finally:
        store.close()
    assert not any(all_rows(views).values())


def test_topics_that_lost_the_end_of_a_partition_rebuild_nothing(views: str) -> None:
    topics = log_of_topics()
    store = postgres_store(views, bytes(32))
    try:
        with connect(views) as connection:
            head = Filler(connection, store.codec).fill(World(12).happen(300))
        with relaying(views, topics, limits=RelayLimits(batch_events_max=10)) as relay:
            reached(relay, head)
        spans = topics.ends(names(EVENT_TOPICS))
        topics.lose_tail(max(spans, key=lambda place: spans[place][1]), 3)
        with pytest.raises(OtherLog, match="1 partitions lost events"):
            rebuild(views, store, list(ALL.values()), topics=topics)
        with relaying(views, topics) as relay:
            reached(relay, head)
        rebuild(views, store, list(ALL.values()), topics=topics)
    finally:
        store.close()
    assert all_rows(views) == straight(recorded(World(12).happen(300)))
