"""The recorders of the ``eventsourcing`` library, made to append for many commands at once.

Both check the version of every stream where the events are recorded: in PostgreSQL under the recorder's own table
lock, inside the one statement that appends, so that a conflict costs nothing and a gap in a stream or in the
positions cannot arise. The library's own methods keep working on the same table.
"""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import psycopg_pool
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from msgspec import Struct
from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format
from psycopg.rows import tuple_row

from domain.event import Id
from infra import postgres
from infra.bounded import bounded
from infra.breaker import Breaker
from infra.codec import Row
from infra.guarded_pool import is_away
from infra.store_limits import LIMITS, StoreLimits

CHANNEL = "stored_events"
"""The PostgreSQL channel that is notified, once a transaction, when events were recorded."""

# The library silences the pool, and with it the only place that says why the server cannot be reached.
logging.getLogger("psycopg.pool").setLevel(logging.WARNING)


class Entry(Struct, frozen=True, gc=False):
    """What one command appends to one stream, encoded: wire names and envelopes, after the expected version.

    No ``records``: it only guards the stream.
    """

    stream_id: Id
    expected_version: int
    records: tuple[tuple[str, bytes], ...]


Batch = Sequence[Sequence[Entry]]
"""The entries of each of several commands. No stream is named again in a batch after somebody appended to it."""
Outcome = int | tuple[Id, ...]
"""Of one command: the position of its last event, or the streams that were not at the expected version."""


class NotSent(OperationalError):
    """There was no connection to be had, or a breaker is open: nothing was asked and nothing happened."""


class Recorder(Protocol):
    """What the event store asks of a recorder. All methods may be called from any thread.

    They raise the library's ``OperationalError`` or ``InterfaceError`` when the database is away.
    """

    blocking: bool
    """Whether calls wait for I/O, so that an event loop must not make them itself."""

    def append(self, batch: Batch) -> list[Outcome]:
        """Record each command wholly or not at all, durably, all in one transaction."""
        ...

    def recorded(self, entries: Sequence[Entry]) -> int | None:
        """The position of the last of these very events if they are in the log, else ``None``."""
        ...

    def streams(self, stream_ids: Sequence[Id]) -> list[Row]:
        """All events of these streams, by stream and version."""
        ...

    def page(self, after: int, limit: int) -> list[Row]:
        """At most ``limit`` events after that position, in order."""
        ...

    def head(self) -> int:
        """The position of the newest event, or 0."""
        ...

    def refresh(self) -> None:
        """Replace connections that may not work any more."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class MemoryRecorder(POPOApplicationRecorder):
    """The library's recorder in plain Python objects, for unit tests."""

    blocking = False

    def append(self, batch: Batch) -> list[Outcome]:
        """Record each command wholly or not at all."""
        with self._database_lock:
            outcomes = [self._append(entries) for entries in batch]
        self._notify_listeners()
        return outcomes

    def _append(self, entries: Sequence[Entry]) -> Outcome:
        index = self._stored_events_index
        stale = tuple(entry.stream_id for entry in entries if len(index[entry.stream_id]) != entry.expected_version)
        if stale:
            return stale
        events = [
            StoredEvent(entry.stream_id, entry.expected_version + number, topic, state)
            for entry in entries
            for number, (topic, state) in enumerate(entry.records, 1)
        ]
        self._update_table(events)
        return len(self._stored_events)

    def recorded(self, entries: Sequence[Entry]) -> int | None:
        """The position of the last of these very events if they are in the log, else ``None``."""
        stream_id, version, state = _last(entries)
        with self._database_lock:
            at = self._stored_events_index[stream_id].get(version)
            return at + 1 if at is not None and self._stored_events[at].state == state else None

    def streams(self, stream_ids: Sequence[Id]) -> list[Row]:
        """All events of these streams, by stream and version."""
        with self._database_lock:
            return [
                _row(at + 1, self._stored_events[at])
                for stream_id in stream_ids
                for at in self._stored_events_index[stream_id].values()
            ]

    def page(self, after: int, limit: int) -> list[Row]:
        """At most ``limit`` events after that position, in order."""
        with self._database_lock:
            return [_row(at, event) for at, event in enumerate(self._stored_events[after : after + limit], after + 1)]

    def head(self) -> int:
        """The position of the newest event, or 0."""
        return len(self._stored_events)

    def refresh(self) -> None:
        """Nothing ever breaks here."""

    def close(self) -> None:
        """Nothing is held."""


def _row(position: int, event: StoredEvent) -> Row:
    return position, Id(str(event.originator_id)), event.originator_version, event.topic, event.state


