"""The log read from end to end as fast as one core can: each kind of a page is decoded in one call."""

from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple
from psycopg import Connection
from psycopg.sql import SQL, Composed, Literal

from domain.event import Event, Id
from infra.codec import Codec, OccurredOnly, Row, WithoutActors, decode_occurred
from infra.postgres import connect
from projections.columns import NO_ID, Flags, Ids, Numbers, Times, ids, occurred
from schemas.envelope import Recorded, Undecodable
from schemas.registry import WIRE

_SELECT = SQL(
    """
SELECT notification_id, topic, state, uuid_send(originator_id), originator_version FROM log.stored_events
WHERE notification_id > %s AND notification_id <= %s AND topic NOT IN ({names}) ORDER BY notification_id
"""
)
"""A page but for some kinds, an event a row."""

_GROUPED = SQL(
    r"""
SELECT topic, string_agg(int8send(notification_id), ''), string_agg(state, '\x0a')
FROM (
    SELECT notification_id, topic, state FROM log.stored_events
    WHERE notification_id > %s AND notification_id <= %s AND topic IN ({names}) ORDER BY notification_id
) page
GROUP BY topic
"""
)
"""Some kinds of a page, each in two values and without streams and versions: the core of the database, which has little
else to do then, takes work from ours. Hashed groups take rows in the order they come in; envelopes are JSON without
line breaks."""

PAGES_AHEAD = 2
"""Pages that are read or being read while the caller works on one, some 10 MB each: the reader shares the core with the
caller and must not be what everything waits for."""

_data, _meta, _event = attrgetter("data"), attrgetter("meta"), attrgetter("event")


