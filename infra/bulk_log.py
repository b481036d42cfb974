"""The log read from end to end as fast as one core can: of a page, each kind is five values and one call to decode."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

from msgspec import Struct
from psycopg import Connection
from psycopg.errors import ProgramLimitExceeded
from psycopg.sql import SQL, Composed, Literal

from domain.event import Event, Id
from infra.codec import Codec, Row, decode_occurred
from infra.postgres import connect
from schemas.envelope import Recorded, Undecodable
from schemas.registry import WIRE

_SELECT = SQL(
    r"""
SELECT topic, string_agg(int8send(notification_id), ''), string_agg(uuid_send(originator_id), ''),
       string_agg(int8send(originator_version), ''), string_agg(state, '\x0a')
FROM (
    SELECT notification_id, originator_id, originator_version, topic, state FROM log.stored_events
    WHERE notification_id > %s AND notification_id <= %s{wanted} ORDER BY notification_id
) page
GROUP BY topic
"""
)
"""A page, kind by kind, each column of a kind in one value: hashed groups take rows in the order they come in.
Envelopes are JSON without line breaks."""

_ID_BYTES = 16

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
        self._select = _select([wire for wire, kind in WIRE.items() if kind not in kinds])
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
        following: Future[list[list[_Columns]]] | None = None
        while after < to or following is not None:
            until = min(to, ((after + 1) // self._page_events + 1) * self._page_events - 1)
            pages = following
            following = self._reader.submit(self._read, after, until) if after < to else None
            after = until
            for columns in pages.result() if pages is not None else ():
                yield LogPage(columns, self._codec, self.bare)

    def _read(self, after: int, to: int) -> "list[list[_Columns]]":
        cursor = self._connection.cursor(binary=True)
        try:
            found = cursor.execute(self._select, (after, to), prepare=True).fetchall()
        except ProgramLimitExceeded:
            # No value of PostgreSQL is larger than 1 GB.
            if to - after == 1:
                raise
            middle = (after + to) // 2
            return [*self._read(after, middle), *self._read(middle, to)]
        return [[_Columns(topic, _integers(at), *rest) for topic, at, *rest in found]] if found else []


def _select(unwanted: Sequence[str]) -> Composed:
    # Written into the statement, the names are hashed once; as a parameter they would be compared one by one.
    names = SQL(", ").join(map(Literal, unwanted))
    return _SELECT.format(wanted=SQL(" AND topic NOT IN ({})").format(names) if unwanted else SQL(""))


def _integers(packed: bytes) -> "array[int]":
    numbers = array("q", packed)
    numbers.byteswap()
    return numbers


class _Columns(Struct, frozen=True):
    """The events of one wire name in a page: positions ascend, ids are bytes, versions packed, states are lines."""

    topic: str
    positions: Sequence[int]
    streams: bytes
    versions: bytes
    states: bytes


class LogPage:
    """A page of the log, taken apart by kinds. ``last`` is the position of its last event.

    ``alike`` are its events by kind, if the page is ``regular``: each can be decoded, and each kind has one wire name.
    """

    def __init__(self, kinds: Sequence[_Columns], codec: Codec, bare: Collection[type[Event]]) -> None:
        self.last = max(columns.positions[-1] for columns in kinds)
        self.regular = True
        self.alike: dict[type[Event], _Events] = {}
        self._recorded: dict[type[Event], list[Recorded]] = {}
        for columns in kinds:
            if list(columns.positions) != sorted(columns.positions):
                raise RuntimeError(f"{columns.topic} came in another order than that of the log")
            self._decode(codec, columns, WIRE.get(columns.topic) in bare)

    def recorded(self, kinds: Collection[type[Event]]) -> list[Recorded]:
        """The events of these kinds, in order; all events if the page is not regular. None of the kinds is bare."""
        found = [events for kind, events in self._recorded.items() if kind in kinds or not self.regular]
        if len(found) == 1:
            return found[0]
        return sorted(chain.from_iterable(found), key=attrgetter("position"))

    def _decode(self, codec: Codec, columns: _Columns, bare: bool) -> None:
        positions, lines = columns.positions, columns.states
        if bare and (decode_data := codec.data_decoder(columns.topic)) is not None:
            try:
                events = list(map(_data, decode_data(lines)))
            except ValueError:
                pass  # One of them cannot be decoded; below it is told which.
            else:
                self.alike[type(events[0])] = _Events(positions, events, lines)
                return
        streams = [_text(columns.streams, index) for index in range(len(positions))]
        versions = _integers(columns.versions)
        if (decode := codec.bulk_decoder(columns.topic)) is not None:
            try:
                stored = decode(lines)
            except ValueError:
                pass  # As above.
            else:
                events = list(map(_data, stored))
                recorded = list(map(Recorded, positions, streams, versions, events, map(_meta, stored)))
                self._keep(events[0], recorded, _Events(positions, events, lines))
                return
        rows: list[Row] = list(
            zip(positions, streams, versions, repeat(columns.topic), lines.split(b"\n"), strict=False)
        )
        if len(rows) != len(positions) or lines.count(b"\n") >= len(rows):
            raise ValueError(f"an envelope of {columns.topic} after position {positions[0] - 1} has a line break in it")
        decoded = codec.decode_page(rows)
        events = list(map(_event, decoded))
        kinds = set(map(type, events))
        self.regular &= kinds.isdisjoint(self._recorded) and len(kinds) == 1 and Undecodable not in kinds
        self._keep(events[0], decoded, _Events(positions, events, lines))

    def _keep(self, first: Event, recorded: list[Recorded], alike: "_Events") -> None:
        self._recorded.setdefault(type(first), []).extend(recorded)
        self.alike[type(first)] = alike


class _Events:
    """``projections.core.Alike`` of a page: times are decoded when they are asked for."""

    def __init__(self, positions: Sequence[int], events: Sequence[Any], lines: bytes) -> None:
        self.positions = positions
        self.events = events
        self._lines = lines

    @cached_property
    def occurred_at(self) -> list[datetime]:
        """When each happened."""
        return [envelope.meta.occurred_at for envelope in decode_occurred(self._lines)]


def _text(streams: bytes, index: int) -> Id:
    text = streams[index * _ID_BYTES : (index + 1) * _ID_BYTES].hex()
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