def _last(entries: Sequence[Entry]) -> tuple[Id, int, bytes]:
    entry = next(entry for entry in reversed(entries) if entry.records)
    return entry.stream_id, entry.expected_version + len(entry.records), entry.records[-1][1]


class Datastore(PostgresDatastore):
    """The library's pool of connections, from a conninfo; connections give ``uuid`` as ``str``."""

    def __init__(self, conninfo: str, limits: StoreLimits = LIMITS) -> None:
        parts: dict[str, Any] = conninfo_to_dict(conninfo)
        named = [str(parts.pop(name, "") or "") for name in ("dbname", "host", "port", "user", "password")]
        super().__init__(
            *named,
            schema="log",
            connect_timeout=limits.connect_seconds_max,
            lock_timeout=limits.lock_seconds_max,
            pool_size=1,
            max_overflow=limits.connections_max - 1,
        )
        kwargs = cast("dict[str, Any]", self.pool.kwargs)
        kwargs |= {**postgres.TCP_SILENCE, **parts, "context": postgres.CONTEXT}
        # A pool that gives up soon starts afresh with the next caller, and is back as soon as the server is.
        self.pool.reconnect_timeout = limits.connect_seconds_max
        kwargs["connect_timeout"] = max(2, int(limits.connect_seconds_max))
        # An append may wait for the lock so long, and then takes its time.
        self.pool.connection_class = bounded(limits.lock_seconds_max + limits.answer_seconds_max)

    def after_connect_func(self) -> Callable[[Connection[Any]], None]:
        """Sets up each new connection."""
        library = super().after_connect_func()
        lock_seconds_max = self.lock_timeout

        def after_connect(connection: Connection[Any]) -> None:
            library(connection)
            connection.adapters.register_dumper(_Array, _ArrayDumper)
            connection.execute(f"SET lock_timeout = '{int(lock_seconds_max)}s'")
            # What is checked under the lock must be seen as it is then, whatever the server's default is.
            connection.execute("SET default_transaction_isolation = 'read committed'")

        return after_connect

    def register_type_adapters(self) -> None:
        """The library's composite types are not used, so there is nothing to ask the server for."""

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection in autocommit. Raises psycopg's errors as they are."""
        self.pool.open()
        with self.pool.connection() as connection:
            yield connection


