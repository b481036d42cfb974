"""Partitions of the log as one worker of a fleet folds them into a group of views, wherever each of these stands.

A worker asks where to read from, reads on from there, and hands over what comes, as often as it comes. What the views
have already is left out by its position. Another worker that took a partition over, or a view that was exchanged, shows
as a ``StaleCheckpoint``: nothing was folded then, and the worker asks again where to read from.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from infra.cassandra.log import LogStore, table_of
from infra.partitions import PartitionsFailure, PartitionsMissing, enter_fleet
from infra.rows import Checkpoint, keep_offsets, read_partitions
from projections.core import Projection, StaleCheckpoint
from projections.stepping import Stepped
from schemas.envelope import Recorded
from schemas.topics import partitions_of
from streams.batches import Batch, fold_batches
from streams.runner import LOCK

JOIN_SECONDS_MAX = 5.0
"""How long a worker waits for the embedded runner to end: one that was stopped just now lets go in moments."""


class EmbeddedRunnerActive(PartitionsFailure):
    """The views are kept up to date from the embedded log, by a process that must end first."""

    def __init__(self) -> None:
        super().__init__("a process keeps these views up to date from the embedded log: end it first (moot stop)")


class Delivery(Struct, frozen=True):
    """Events of one partition that came together, in order, at least one. ``offset`` in the topic is after them."""

    partition: int
    events: Sequence[Recorded]
    offset: int | None = None


class Start(Struct, frozen=True):
    """Where to read a partition from: an offset in its topic, or ``None``, the beginning.

    All views that are folded from it have what is up to ``position``.
    """

    offset: int | None
    position: int


def join_fleet(
    connection: Connection[Any], projections: Sequence[Projection], *, seconds: float = JOIN_SECONDS_MAX
) -> None:
    """Keep the embedded runner out for as long as the connection lasts, and have the views stand in partitions.

    Waits so long for it to end. Raises ``EmbeddedRunnerActive`` and other ``PartitionsFailure``.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{max(seconds * 1000, 1):.0f}ms",))
            connection.execute("SELECT pg_advisory_lock_shared(%s)", (LOCK,))
    except LockNotAvailable as error:
        raise EmbeddedRunnerActive from error
    enter_fleet(connection, projections)