class BulkLog:
    """Pages of the kinds of events that are wanted, and of those that no version of this code knows.

    Of the kinds in ``bare`` only the columns of ``LogPage.alike`` can be asked for in the pages that follow. While the
    caller works on a page, the database has the next one ready. Close it.
    """

    def __init__(
        self,
        conninfo: str,
        codec: Codec,
        wanted: Iterable[type[Event]],
        *,
        page_events: int,
    ) -> None:
        kinds = set(wanted)
        self._codec = codec
        self._page_events = page_events
        self.bare: Collection[type[Event]] = ()
        self._wanted = kinds
        self._unwanted = [wire for wire, kind in WIRE.items() if kind not in kinds]
        self._connection: Connection[Any] = connect(conninfo)
        self._connection.execute("SET enable_sort = off")
        self._reader = ThreadPoolExecutor(1, "bulk-log-reader")

    def close(self) -> None:
        """Let go of thread and connection."""
        self._reader.shutdown(cancel_futures=True)
        self._connection.close()

    def pages(self, after: int, to: int) -> Iterator["LogPage"]:
        """The events after one position up to another, in order, a page at a time.

        Pages end before the multiples of ``page_events``.
        """
        reading: deque[tuple[int, int, Future[list[KindColumns]]]] = deque()
        while after < to or reading:
            while after < to and len(reading) < PAGES_AHEAD:
                until = min(to, ((after + 1) // self._page_events + 1) * self._page_events - 1)
                reading.append((after, until, self._submit(after, until)))
                after = until
            yield from self._page(*reading.popleft())

    def _page(self, after: int, until: int, reading: "Future[list[KindColumns]]") -> Iterator["LogPage"]:
        columns = reading.result()
        if not columns:
            return
        try:
            page = LogPage(columns, self._codec, self.bare)
        except TooBare:
            # A kind was bare when the page was asked for and is not any more, or cannot be decoded without its stream.
            page = LogPage(self._read(after, until, bare=()), self._codec, ())
        yield page

    def _submit(self, after: int, until: int) -> "Future[list[KindColumns]]":
        bare = [wire for wire, kind in WIRE.items() if kind in self.bare]
        return self._reader.submit(self._read, after, until, bare=bare)

    def _read(self, after: int, until: int, *, bare: Sequence[str]) -> "list[KindColumns]":
        cursor = self._connection.cursor(binary=True)
        columns: list[KindColumns] = []
        if bare:
            grouped = cursor.execute(_GROUPED.format(names=_names(bare)), (after, until), prepare=True).fetchall()
            columns = [KindColumns(topic, _integers(at), None, lines) for topic, at, lines in grouped]
        names = _names([*self._unwanted, *bare])
        rows = cursor.execute(_SELECT.format(names=names), (after, until), prepare=True).fetchall()
        by_topic: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            found = by_topic.get(row[1])
            if found is None:
                by_topic[row[1]] = [row]
            else:
                found.append(row)
        columns += [KindColumns(topic, [row[0] for row in found], found, None) for topic, found in by_topic.items()]
        return columns


def _names(wires: Sequence[str]) -> Composed:
    # Written into the statement, the names are hashed once; as a parameter they would be compared one by one.
    return SQL(", ").join(map(Literal, wires or [""]))


def _integers(packed: bytes) -> "array[int]":
    numbers = array("q", packed)
    numbers.byteswap()
    if list(numbers) != sorted(numbers):
        raise RuntimeError("a page of the log came in another order than that of the log")
    return numbers


class TooBare(Exception):
    """Streams or versions of events are needed that were not read."""


class KindColumns(Struct, frozen=True):
    """The events of one wire name in a page: their positions, ascending, and the rows or all states as lines."""

    topic: str
    positions: Sequence[int]
    rows: Sequence[tuple[Any, ...]] | None
    lines: bytes | None


class LogPage:
    """A page of the log, taken apart by kinds. ``last`` is the position of its last event.

    ``alike`` are its events by kind, if the page is ``regular``: each can be decoded, and each kind has one wire name.
    """

    def __init__(self, kinds: Sequence[KindColumns], codec: Codec, bare: Collection[type[Event]]) -> None:
        self.last = max(columns.positions[-1] for columns in kinds)
        self.regular = True
        self.alike: dict[type[Event], _Events] = {}
        self._recorded: dict[type[Event], list[Recorded]] = {}
        for columns in kinds:
            self._decode(codec, columns, WIRE.get(columns.topic) in bare)

    def recorded(self, kinds: Collection[type[Event]]) -> list[Recorded]:
        """The events of these kinds, in order; all events if the page is not regular. None of the kinds is bare."""
        found = [events for kind, events in self._recorded.items() if kind in kinds or not self.regular]
        if len(found) == 1:
            return found[0]
        return sorted(chain.from_iterable(found), key=attrgetter("position"))

    def _decode(self, codec: Codec, columns: KindColumns, bare: bool) -> None:
        positions, lines = columns.positions, columns.lines
        if lines is None:
            lines = b"\n".join([row[2] for row in columns.rows or ()])
        if bare and (decode_data := codec.data_decoder(columns.topic)) is not None:
            try:
                bare_stored = decode_data(lines)
            except ValueError:
                pass  # One of them cannot be decoded; below it is told which.
            else:
                events = list(map(_data, bare_stored))
                self.alike[type(events[0])] = _Events(positions, events, lambda: bare_stored)
                return
        if columns.rows is None:
            raise TooBare
        streams = [_text(row[3]) for row in columns.rows]
        versions = [row[4] for row in columns.rows]
        if (decode := codec.bulk_decoder(columns.topic)) is not None:
            try:
                stored = decode(lines)
            except ValueError:
                pass  # As above.
            else:
                events = list(map(_data, stored))
                recorded = list(map(Recorded, positions, streams, versions, events, map(_meta, stored)))
                self._keep(events[0], recorded, _Events(positions, events, partial(decode_occurred, lines)))
                return
        rows: list[Row] = [
            (at, stream, version, columns.topic, row[2])
            for at, stream, version, row in zip(positions, streams, versions, columns.rows, strict=True)
        ]
        decoded = codec.decode_page(rows)
        events = list(map(_event, decoded))
        kinds = set(map(type, events))
        self.regular &= kinds.isdisjoint(self._recorded) and len(kinds) == 1 and Undecodable not in kinds
        self._keep(events[0], decoded, _Events(positions, events, partial(decode_occurred, lines)))

    def _keep(self, first: Event, recorded: list[Recorded], alike: "_Events") -> None:
        self._recorded.setdefault(type(first), []).extend(recorded)
        self.alike[type(first)] = alike


_HasOccurred = OccurredOnly | WithoutActors[Event]


class _Events:
    """``projections.bulk.Alike`` of a page: arrays are made when they are asked for, and kept for the next view."""

    def __init__(
        self, positions: Sequence[int], events: Sequence[Any], occurred: Callable[[], Sequence[_HasOccurred]]
    ) -> None:
        self.positions = positions
        self.events = events
        self._occurred = occurred
        self._ids: dict[str, Ids] = {}
        self._numbers: dict[str, Numbers] = {}

    @cached_property
    def positions_array(self) -> Numbers:
        """See ``Alike``."""
        return np.array(self.positions, np.int64)

    @cached_property
    def times(self) -> Times:
        """See ``Alike``."""
        return occurred([envelope.meta.occurred_at for envelope in self._occurred()])

    def ids(self, field: str) -> Ids:
        """See ``Alike``."""
        found = self._ids.get(field)
        if found is None:
            values = self._fields[field]
            found = self._ids[field] = ids(values if None not in values else [value or NO_ID for value in values])
        return found

    def numbers(self, field: str) -> Numbers:
        """See ``Alike``."""
        found = self._numbers.get(field)
        if found is None:
            found = self._numbers[field] = np.array(self._fields[field], np.int64)
        return found

    def equal(self, field: str, value: object) -> Flags:
        """See ``Alike``."""
        return np.array([one == value for one in self._fields[field]], np.bool_)

    @cached_property
    def _fields(self) -> dict[str, tuple[Any, ...]]:
        columns = zip(*map(astuple, self.events), strict=True)
        return dict(zip(self.events[0].__struct_fields__, columns, strict=True))


def _text(stream: bytes | None) -> Id:
    if stream is None:
        raise TooBare
    text = stream.hex()
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
