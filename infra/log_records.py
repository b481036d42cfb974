"""Stored events as records of the log, and back.

A record: under the key that ``schemas/topics.py`` names, the envelope just as it is stored; in its headers, as text,
what else the event store knows of the event.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct, defstruct
from msgspec.json import Decoder

from domain.event import Event, Id
from infra.codec import Row
from infra.event_log import EventLog, LogRecord, Partition, Span, last_records
from infra.telemetry import tracing
from schemas.registry import UPCASTERS, WIRE, UnknownEvent, personal_fields
from schemas.topics import AUTHOR_KEYS, KEYS, TOPICS, Topic, partition_of

POSITION, STREAM, VERSION, WIRE_NAME = "position", "stream", "version", "wire"
"""The names of the headers."""
TRACEPARENT = "traceparent"
"""And of one that only events have whose trace is kept: it is told by the envelope just as well (docs/adr/0012)."""

EVENT_TOPICS: Final = tuple(topic for topic in TOPICS if topic is not AUTHOR_KEYS)
NUMBERS: Final[Mapping[str, Topic]] = {topic.name: topic for topic in TOPICS}
"""Each topic by its name."""


class NotOurs(ValueError):
    """A record that does not say which event it is, or not so that it can be read."""


class Unplaceable(Exception):
    """An event that has no place in the log: this version does not know its kind, or cannot read its key."""


class _Recorded(Struct, frozen=True, gc=False):
    recorded_at: datetime
    correlation_id: str = ""
    command_id: str = ""


def relayed(correlation_id: str, command_id: str) -> tracing.Place | None:
    """Where in its trace the relay sent the event of that command; ``None`` where that is not kept."""
    appended = tracing.place_of(correlation_id, command_id)
    return None if appended is None else appended.after("relay")


class _Kind:
    """How the place of one kind of event is told."""

    __slots__ = ("author", "decode", "key", "topic")

    def __init__(self, kind: type[Event]) -> None:
        self.topic, self.key = KEYS[kind]
        self.author = kind.subject if kind.subject is not None and personal_fields(kind) else None
        names = {name: Id | None for name in (self.key, self.author) if name is not None}
        data = defstruct("Data", list(names.items()), frozen=True, gc=False)
        envelope = defstruct("Envelope", [("data", data), ("meta", _Recorded)], frozen=True, gc=False)
        self.decode: Callable[[bytes], Any] = Decoder(envelope).decode


_KINDS: Final[dict[str, _Kind]] = {wire: _Kind(kind) for wire, kind in WIRE.items()}


class Outgoing(Struct):
    """Records ready to be sent, in order; whose keys it takes to read them; the last position in each partition."""

    records: list[LogRecord]
    authors: set[Id]
    positions: dict[int, int]


def outgoing(rows: Iterable[Row]) -> Outgoing:
    """The records of these stored events. Raises ``Unplaceable``."""
    records: list[LogRecord] = []
    authors: set[Id] = set()
    positions: dict[int, int] = {}
    traced = tracing.enabled()
    for row in rows:
        position, stream_id, version, wire, state = row
        kind = _KINDS.get(wire)
        if kind is None:
            topic, key, author, meta = _of_old(row)
        else:
            try:
                envelope = kind.decode(state)
            except ValueError as error:
                raise Unplaceable(f"event {position} ({wire}) cannot be read: {error}") from error
            data, topic, meta = envelope.data, kind.topic, envelope.meta
            key = stream_id if kind.key is None else getattr(data, kind.key)
            author = None if kind.author is None else getattr(data, kind.author)
        if key is None:
            raise Unplaceable(f"event {position} ({wire}) lacks what it is placed by")
        if author is not None:
            authors.add(author)
        partition = partition_of(key, topic.partitions)
        positions[topic.numbered(partition)] = position
        headers = [
            (POSITION, b"%d" % position),
            (STREAM, stream_id.encode()),
            (VERSION, b"%d" % version),
            (WIRE_NAME, wire.encode()),
        ]
        if traced and (place := relayed(meta.correlation_id, meta.command_id)) is not None:
            headers.append((TRACEPARENT, place.traceparent.encode()))
        timestamp = int(meta.recorded_at.timestamp() * 1000)
        records.append(LogRecord(topic.name, partition, key.encode(), state, headers, timestamp))
    return Outgoing(records, authors, positions)


def key_record(author: Id, wrapped: bytes | None) -> LogRecord:
    """The key of an author, wrapped, or word that it is destroyed."""
    return LogRecord(AUTHOR_KEYS.name, partition_of(author, AUTHOR_KEYS.partitions), author.encode(), wrapped)


def row_of(record: LogRecord) -> Row:
    """The stored event that a record holds. Raises ``NotOurs``."""
    try:
        headers: Mapping[str, bytes] = dict(record.headers)
        if record.value is None:
            raise NotOurs(f"{described(record)} is empty")
        return (
            int(headers[POSITION]),
            Id(headers[STREAM].decode()),
            int(headers[VERSION]),
            headers[WIRE_NAME].decode(),
            record.value,
        )
    except (KeyError, ValueError) as error:
        raise NotOurs(f"{described(record)} does not say which event it is: {error}") from error


def is_foreign(record: LogRecord) -> bool:
    """Whether somebody else sent it: it does not even claim to be an event, by naming its position.

    Whoever reads the topics passes it over. What claims to be one and cannot be read is an error.
    """
    return all(name != POSITION for name, _ in record.headers)


def last_events(log: EventLog, spans: Mapping[Partition, Span]) -> dict[Partition, LogRecord]:
    """The last record of each partition that has one which is not foreign."""
    return last_records(log, spans, lambda record: not is_foreign(record))


def position_of(record: LogRecord) -> int:
    """The position of the event that a record holds. Raises ``NotOurs``."""
    for name, value in record.headers:
        if name == POSITION and value.isdigit():
            return int(value)
    raise NotOurs(f"{described(record)} does not say which event it is")


def described(record: LogRecord) -> str:
    """Where a record is, in words."""
    return f"the record at offset {record.offset} of {record.topic}, partition {record.partition},"


def number_of(record: LogRecord) -> int:
    """The partition of a record as checkpoints call it."""
    return NUMBERS[record.topic].numbered(record.partition)


def names(topics: Sequence[Topic]) -> list[str]:
    """What Kafka calls these topics."""
    return [topic.name for topic in topics]


def _of_old(row: Row) -> tuple[Topic, str | None, Id | None, _Recorded]:
    """The same of an event under a wire name that is no longer written: its newest form tells."""
    position, stream_id, _, wire, state = row
    try:
        stored = msgspec.json.decode(state)
        author = None
        data, name = stored["data"], wire
        while name not in WIRE:
            upcaster = UPCASTERS.get(name)
            if upcaster is None:
                raise UnknownEvent(name)  # noqa: TRY301 - told below like any other reason
            if name == wire and upcaster.subject is not None and upcaster.personal:
                author = data.get(upcaster.subject)
            name, data = upcaster.upcast(data)
        topic, field = KEYS[WIRE[name]]
        key = stream_id if field is None else data.get(field)
        return topic, key, author, msgspec.convert(stored["meta"], _Recorded)
    except Exception as error:  # whatever an upcaster raises
        raise Unplaceable(f"event {position} ({wire}): {type(error).__name__}: {error}") from error
