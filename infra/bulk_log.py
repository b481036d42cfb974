"""The log read from end to end as fast as one core can: each kind of a page is decoded in one call."""

import struct
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple
from psycopg import Connection
from psycopg.sql import SQL, Composed, Literal

from domain.event import Event, Id
from infra.codec import Codec, OccurredOnly, Row, WithoutActors, decode_occurred
from infra.postgres import connect, fetch_aside, prepare
from projections.columns import NO_ID, Flags, Ids, Numbers, Times, ids, occurred, packed_id_texts
from schemas.envelope import Recorded, Undecodable
from schemas.registry import WIRE

_PAGE = SQL(
    r"""
SELECT topic, string_agg(int8send(notification_id), ''), string_agg(state, '\x0a'),
    string_agg(uuid_send(originator_id), '') FILTER (WHERE topic NOT IN ({bare})),
    string_agg(int8send(originator_version), '') FILTER (WHERE topic NOT IN ({bare}))
FROM (
    SELECT notification_id, topic, state, originator_id, originator_version FROM log.stored_events
    WHERE notification_id > $1 AND notification_id <= $2 AND topic NOT IN ({unwanted}) ORDER BY notification_id
) page
GROUP BY topic, notification_id >> 8
"""
)
"""A page but for some kinds, and streams and versions but for the bare ones.

The core of the database, which has little else to do then, takes work from ours by putting events together. Hashed
groups take rows in the order they come in; envelopes are JSON without line breaks. Values of at most 256 events are
made in memory that PostgreSQL has; one of a whole page, for which the system gives it new memory, takes twice as long.
"""

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
        self._connection.execute("SET enable_sort = off; SET work_mem = '64MB'")
        self._statements: dict[Collection[type[Event]], bytes] = {}
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
            # A kind was bare when the page was asked for and is not any more, or one of it cannot be decoded. The
            # reader has the connection, so it is for the reader to read it again.
            page = LogPage(self._reader.submit(self._read, after, until, frozenset()).result(), self._codec, ())
        yield page

    def _submit(self, after: int, until: int) -> "Future[list[KindColumns]]":
        return self._reader.submit(self._read, after, until, frozenset(self.bare))

    def _read(self, after: int, until: int, bare: "frozenset[type[Event]]") -> "list[KindColumns]":
        statement = self._statements.get(bare)
        if statement is None:
            # A kind with personal fields cannot be decrypted without its stream.
            decodable = [wire for wire in WIRE if self._codec.data_decoder(wire) is not None]
            names = _names([wire for wire in decodable if WIRE[wire] in bare])
            page = _PAGE.format(bare=names, unwanted=_names(self._unwanted))
            statement = self._statements[bare] = prepare(self._connection, page)
        rows = fetch_aside(self._connection, statement, [_INTEGER.pack(after), _INTEGER.pack(until)])
        return list(_put_together(rows))


_INTEGER = struct.Struct(">q")


def _names(wires: Sequence[str]) -> Composed:
    # Written into the statement, the names are hashed once; as a parameter they would be compared one by one.
    return SQL(", ").join(map(Literal, wires or [""]))


def _put_together(runs: Iterable[tuple[Any, ...]]) -> "Iterator[KindColumns]":
    """The columns of each kind, of which several runs are given in any order."""
    by_topic: dict[bytes, list[Sequence[Any]]] = {}
    for topic, *run in runs:
        by_topic.setdefault(topic, []).append(run)
    for topic, of_topic in by_topic.items():
        # Positions are packed big-endian and above zero: as bytes they sort as numbers do.
        positions, states, streams, versions = zip(*sorted(of_topic, key=itemgetter(0)), strict=True)
        at = _integers(positions)
        if list(at) != sorted(at):
            raise RuntimeError("a page of the log came in another order than that of the log")
        yield KindColumns(
            topic.decode(),
            at,
            b"\n".join(states),
            None if None in streams else packed_id_texts(b"".join(streams)),
            None if None in versions else _integers(versions),
        )


def _integers(packed: Sequence[bytes]) -> "array[int]":
    numbers = array("q", b"".join(packed))
    numbers.byteswap()
    return numbers


class TooBare(Exception):
    """Streams or versions of events are needed that were not read."""


class KindColumns(Struct, frozen=True):
    """The events of one wire name in a page: their positions, ascending, their envelopes, one a line, and where they
    were asked for, streams and versions."""

    topic: str
    positions: Sequence[int]
    lines: bytes
    streams: Sequence[Id] | None
    versions: Sequence[int] | None


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
        if bare and (decode_data := codec.data_decoder(columns.topic)) is not None:
            try:
                bare_stored = decode_data(lines)
            except ValueError:
                pass  # One of them cannot be decoded; below it is told which.
            else:
                events = list(map(_data, bare_stored))
                self.alike[type(events[0])] = _Events(positions, events, lambda: bare_stored)
                return
        streams, versions = columns.streams, columns.versions
        if streams is None or versions is None:
            raise TooBare
        try:
            stored = codec.decode_lines(columns.topic, streams, lines)
        except ValueError:
            pass  # As above.
        else:
            events = list(map(_data, stored))
            recorded = list(map(Recorded, positions, streams, versions, events, map(_meta, stored)))
            self._keep(events[0], recorded, _Events(positions, events, partial(decode_occurred, lines)))
            return
        rows: list[Row] = [
            (at, stream, version, columns.topic, state)
            for at, stream, version, state in zip(positions, streams, versions, lines.split(b"\n"), strict=True)
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
