"""The log read from end to end as fast as one core can: each kind of a page is decoded in one call."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any

from msgspec import Struct
from psycopg import Connection
from psycopg.sql import SQL, Composed, Literal

from domain.event import Event, Id
from infra.codec import Codec, Row, decode_occurred
from infra.postgres import connect
from schemas.envelope import Recorded, Undecodable
from schemas.registry import WIRE

_SELECT = SQL(
    """
SELECT notification_id, topic, state, {stream}, {version} FROM log.stored_events
WHERE notification_id > %s AND notification_id <= %s{wanted} ORDER BY notification_id
"""
)
"""A page. Streams and versions are read only where somebody may ask for them: they cost as much as all the rest."""

_data, _meta, _event = attrgetter("data"), attrgetter("meta"), attrgetter("event")


_GROUPED = SQL(
    r"""
SELECT topic, string_agg(int8send(notification_id), ''), string_agg(state, '\x0a')
FROM (
    SELECT notification_id, topic, state FROM log.stored_events
    WHERE notification_id > %s AND notification_id <= %s{wanted} ORDER BY notification_id
) page
GROUP BY topic
"""
)
"""A page, each kind in two values: where all kinds are bare, so that the core of the database, which has little else
to do then, takes that work from ours. Hashed groups take rows in the order they come in; envelopes are JSON without
line breaks."""


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
        following: tuple[int, int, Future[list[_Columns]]] | None = None
        while after < to or following is not None:
            until = min(to, ((after + 1) // self._page_events + 1) * self._page_events - 1)
            current = following
            following = (after, until, self._submit(after, until)) if after < to else None
            after = until
            if current is not None:
                yield from self._page(*current)

    def _page(self, after: int, until: int, reading: "Future[list[_Columns]]") -> Iterator["LogPage"]:
        columns = reading.result()
        if not columns:
            return
        try:
            page = LogPage(columns, self._codec, self.bare)
        except _TooBare:
            # A kind was bare when the page was asked for and is not any more, or cannot be decoded without its stream.
            page = LogPage(self._read(after, until, bare=()), self._codec, ())
        yield page

    def _submit(self, after: int, until: int) -> "Future[list[_Columns]]":
        bare = [wire for wire, kind in WIRE.items() if kind in self.bare]
        return self._reader.submit(self._read, after, until, bare=bare)

    def _read(self, after: int, until: int, *, bare: Sequence[str]) -> "list[_Columns]":
        cursor = self._connection.cursor(binary=True)
        if len(bare) == len(self._wanted):
            rows = cursor.execute(_GROUPED.format(wanted=_but(self._unwanted)), (after, until), prepare=True).fetchall()
            return [_Columns(topic, _integers(at), None, lines) for topic, at, lines in rows]
        rows = cursor.execute(_select(self._unwanted, bare), (after, until), prepare=True).fetchall()
        by_topic: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            found = by_topic.get(row[1])
            if found is None:
                by_topic[row[1]] = [row]
            else:
                found.append(row)
        return [_Columns(topic, [row[0] for row in found], found, None) for topic, found in by_topic.items()]


def _but(unwanted: Sequence[str]) -> Composed:
    # Written into the statement, the names are hashed once; as a parameter they would be compared one by one.
    return SQL(" AND topic NOT IN ({})").format(SQL(", ").join(map(Literal, unwanted or [""])))


def _integers(packed: bytes) -> "array[int]":
    numbers = array("q", packed)
    numbers.byteswap()
    if list(numbers) != sorted(numbers):
        raise RuntimeError("a page of the log came in another order than that of the log")
    return numbers


def _select(unwanted: Sequence[str], bare: Sequence[str]) -> Composed:
    spared = SQL("CASE WHEN topic NOT IN ({}) THEN ").format(SQL(", ").join(map(Literal, bare))) if bare else SQL("")
    end = SQL(" END" if bare else "")
    stream, version = (spared + SQL(column) + end for column in ("uuid_send(originator_id)", "originator_version"))
    return _SELECT.format(wanted=_but(unwanted), stream=stream, version=version)


class _TooBare(Exception):
    """Streams or versions of events are needed that were not read."""


class _Columns(Struct, frozen=True):
    """The events of one wire name in a page: their positions, ascending, and the rows or all states as lines."""

    topic: str
    positions: Sequence[int]
    rows: Sequence[tuple[Any, ...]] | None
    lines: bytes | None


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
            self._decode(codec, columns, WIRE.get(columns.topic) in bare)

    def recorded(self, kinds: Collection[type[Event]]) -> list[Recorded]:
        """The events of these kinds, in order; all events if the page is not regular. None of the kinds is bare."""
        found = [events for kind, events in self._recorded.items() if kind in kinds or not self.regular]
        if len(found) == 1:
            return found[0]
        return sorted(chain.from_iterable(found), key=attrgetter("position"))

    def _decode(self, codec: Codec, columns: _Columns, bare: bool) -> None:
        positions, lines = columns.positions, columns.lines
        if lines is None:
            lines = b"\n".join([row[2] for row in columns.rows or ()])
        if bare and (decode_data := codec.data_decoder(columns.topic)) is not None:
            try:
                events = list(map(_data, decode_data(lines)))
            except ValueError:
                pass  # One of them cannot be decoded; below it is told which.
            else:
                self.alike[type(events[0])] = _Events(positions, events, lines)
                return
        if columns.rows is None:
            raise _TooBare
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
                self._keep(events[0], recorded, _Events(positions, events, lines))
                return
        rows: list[Row] = [
            (at, stream, version, columns.topic, row[2])
            for at, stream, version, row in zip(positions, streams, versions, columns.rows, strict=True)
        ]
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


def _text(stream: bytes | None) -> Id:
    if stream is None:
        raise _TooBare
    text = stream.hex()
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
