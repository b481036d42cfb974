"""Is every event of the store in Kafka, exactly once, where it belongs, in order, and byte for byte?

Read once from end to end, in whatever order the partitions come; memory holds a bit for each position.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from msgspec import Struct, field
from psycopg import Connection

from domain.event import Id
from infra.codec import Row
from infra.event_log import EventLog, LogRecord, Partition, Span, settled
from infra.log_records import (
    EVENT_TOPICS,
    NotOurs,
    Unplaceable,
    described,
    last_events,
    names,
    outgoing,
    position_of,
    row_of,
)
from infra.relay_store import STORED
from schemas.topics import AUTHOR_KEYS

LISTED_MAX: Final = 1_000
"""Of each kind of finding; the others are counted."""
COMPARED_EVENTS: Final = 5_000
"""Fetched from the store at a time."""

ERASED_SECONDS_MAX: Final = 60.0
"""How long the relay may take to tell Kafka of a key that was destroyed, before that is a finding."""

_AT: Final = f"{STORED} WHERE notification_id = ANY(%b)"

Progress = Callable[[int, int], None]
"""Told how many records were read, of how many offsets."""


class Found(Struct):
    """What is wrong in one way: how often, and the first of it."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, what: object) -> None:
        """One more."""
        self.count += 1
        if self.count <= LISTED_MAX:
            self.first.append(str(what))


class Audit(Struct):
    """What an audit found. Positions are those of events, authors their ids; all else is said in words.

    ``sent`` is the last position in Kafka, ``behind`` how many events of the store come after it: they are on their way
    as long as a relay runs.
    """

    head: int
    sent: int = 0
    behind: int = 0
    records: int = 0
    authors: int = 0
    missing: Found = field(default_factory=Found)
    repeated: Found = field(default_factory=Found)
    out_of_order: Found = field(default_factory=Found)
    different: Found = field(default_factory=Found)
    misplaced: Found = field(default_factory=Found)
    foreign: Found = field(default_factory=Found)
    keys_missing: Found = field(default_factory=Found)
    keys_different: Found = field(default_factory=Found)
    keys_not_destroyed: Found = field(default_factory=Found)

    @property
    def findings(self) -> Mapping[str, Found]:
        """Those that found anything."""
        all_of_them = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: found for name, found in all_of_them.items() if isinstance(found, Found) and found.count}

    @property
    def perfect(self) -> bool:
        """Whether nothing is wrong; something may still be on its way."""
        return not self.findings


def audit(
    connection: Connection[Any],
    log: EventLog,
    *,
    progress: Progress = lambda done, of: None,
    erased_seconds_max: float = ERASED_SECONDS_MAX,
) -> Audit:
    """Compare what is in the topics now with the store. A relay may be at work. Raises ``LogUnavailable``.

    A key that was destroyed less than ``erased_seconds_max`` ago may still be in Kafka.
    """
    row = connection.execute("SELECT coalesce(max(notification_id), 0) FROM log.stored_events").fetchone()
    auditor = _Auditor(connection, row[0] if row is not None else 0)
    topics = names(EVENT_TOPICS)
    # What a relay sends meanwhile may be in some partitions only: what was there before must be in all of them.
    auditor.result.sent = _sent(log, settled(log, topics))
    ends = settled(log, topics)
    of = sum(end - first for first, end in ends.values())
    for page in log.read(ends):
        for start in range(0, len(page), COMPARED_EVENTS):
            auditor.compare(page[start : start + COMPARED_EVENTS])
            progress(auditor.result.records, of)
    auditor.look_for_missing()
    auditor.compare_keys(read_keys(log), erased_seconds_max)
    return auditor.result


def _sent(log: EventLog, ends: Mapping[Partition, Span]) -> int:
    """The last position in Kafka."""
    positions = [0]
    for record in last_events(log, ends).values():
        with suppress(NotOurs):
            positions.append(position_of(record))
    return max(positions)


class _Auditor:
    """What was seen so far."""

    def __init__(self, connection: Connection[Any], head: int) -> None:
        self._connection = connection
        self._seen = bytearray(head // 8 + 1)
        self._last: dict[Partition, int] = {}
        self._authors: set[Id] = set()
        self.result = Audit(head)

    def compare(self, page: Sequence[LogRecord]) -> None:
        """Take these records."""
        self.result.records += len(page)
        ours: dict[int, list[LogRecord]] = {}
        for record in page:
            try:
                ours.setdefault(position_of(record), []).append(record)
            except NotOurs as error:
                self.result.foreign.add(error)
        rows = self._connection.cursor(binary=True).execute(_AT, (list(ours),), prepare=True).fetchall()
        stored: Mapping[int, Row] = {row[0]: row for row in rows}
        places = self._places(rows)
        for position, records in ours.items():
            for record in records:
                if position in stored:
                    self._compare_one(record, stored[position], places.get(position))
                else:
                    self.result.foreign.add(
                        f"{described(record)} says that it is event {position}, which the store does not have"
                    )

    def _compare_one(self, record: LogRecord, stored: Row, belongs: LogRecord | None) -> None:
        result, position = self.result, stored[0]
        if position <= result.head:
            at, bit = position >> 3, 1 << (position & 7)
            if self._seen[at] & bit:
                result.repeated.add(position)
            self._seen[at] |= bit
        place = record.topic, record.partition
        before = self._last.get(place, 0)
        if position < before:
            result.out_of_order.add(f"{described(record)} is event {position}, after event {before}")
        self._last[place] = max(position, before)
        try:
            same = row_of(record) == stored
        except NotOurs:
            same = False
        if not same:
            result.different.add(position)
        if belongs is not None and (*place, record.key) != (belongs.topic, belongs.partition, belongs.key):
            result.misplaced.add(
                f"{described(record)} is event {position}, whose place is {belongs.topic}, partition"
                f" {belongs.partition}, under {belongs.key.decode()}"
            )

    def _places(self, rows: Sequence[Row]) -> Mapping[int, LogRecord]:
        """Where each event belongs."""
        try:
            batch = outgoing(rows)
        except Unplaceable as error:
            if len(rows) == 1:
                self.result.misplaced.add(error)
                return {}
            return {position: record for row in rows for position, record in self._places((row,)).items()}
        self._authors |= batch.authors
        return {position_of(record): record for record in batch.records}

    def look_for_missing(self) -> None:
        """Once all was compared."""
        result = self.result
        result.behind = max(0, result.head - result.sent)
        for position in range(1, min(result.sent, result.head) + 1):
            if not self._seen[position >> 3] & 1 << (position & 7):
                result.missing.add(position)

    def compare_keys(self, sent: Mapping[Id, bytes | None], erased_seconds_max: float) -> None:
        """Every author of what is in Kafka has his key there as it is in the store, or word that it is destroyed."""
        result = self.result
        result.authors = len(self._authors)
        kept = self._connection.execute(
            "SELECT author_id, wrapped, destroyed_at > now() - %s * interval '1 second' FROM log.author_keys",
            (erased_seconds_max,),
        )
        for author, wrapped, lately in kept:
            if author not in self._authors or lately:
                continue
            if author not in sent:
                result.keys_missing.add(author)
            elif wrapped is None and sent[author] is not None:
                result.keys_not_destroyed.add(author)
            elif wrapped != sent[author]:
                result.keys_different.add(author)


def read_keys(log: EventLog) -> dict[Id, bytes | None]:
    """The newest wrapped key of each author in Kafka; ``None``: it was destroyed."""
    pages = log.read(settled(log, [AUTHOR_KEYS.name]))
    return {Id(record.key.decode()): record.value for record in chain.from_iterable(pages)}
