"""Histories put into a log: in memory as events, or into PostgreSQL as they are stored."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from domain.event import Id
from infra.codec import Codec, Row
from infra.event_log import EventLog
from infra.log_memory import MemoryLog
from infra.log_records import outgoing
from schemas.envelope import Metadata, Recorded
from streams.topic_plan import apply, plan
from tests.equivalence.histories import Happened

CHUNK_EVENTS = 5_000


def metadata(happened: Happened) -> Metadata:
    """What is true of an event that happened on its own."""
    stream = happened.stream_id
    return Metadata(stream, stream, None, happened.actor_id, happened.occurred_at, happened.occurred_at)


def recorded(history: Iterable[Happened]) -> list[Recorded]:
    """The history as a log would give it."""
    return Recording().go_on(history)


class Recording:
    """The same of a history that goes on."""

    def __init__(self) -> None:
        self._versions: dict[Id, int] = {}
        self.position = 0

    def go_on(self, history: Iterable[Happened]) -> list[Recorded]:
        """What comes next."""
        log = []
        for happened in history:
            self.position += 1
            version = self._versions[happened.stream_id] = self._versions.get(happened.stream_id, 0) + 1
            raw = msgspec.json.encode(metadata(happened))
            log.append(Recorded(self.position, happened.stream_id, version, happened.event, raw))
        return log


class Filler:
    """Puts histories into the log of a database by COPY, far faster than commands could, one after another."""

    def __init__(self, connection: Connection[Any], codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self._versions: dict[Id, int] = {}
        self.position = 0

    def fill(self, history: Iterable[Happened]) -> int:
        """Append all of it; the position of the last event."""
        events = iter(history)
        while chunk := list(islice(events, CHUNK_EVENTS)):
            with (
                self._connection.transaction(),
                self._connection.cursor().copy(
                    "COPY log.stored_events (originator_id, originator_version, topic, state, notification_id)"
                    " FROM STDIN (FORMAT binary)"
                ) as copy,
            ):
                copy.set_types(["uuid", "int8", "text", "bytea", "int8"])
                for row in self._rows(chunk):
                    copy.write_row(row)
        return self.position

    def _rows(self, chunk: Sequence[Happened]) -> Iterator[tuple[Any, ...]]:
        keys = self._codec.keyring.ensure(self._codec.authors(happened.event for happened in chunk))
        for happened in chunk:
            stream = happened.stream_id
            version = self._versions[stream] = self._versions.get(stream, 0) + 1
            topic, state = self._codec.encode(stream, happened.event, self._codec.encode_meta(metadata(happened)), keys)
            self.position += 1
            yield UUID(stream), version, topic, state, self.position


def log_of_topics() -> MemoryLog:
    """The topics of a fleet, in memory and empty."""
    log = MemoryLog()
    make_topics(log)
    return log


def make_topics(log: EventLog) -> None:
    """Make the topics that are not there."""
    apply(log, plan(log.topics(), replicas=1, record_bytes_max=2**20), replicas=1)


def relay_all(log: EventLog, rows: Sequence[Row], *, batch: int = 777) -> None:
    """Write stored events to their topics as the relay does, but at once."""
    writer = log.writer()
    for start in range(0, len(rows), batch):
        writer.write(outgoing(rows[start : start + batch]).records)
    writer.close()