class PartitionFolder:
    """Folds into these views. It remembers where each of them stands in each partition it was asked about.

    ``stale`` are the views that another version built: they are left alone until they are rebuilt.
    """

    def __init__(self, projections: Iterable[Projection], message_log: LogStore | None = None) -> None:
        self.projections = {projection.name: projection for projection in projections}
        self.stale: frozenset[str] = frozenset()
        self._tables = {name: table_of(projection, message_log) for name, projection in self.projections.items()}
        self._reads = {name: set(partitions_of(each.handlers)) for name, each in self.projections.items()}
        self._stands: dict[int, dict[str, int]] = {}
        self._read_on: set[int] = set()
        """Partitions whose checkpoints say from which offset to read on; what was read came after that."""

    @property
    def partitions(self) -> list[int]:
        """All partitions that any of the views is folded from."""
        return sorted(set().union(*self._reads.values()))

    def looks_otherwise(self, connection: Connection[Any]) -> bool:
        """Whether to look again: other views are stale by now, or a partition is to be read from its beginning."""
        stale, anew = set[str](), False
        every = self._checkpoints(connection, self._stands)
        for partition, stands in self._stands.items():
            checkpoints = every[partition]
            stale |= self._stale(checkpoints)
            if all(checkpoints[name].offset is not None for name in stands):
                self._read_on.add(partition)
            else:
                anew |= partition in self._read_on
        return anew or stale != self.stale

    def look(self, connection: Connection[Any], partitions: Collection[int]) -> dict[int, Start]:
        """Learn where the views stand in those partitions, and say where to read each from. Forgets all others.

        Read on from there: what lies between a view and what is handed over next would be missing in it for ever.
        Raises ``PartitionsMissing`` when the views do not stand in partitions: ``join_fleet`` comes first.
        """
        starts, stale = {}, set[str]()
        self._stands, self._read_on = {}, set()
        for partition, mine in self._checkpoints(connection, partitions).items():
            stale |= self._stale(mine)
            kept = {name: at for name, at in mine.items() if name not in stale}
            self._stands[partition] = {name: at.position for name, at in kept.items()}
            offsets = [at.offset for at in kept.values()]
            if None not in offsets:
                self._read_on.add(partition)
            starts[partition] = Start(
                min((offset for offset in offsets if offset is not None), default=None)
                if None not in offsets
                else None,
                min(self._stands[partition].values(), default=0),
            )
        self.stale = frozenset(stale)
        return starts

    def _checkpoints(self, connection: Connection[Any], partitions: Iterable[int]) -> dict[int, dict[str, Checkpoint]]:
        """In each of the partitions those of the views that are folded from it. Raises ``PartitionsMissing``."""
        wanted = {number: [name for name, reads in self._reads.items() if number in reads] for number in partitions}
        found = read_partitions(connection, wanted)
        for number, names in wanted.items():
            for name in names:
                if (name, number) not in found:
                    raise PartitionsMissing(name, [number])
        return {number: {name: found[name, number] for name in names} for number, names in wanted.items()}

    def _stale(self, checkpoints: Mapping[str, Checkpoint]) -> set[str]:
        """Those of the views that another version built."""
        return {name for name, at in checkpoints.items() if at.version != self.projections[name].version}

    @property
    def looked_at(self) -> Collection[int]:
        """The partitions that ``look`` was asked about last."""
        return tuple(self._stands)

    def stands(self, partition: int) -> Mapping[str, int]:
        """Where each view stands in the partition, as far as this worker knows."""
        return self._stands.get(partition, {})

    def take(self, connection: Connection[Any], deliveries: Sequence[Delivery]) -> Iterator[dict[str, Stepped]]:
        """Fold what came of some partitions, one delivery each; after each commit, give what was done in it.

        Views that stand together are folded together, local ones apart from those for which workers wait for each
        other. Raises ``StaleCheckpoint`` when a view is not where it was: call ``look`` then, and read from there.
        """
        by_partition = {delivery.partition: delivery for delivery in deliveries}
        if len(by_partition) < len(deliveries) or not by_partition.keys() <= self._stands.keys():
            raise StaleCheckpoint("a partition was delivered that is not this worker's, or one came twice")
        for stands, together in self._groups(by_partition):
            batches = [
                _batch(by_partition[partition], position, read_on=partition in self._read_on)
                for partition, position in stands
            ]
            done = fold_batches(connection, self._tables, together, batches)
            for batch in batches:
                self._stands[batch.partition].update({projection.name: batch.to for projection in together})
            yield done

    def pass_over(self, connection: Connection[Any], known: Mapping[int, tuple[int, int]]) -> None:
        """Keep where to read on after what all views have: for each partition the last event, and the offset after it.

        Else a partition whose checkpoints have no offset is read from its beginning until an event comes that is new.
        """
        kept = [name for name in self.projections if name not in self.stale]
        keep_offsets(connection, kept, known, self._read_on)

    def _groups(self, partitions: Iterable[int]) -> list[tuple[tuple[tuple[int, int], ...], list[Projection]]]:
        """Partition and position wherever they stand, and the views that stand there; local ones first."""
        groups: dict[tuple[bool, tuple[tuple[int, int], ...]], list[Projection]] = {}
        for name, projection in self.projections.items():
            mine = [partition for partition in partitions if name in self._stands[partition]]
            stands = tuple((partition, self._stands[partition][name]) for partition in mine)
            if stands:
                groups.setdefault((not projection.local, stands), []).append(projection)
        return [(stands, together) for (_, stands), together in sorted(groups.items(), key=lambda group: group[0])]


def _batch(delivery: Delivery, position: int, *, read_on: bool) -> Batch:
    to = max(position, delivery.events[-1].position)
    return Batch(delivery.events, position, to, delivery.partition, delivery.offset, read_on)
