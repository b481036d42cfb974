"""The log read from end to end as fast as one core can: a page is five values, and each kind one call to decode."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import compress
from operator import attrgetter
from typing import Any

from psycopg import Connection

from domain.event import Event, Id
from infra.codec import Codec, Row
from infra.postgres import connect
from schemas.envelope import Recorded
from schemas.registry import WIRE

_SELECT = r"""
SELECT string_agg(int8send(notification_id), ''), string_agg(originator_id::text, ''),
       string_agg(int8send(originator_version), ''), string_agg(topic, E'\n'), string_agg(state, '\x0a')
FROM (
    SELECT notification_id, originator_id, originator_version, topic, state FROM log.stored_events
    WHERE notification_id > %s AND notification_id <= %s AND topic <> ALL (%s)
    ORDER BY notification_id LIMIT %s
) page
"""
"""A page in five values, each a column of it: an aggregate takes the rows of a sorted subquery in their order
(https://www.postgresql.org/docs/18/functions-aggregate.html). Envelopes are JSON without line breaks."""

_ID_CHARACTERS = 36

_data, _meta = attrgetter("data"), attrgetter("meta")


class BulkLog:
    """Pages of the kinds of events that are wanted, and of those that no version of this code knows.

    While the caller works on a page, the database has the next one ready. Close it.
    """

    def __init__(self, conninfo: str, codec: Codec, wanted: Iterable[type[Event]], *, page_events: int) -> None:
        kinds = set(wanted)
        self._codec = codec
        self._page_events = page_events
        self._unwanted = [wire for wire, kind in WIRE.items() if kind not in kinds]
        self._connection: Connection[Any] = connect(conninfo)
        self._reader = ThreadPoolExecutor(1, "bulk-log-reader")

    def close(self) -> None:
        """Let go of thread and connection."""
        self._reader.shutdown(cancel_futures=True)
        self._connection.close()

    def pages(self, after: int, to: int) -> Iterator[list[Recorded]]:
        """The events after one position up to another, in order, a page at a time."""
        following: Future[_Page] | None = self._reader.submit(self._page, after, to)
        while following is not None:
            page = following.result()
            full = len(page.positions) == self._page_events
            following = self._reader.submit(self._page, page.positions[-1], to) if full else None
            if page.positions:
                yield page.decoded(self._codec)

    def _page(self, after: int, to: int) -> "_Page":
        cursor = self._connection.cursor(binary=True)
        found = cursor.execute(_SELECT, (after, to, self._unwanted, self._page_events), prepare=True).fetchone()
        if found is None or found[0] is None:
            return _Page((), "", (), (), ())
        positions, streams, versions, topics, states = found
        return _Page(_integers(positions), streams, _integers(versions), topics.split("\n"), states.split(b"\n"))


def _integers(packed: bytes) -> "array[int]":
    numbers = array("q", packed)
    numbers.byteswap()
    return numbers


class _Page:
    def __init__(
        self,
        positions: Sequence[int],
        streams: str,
        versions: Sequence[int],
        topics: Sequence[str],
        states: Sequence[bytes],
    ) -> None:
        self.positions = positions
        self.streams: list[Id] = [Id(streams[i : i + _ID_CHARACTERS]) for i in range(0, len(streams), _ID_CHARACTERS)]
        self.versions = versions
        self.topics = topics
        self.states = states
        if len(states) != len(positions) or len(self.streams) != len(positions):
            raise ValueError(f"an envelope between positions {positions[0]} and {positions[-1]} has a line break in it")

    def decoded(self, codec: Codec) -> list[Recorded]:
        """The events of the page, in order."""
        kinds = set(self.topics)
        if len(kinds) == 1:
            return self._alike(codec, kinds.pop(), None)
        found: list[tuple[int, Recorded]] = []
        for kind in kinds:
            mask = [topic == kind for topic in self.topics]
            found.extend((recorded.position, recorded) for recorded in self._alike(codec, kind, mask))
        found.sort()
        return [recorded for _, recorded in found]

    def _alike(self, codec: Codec, topic: str, mask: Sequence[bool] | None) -> list[Recorded]:
        """The events of one kind, in order: those that the mask points out."""
        columns: list[Sequence[Any]] = [self.positions, self.streams, self.versions, self.states]
        if mask is not None:
            columns = [list(compress(column, mask)) for column in columns]
        positions, streams, versions, states = columns
        decode = codec.bulk_decoder(topic)
        if decode is not None:
            try:
                stored = decode(b"\n".join(states))
            except ValueError:
                pass  # One of them cannot be decoded; below it is told which.
            else:
                return list(map(Recorded, positions, streams, versions, map(_data, stored), map(_meta, stored)))
        rows: list[Row] = [
            (position, stream, version, topic, state)
            for position, stream, version, state in zip(positions, streams, versions, states, strict=True)
        ]
        return codec.decode_page(rows)
