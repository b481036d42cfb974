"""What a worker does with what it has read, in a thread of its own: decode, fold and commit, and say so.

Nothing here waits for Kafka, and nothing else of a worker waits for PostgreSQL.
"""

import os
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import psycopg
import structlog
from msgspec import Struct
from psycopg import Connection

from infra.breaker import Breaker
from infra.cassandra.errors import CassandraAway
from infra.cassandra.log import LogStore
from infra.codec import Codec, Row, undecodable
from infra.guarded_pool import PostgresAway, is_away
from infra.keyring import KeysUnavailable, WrongMasterKey
from infra.log_records import NotOurs, position_of, row_of
from infra.postgres import connect
from infra.rows import prepare_for_folding
from infra.telemetry import metrics
from projections.core import Projection, StaleCheckpoint
from schemas.envelope import Recorded
from schemas.registry import WIRE
from streams.announcing import log_parked, to_wake
from streams.partitions import Delivery, PartitionFolder, Start, join_fleet
from streams.runner import Publisher

AWAY = (psycopg.OperationalError, psycopg.InterfaceError, KeysUnavailable, CassandraAway)
"""What says that PostgreSQL, or the message log, does not answer, or not now."""

_log = structlog.get_logger(__name__)


class Record(Protocol):
    """A record as any client of Kafka gives it."""

    topic: str
    partition: int
    offset: int
    value: Any
    headers: Any


class Read(Struct, frozen=True):
    """Records of one partition, all that the topic has from offset ``begin`` up to before ``end``; at least one."""

    partition: int
    begin: int
    end: int
    records: Sequence[Record]


class Folded(Struct, frozen=True):
    """What became of what was read: so many events were new to some view, and ``commits`` transactions took them."""

    events: int
    commits: int


