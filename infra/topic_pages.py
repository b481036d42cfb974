"""The log read from its topics as fast as one core can: all partitions at once, put together into pages of the log.

Partitions keep their own order, and a transaction of the relay ends at a position up to which there is no gap in any of
them. So a page of the log is whole when each partition has been read beyond its end, and pages come in the order of the
log, as from the event store.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from domain.event import Event, Id
from infra.bulk_log import KindColumns, LogPage, TooBare
from infra.codec import Codec
from infra.event_log import EventLog, LogRecord, Partition, settled
from infra.log_records import (
    EVENT_TOPICS,
    POSITION,
    NotOurs,
    described,
    is_foreign,
    last_events,
    names,
    position_of,
    row_of,
)
from schemas.registry import WIRE
from schemas.topics import KEYS

PAGES_AHEAD: Final = 4
"""So many pages a partition may be read ahead of the one that all wait for: 64,000 events or some 50 MB in all."""

_Event = tuple[int, str, bytes, bytes, int]
"""Position, wire name, envelope, stream and version."""


class TopicPages:
    """The same as ``infra.bulk_log.BulkLog``, from topics. ``head`` is where the log ended at the start, ``last`` has
    the last event of each partition of events, also of those that are not read. Records that no relay has sent are
    passed over; ``foreign`` is how many ``pages`` came upon.

    Raises ``LogUnavailable`` and ``TopicsMissing``, and ``NotOurs`` for a record that claims to be an event and cannot
    be read.
    """

    def __init__(self, log: EventLog, codec: Codec, wanted: Iterable[type[Event]], *, page_events: int) -> None:
        kinds = set(wanted)
        self._log = log
        self._codec = codec
        self._page_events = page_events
        self.bare: Collection[type[Event]] = ()
        self._unwanted = frozenset(wire for wire, kind in WIRE.items() if kind not in kinds)
        # What a relay sends meanwhile may be in some partitions only: what was there before must be in all of them.
        ended = last_events(log, settled(log, names(EVENT_TOPICS)))
        self.head = max(map(position_of, ended.values()), default=0)
        every = settled(log, names(EVENT_TOPICS))
        self.last = last_events(log, every)
        topics = {KEYS[kind][0].name for kind in kinds}
        self._last = {place: position_of(record) for place, record in self.last.items() if place[0] in topics}
        self._spans = {place: every[place] for place in self._last}
        self._seen: dict[Partition, int] = {}
        self._whole_to = 0
        self.foreign = 0

    def close(self) -> None:
        """Nothing is held: the log belongs to who opened it."""

    def pages(self, after: int, to: int) -> Iterator[LogPage]:
        """The events after one position up to another, in order, a page at a time."""
        pages: defaultdict[int, list[_Event]] = defaultdict(list)
        self._seen = dict.fromkeys(self._spans, 0)
        self._whole_to = self.foreign = 0
        page_events, unwanted = self._page_events, self._unwanted
        for records in self._log.read(self._spans, self._ahead):
            for record in records:
                event = _event(record)
                if event is None:
                    self.foreign += 1
                    continue
                self._seen[record.topic, record.partition] = position = event[0]
                if after < position <= to and event[1] not in unwanted:
                    pages[position // page_events].append(event)
            unread = [seen for place, seen in self._seen.items() if seen < self._last[place]]
            self._whole_to = min(unread, default=to)
            yield from self._emitted(pages, self._whole_to)
        yield from self._emitted(pages, to + page_events)

    def _ahead(self) -> Collection[Partition]:
        """Partitions that need not be read further now."""
        limit = self._whole_to + PAGES_AHEAD * self._page_events
        return [place for place, seen in self._seen.items() if seen > limit]

    def _emitted(self, pages: dict[int, list[_Event]], whole_to: int) -> Iterator[LogPage]:
        for number in sorted(number for number in pages if (number + 1) * self._page_events - 1 <= whole_to):
            events = pages.pop(number)
            events.sort()
            by_wire: dict[str, list[_Event]] = {}
            for event in events:
                found = by_wire.get(event[1])
                if found is None:
                    by_wire[event[1]] = [event]
                else:
                    found.append(event)
            try:
                page = self._page(by_wire, self.bare)
            except TooBare:
                page = self._page(by_wire, ())
            yield page

    def _page(self, by_wire: dict[str, list[_Event]], bare: Collection[type[Event]]) -> LogPage:
        columns = []
        for wire, events in by_wire.items():
            positions, _, states, streams, versions = zip(*events, strict=True)
            lines = b"\n".join(states)
            if WIRE.get(wire) in bare:
                columns.append(KindColumns(wire, positions, lines, None, None))
            else:
                columns.append(KindColumns(wire, positions, lines, list(map(_id, streams)), versions))
        return LogPage(columns, self._codec, bare)


def _event(record: LogRecord) -> _Event | None:
    """``None`` for a foreign record."""
    headers = record.headers
    if len(headers) >= 4 and headers[0][0] == POSITION and record.value is not None:
        # As the relay writes them, in its order.
        try:
            return int(headers[0][1]), headers[3][1].decode(), record.value, headers[1][1], int(headers[2][1])
        except ValueError as error:
            raise NotOurs(f"{described(record)} does not say which event it is: {error}") from error
    if is_foreign(record):
        return None
    position, stream, version, wire, state = row_of(record)
    return position, wire, state, stream.encode(), version


def _id(stream: bytes) -> Id:
    return Id(stream.decode())