class PostgresRecorder(PostgresApplicationRecorder):
    """The library's recorder on ``log.stored_events``, whose positions are counted under the lock of the table.

    A sequence would leave a gap for every append that fails. The table comes from the numbered migrations.
    """

    blocking = True

    def __init__(self, datastore: Datastore, breaker: Breaker | None = None) -> None:
        super().__init__(datastore, events_table_name="stored_events")
        self._breaker = breaker or Breaker("event store", refusal=NotSent)
        self.channel_name = CHANNEL

    def create_table(self) -> None:
        """Refuses: the table is made by the migrations under ``schemas/sql/migrations``."""
        raise NotImplementedError("log.stored_events is made by the migrations")

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """The library's way to append: all of it, in this order, or ``IntegrityError``.

        Not tried again by itself, as the library does: after a lost answer that would call a success a conflict.
        """
        reached: dict[Id, int] = {}
        streams, events = _Columns(), _Columns()
        for event in stored_events:
            stream_id, version = Id(str(event.originator_id)), event.originator_version
            if stream_id not in reached:
                streams.add(stream_id, version - 1, 0)
            elif reached[stream_id] != version - 1:
                raise IntegrityError(f"versions of stream {stream_id} do not follow each other")
            reached[stream_id] = version
            events.add(stream_id, version, event.topic, event.state, 0)
        if not reached:
            return []
        head, refused = self._append(streams, events)
        if refused:
            raise IntegrityError(f"streams moved on: {', '.join(refused[0])}")
        return range(head + 1, head + len(stored_events) + 1)

    def append(self, batch: Batch) -> list[Outcome]:
        """Record each command wholly or not at all, durably, all in one transaction and one round trip."""
        streams, events = _Columns(), _Columns()
        for number, entries in enumerate(batch):
            for entry in entries:
                streams.add(entry.stream_id, entry.expected_version, number)
                for version, (topic, state) in enumerate(entry.records, entry.expected_version + 1):
                    events.add(entry.stream_id, version, topic, state, number)
        position, refused = self._append(streams, events)
        outcomes: list[Outcome] = []
        for number, entries in enumerate(batch):
            if number in refused:
                outcomes.append(refused[number])
            else:
                position += sum(len(entry.records) for entry in entries)
                outcomes.append(position)
        return outcomes

    def _append(self, streams: "_Columns", events: "_Columns") -> tuple[int, dict[int, tuple[Id, ...]]]:
        """The position before, and the streams at fault by the number of the command that was refused for them."""
        wanted, expected, by = streams.columns(3)
        ids, versions, topics, states, commands = events.columns(5)
        (found,) = self._fetch(
            "SELECT head, refused_commands, refused_streams FROM log.append_events(%b, %b, %b, %b, %b, %b, %b, %b)",
            (
                _uuids(wanted), _bigints(expected), _bigints(by),
                _uuids(ids), _bigints(versions), _texts(topics), _byteas(states), _bigints(commands),
            ),
        )  # fmt: skip
        head, refused_commands, refused_streams = found
        refused: dict[int, tuple[Id, ...]] = {}
        for number, stream_id in zip(refused_commands or (), refused_streams or (), strict=True):
            refused[number] = (*refused.get(number, ()), stream_id)
        return head, refused

    def recorded(self, entries: Sequence[Entry]) -> int | None:
        """The position of the last of these very events if they are in the log, else ``None``.

        Envelopes carry command ids and times, so equal bytes are the same event.
        """
        found = self._fetch(
            "SELECT notification_id FROM log.stored_events"
            " WHERE originator_id = %s AND originator_version = %s AND state = %b",
            _last(entries),
        )
        return int(found[0][0]) if found else None

    def streams(self, stream_ids: Sequence[Id]) -> list[Row]:
        """All events of these streams, by stream and version, in one query."""
        return self._fetch(
            "SELECT notification_id, originator_id::text, originator_version, topic, state FROM log.stored_events"
            " WHERE originator_id = ANY(%b) ORDER BY originator_id, originator_version",
            (_uuids(stream_ids),),
        )

    def page(self, after: int, limit: int) -> list[Row]:
        """At most ``limit`` events after that position, in order."""
        return self._fetch(
            "SELECT notification_id, originator_id::text, originator_version, topic, state FROM log.stored_events"
            " WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
            (after, limit),
        )

    def head(self) -> int:
        """The position of the newest event, or 0."""
        return int(self._fetch("SELECT coalesce(max(notification_id), 0) FROM log.stored_events", ())[0][0])

    def refresh(self) -> None:
        """Replace the pool's connections. To ask each whether it works would be a wait for each that does not."""
        self.datastore.pool.drain()

    def close(self) -> None:
        """Close all connections."""
        self.datastore.close()

    def _fetch(self, statement: str, params: Sequence[object]) -> list[Any]:
        try:
            with self._breaker.guarding(_is_away), self.datastore.get_connection() as connection:
                cursor = connection.cursor(binary=True, row_factory=tuple_row)
                return cursor.execute(statement, params, prepare=True).fetchall()
        except OperationalError as error:
            if isinstance(error.__cause__, psycopg_pool.PoolTimeout):
                raise NotSent(str(error)) from error
            raise


def _is_away(error: BaseException) -> bool:
    return error.__cause__ is not None and is_away(error.__cause__)


class _Columns:
    """Rows gathered one by one, given as columns."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, *values: object) -> None:
        self._rows.append(values)

    def columns(self, width: int) -> Sequence[Sequence[Any]]:
        return list(zip(*self._rows, strict=True)) or [()] * width


class _Array:
    """An array already in PostgreSQL's binary format; to make it here is many times faster than in the driver.

    The format is that of ``array_recv``: number of dimensions, flag of nulls, type of elements; length and lower
    bound of the one dimension; then each element after its length, all big-endian.
    """

    __slots__ = ("data",)

    def __init__(self, element_oid: int, count: int, elements: bytes) -> None:
        shape = _INTEGERS_5.pack(1, 0, element_oid, count, 1) if count else _INTEGERS_3.pack(0, 0, element_oid)
        self.data = shape + elements


class _ArrayDumper(Dumper):
    """Sends an ``_Array`` as it is; its type follows from where it is used."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return cast("bytes", obj.data)


_INTEGERS_5 = struct.Struct(">iiIii")
_INTEGERS_3 = struct.Struct(">iiI")
_length = struct.Struct(">i").pack


def _uuids(ids: Sequence[Id]) -> _Array:
    return _Array(2950, len(ids), bytes.fromhex("".join(["00000010" + text.replace("-", "") for text in ids])))


def _bigints(numbers: Sequence[int]) -> _Array:
    return _Array(20, len(numbers), b"".join([b"\0\0\0\x08" + number.to_bytes(8, "big") for number in numbers]))


def _texts(texts: Sequence[str]) -> _Array:
    return _byteas([text.encode() for text in texts], 25)


def _byteas(values: Sequence[bytes], oid: int = 17) -> _Array:
    return _Array(oid, len(values), b"".join([_length(len(value)) + value for value in values]))