class Folding:
    """Folds into the views of one group. All methods but ``stands`` belong to one thread, which is not the caller's.

    After an exception it may be called again: what was committed is left out then. ``join_fleet`` comes with each
    connection, so it keeps the embedded runner out for as long as it is connected. ``breaker`` is one for all groups of
    a process: while PostgreSQL is away one of them looks whether it is back, and the others raise ``PostgresAway``.
    These keep their connections: where only new ones are refused, theirs are whole.
    """

    def __init__(
        self,
        conninfo: str,
        projections: Sequence[Projection],
        codec: Codec,
        publisher: Publisher | None = None,
        *,
        breaker: Breaker | None = None,
        name: str = "moot worker",
        transaction_seconds_max: float = 10.0,
        message_log: LogStore | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._projections = projections
        self._codec = codec
        self._publisher = publisher
        self._breaker = breaker or Breaker("postgres", refusal=PostgresAway)
        self._name = name
        self._transaction_seconds_max = transaction_seconds_max
        self._folder = PartitionFolder(projections, message_log)
        kinds = {kind for projection in projections for kind in projection.handlers}
        self._others = frozenset(wire for wire, kind in WIRE.items() if kind not in kinds)
        self._connection: Connection[Any] | None = None
        self._opened: Connection[Any] | None = None
        """The same, also while it is being prepared."""
        self._doubted = False
        """Whether the connection may have broken since it was last used."""
        self._looked_for: frozenset[int] = frozenset()

    @property
    def partitions(self) -> list[int]:
        """All partitions that any of the views is folded from."""
        return self._folder.partitions

    @property
    def stale(self) -> frozenset[str]:
        """Views that another version built; they wait to be rebuilt, by this one or that."""
        return self._folder.stale

    def stands(self) -> dict[int, int]:
        """For each partition that was looked for, the position up to which all views have it. For any thread."""
        folder = self._folder
        return {number: min(folder.stands(number).values(), default=0) for number in folder.looked_at}

    def look(self, partitions: Collection[int]) -> dict[int, Start]:
        """Where to read those partitions from; all others are forgotten."""
        with self._asking():
            starts = self._folder.look(self._connected(), partitions)
        if self._publisher is not None and not self._looked_for.issuperset(partitions):
            # Whoever had them may have been killed between a commit and its signals.
            self._publisher.say_lost()
        self._looked_for = frozenset(partitions)
        return starts

    def looks_otherwise(self) -> bool:
        """Whether other views are stale by now than when it was looked."""
        try:
            with self._asking():
                return self._folder.looks_otherwise(self._connected())
        except AWAY:
            return False

    def fold(self, reads: Sequence[Read], events_max: int) -> Folded:
        """Fold what was read, a partition at most once, so many events at a time at most.

        Raises ``StaleCheckpoint``: look again then; one of ``AWAY``: PostgreSQL does not answer; ``WrongMasterKey``.
        """
        try:
            with self._asking():
                return self._fold(reads, events_max)
        except AWAY:
            self._looked_for = frozenset()  # what it was doing may have been committed, and its signals not sent
            raise
        except StaleCheckpoint:
            self._looked_for = frozenset()  # somebody else has it, or a rebuild, which signals nothing
            raise

    def cut(self) -> None:
        """Cut the connection: a call that waits for PostgreSQL raises one of ``AWAY``. For any thread."""
        connection = self._opened
        if connection is not None and not connection.closed:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as cut:
                cut.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self._disconnect()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Around what asks PostgreSQL: after one of ``AWAY`` the connection is given up, unless it was not asked."""
        try:
            with self._breaker.guarding(_is_away):
                yield
        except PostgresAway:
            self._doubted = True
            raise
        except AWAY:
            self._disconnect()
            raise

    def _fold(self, reads: Sequence[Read], events_max: int) -> Folded:
        events = commits = 0
        known = self._known(reads)
        if known:
            self._folder.pass_over(self._connected(), known)
        for deliveries in _in_portions(self._deliveries(reads), events_max):
            to = max(delivery.events[-1].position for delivery in deliveries)
            for done in self._folder.take(self._connected(), deliveries):
                commits += 1
                log_parked(done, [event for delivery in deliveries for event in delivery.events])
                if self._publisher is not None:
                    channels = to_wake(self._connected(), self._folder.projections, done, to)
                    self._publisher.publish(channels, None)
            events += sum(len(delivery.events) for delivery in deliveries)
        return Folded(events, commits)

    def _connected(self) -> Connection[Any]:
        if self._doubted and self._connection is not None:
            # Were each group to fail once after an outage, these failures together would open the breaker anew.
            with suppress(psycopg.OperationalError, psycopg.InterfaceError):
                self._connection.execute("SELECT 1")
        self._doubted = False
        if self._connection is None or self._connection.closed:
            self._opened = connection = connect(self._conninfo)
            try:
                prepare_for_folding(connection, self._name)
                connection.execute(
                    "SELECT set_config('transaction_timeout', %s, false)",
                    (f"{self._transaction_seconds_max * 1000:.0f}ms",),
                )
                join_fleet(connection, self._projections)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _deliveries(self, reads: Iterable[Read]) -> list[Delivery]:
        """What is new to any of the views, decoded, by partition."""
        found: list[tuple[Read, list[Row]]] = []
        for read in reads:
            stands = self._folder.stands(read.partition)
            rows = self._new_rows(read, min(stands.values())) if stands else []
            if rows:
                found.append((read, rows))
        events = iter(self._decoded([row for _, rows in found for row in rows]))
        return [
            Delivery(read.partition, [next(events) for _ in rows], read.records[-1].offset + 1) for read, rows in found
        ]

    def _known(self, reads: Iterable[Read]) -> dict[int, tuple[int, int]]:
        """Of what all views have already: the last position in each partition, and the offset after it."""
        known = {}
        for read in reads:
            stands = self._folder.stands(read.partition)
            with suppress(NotOurs):
                last = position_of(read.records[-1])  # type: ignore[arg-type]  # it has what that asks for
                if stands and last <= min(stands.values()):
                    known[read.partition] = (last, read.end)
        return known

    def _new_rows(self, read: Read, after: int) -> list[Row]:
        """The stored events after that position. Kinds that no view asks for are left out, unless one comes last."""
        rows: list[Row] = []
        others, last = self._others, None
        for record in read.records:
            try:
                row = row_of(record)  # type: ignore[arg-type]  # it has what that asks for
            except NotOurs as error:
                metrics.FOREIGN_RECORDS.inc()
                _log.error("worker.foreign_record", reason=str(error))
                continue
            if row[0] <= after:
                continue
            if row[3] in others:
                last = row
                continue
            last = None
            rows.append(row)
        if last is not None:
            rows.append(last)  # it says how far the partition was read
        return rows

    def _decoded(self, rows: Sequence[Row]) -> list[Recorded]:
        try:
            return self._codec.decode_page(rows)
        except (WrongMasterKey, KeysUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - told apart below, and recorded with the event that is at fault
            if len(rows) > 1:
                return [event for row in rows for event in self._decoded((row,))]
            return [undecodable(rows[0], error)]


def _is_away(error: BaseException) -> bool:
    """Whether PostgreSQL did not answer; that it said no is an answer."""
    return is_away(error) or isinstance(error, KeysUnavailable)


def _in_portions(deliveries: list[Delivery], events_max: int) -> Iterator[list[Delivery]]:
    """The deliveries, or one after the other in parts, if they are too many events together."""
    if sum(len(delivery.events) for delivery in deliveries) <= events_max:
        if deliveries:
            yield deliveries
        return
    for delivery in deliveries:
        for start in range(0, len(delivery.events), events_max):
            part = delivery.events[start : start + events_max]
            # In between it is not known where to read on; the offset before the first does.
            offset = delivery.offset if start + events_max >= len(delivery.events) else None
            yield [Delivery(delivery.partition, part, offset)]
