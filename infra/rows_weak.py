"""Rows in a store without transactions, as Cassandra, an object store or a search engine is: one write, one row.

Between any two writes the worker may die, a write may be applied twice, and late. So every row says of itself how far
in each partition it has come, in its ``marks``: who folds a batch again that was half written leaves out of each row
what it has already. That row at that mark is the same whoever made it, so writes are idempotent and zombies harmless:

- A row of a local view is fed by one partition. Of two writes the one with the later mark stands, whichever comes
  last; stores call that a write timestamp.
- A row that several partitions feed is replaced if it is still the one that was loaded: compare-and-set of a single
  row. A store that has none takes local views only.

What is deleted leaves its marks behind, or a late write would bring it back.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from msgspec import Struct

from projections.core import Key, Parked, Projection, Row, StaleCheckpoint


class Marked(Struct, frozen=True):
    """A row, or ``None`` where it was deleted, with the position up to which it holds the events of each partition."""

    row: Row | None
    marks: Mapping[int, int]


ABSENT = Marked(None, {})
"""In place of a row that was never there."""


class RowStore(Protocol):
    """A store of single rows, by the name of their view. Who has written reads what he wrote, or something newer."""

    def read(self, view: str, keys: Collection[Key]) -> Mapping[Key, Marked]:
        """Those of the rows that are or were there."""
        ...

    def write(self, view: str, key: Key, row: Marked, partition: int) -> None:
        """Have the row stand there, unless one with a mark of that partition as late stands there already."""
        ...

    def replace(self, view: str, key: Key, row: Marked, marks: Mapping[int, int]) -> bool:
        """Have the row stand there if one with those marks does; whether it did."""
        ...

    def checkpoint(self, view: str, partition: int) -> int:
        """The position up to which everything of the partition is in the view; 0 at first."""
        ...

    def reach(self, view: str, partition: int, position: int) -> None:
        """Move the checkpoint there, unless it is further."""
        ...

    def parked(self, view: str, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that have dead letters."""
        ...

    def has_parked(self, view: str) -> bool:
        """Whether the view has any dead letters."""
        ...

    def park(self, view: str, event: Parked) -> None:
        """Keep the dead letter, unless there is one of that key and position."""
        ...


class WeakRows:
    """``projections.core.Rows`` over such a store, for one batch of one partition. Writes when told to ``advance``."""

    def __init__(self, store: RowStore, projection: Projection, partition: int) -> None:
        self._store = store
        self._name = projection.name
        self._local = projection.local
        self._partition = partition
        self._position = store.checkpoint(projection.name, partition)
        self._loaded: dict[Key, Marked] = {}
        self._asked: set[Key] = set()
        self._changed: dict[Key, Row | None] = {}
        self._to_park: list[Parked] = []

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        found = self._store.read(self._name, keys)
        self._loaded.update(found)
        self._asked.update(keys)
        return {key: marked.row for key, marked in found.items() if marked.row is not None}

    def ahead(self, keys: Collection[Key]) -> Mapping[Key, int]:
        """Up to which position those of the rows hold the partition's events that are past the checkpoint."""
        marks = {key: self._loaded.get(key, ABSENT).marks.get(self._partition, 0) for key in keys}
        return {key: mark for key, mark in marks.items() if mark > self._position}

    def has_parked(self) -> bool:
        """Whether any event of this projection is parked."""
        return self._store.has_parked(self._name)

    def parked_keys(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that are parked."""
        return self._store.parked(self._name, keys)

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        """Remember the rows to be written; ``None``: to be deleted."""
        if unknown := changed.keys() - self._asked:
            self.load(unknown)
        self._changed.update(changed)

    def park(self, events: Sequence[Parked]) -> None:
        """Remember what is to go into the dead letters."""
        self._to_park.extend(events)

    def advance(self, expected: int, to: int) -> None:
        """Write the rows, then the dead letters, then the checkpoint.

        Raises ``StaleCheckpoint`` when another worker moved the checkpoint, or wrote one of the rows since they were
        loaded: what was written by then is left out when the batch is folded again.
        """
        if expected != self._position or expected != self._store.checkpoint(self._name, self._partition):
            raise StaleCheckpoint(f"{self._name} is not at {expected} in partition {self._partition}")
        ends = _ends(self._to_park)
        for key, row in self._changed.items():
            self._write(key, row, min(to, ends.get(key, to)))
        # Whoever begins again has a key wait that is parked already. What came before its first dead letter is in the
        # rows by now and must not wait: so the checkpoint is moved to right before each.
        for event in sorted(self._to_park, key=attrgetter("position")):
            self._store.reach(self._name, self._partition, event.position - 1)
            self._store.park(self._name, event)
        self._store.reach(self._name, self._partition, to)

    def _write(self, key: Key, row: Row | None, mark: int) -> None:
        before = self._loaded.get(key, ABSENT)
        if mark <= before.marks.get(self._partition, 0):
            return
        after = Marked(row, {**before.marks, self._partition: mark})
        if self._local:
            self._store.write(self._name, key, after, self._partition)
        elif not self._store.replace(self._name, key, after, before.marks):
            raise StaleCheckpoint(f"another worker wrote a row of {self._name} that this one had loaded")


def _ends(parked: Iterable[Parked]) -> dict[Key, int]:
    """Up to where the rows whose events were parked hold those events: right before the first of them."""
    ends: dict[Key, int] = {}
    for event in parked:
        ends[event.key] = min(ends.get(event.key, event.position), event.position - 1)
    return ends


class MemoryRowStore:
    """Such a store in memory. ``applying`` is called before each single write, ``applied`` after it: to die there."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, Key], Marked] = {}
        self.checkpoints: dict[tuple[str, int], int] = {}
        self.letters: dict[tuple[str, Key, int], Parked] = {}

    def applying(self) -> None:
        """A write begins."""

    def applied(self) -> None:
        """A write is done."""

    def table(self, view: str) -> dict[Key, Row]:
        """The rows of a view as a reader sees them."""
        return {key: found.row for (of, key), found in self.rows.items() if of == view and found.row is not None}

    def read(self, view: str, keys: Collection[Key]) -> Mapping[Key, Marked]:
        """See ``RowStore``."""
        return {key: self.rows[view, key] for key in keys if (view, key) in self.rows}

    def write(self, view: str, key: Key, row: Marked, partition: int) -> None:
        """See ``RowStore``."""
        self.applying()
        if row.marks[partition] > self.rows.get((view, key), ABSENT).marks.get(partition, 0):
            self.rows[view, key] = row
        self.applied()

    def replace(self, view: str, key: Key, row: Marked, marks: Mapping[int, int]) -> bool:
        """See ``RowStore``."""
        self.applying()
        stands = self.rows.get((view, key), ABSENT).marks == marks
        if stands:
            self.rows[view, key] = row
        self.applied()
        return stands

    def checkpoint(self, view: str, partition: int) -> int:
        """See ``RowStore``."""
        return self.checkpoints.get((view, partition), 0)

    def reach(self, view: str, partition: int, position: int) -> None:
        """See ``RowStore``."""
        self.applying()
        self.checkpoints[view, partition] = max(position, self.checkpoint(view, partition))
        self.applied()

    def parked(self, view: str, keys: Collection[Key]) -> Collection[Key]:
        """See ``RowStore``."""
        found = {key for of, key, _ in self.letters if of == view}
        return [key for key in keys if key in found]

    def has_parked(self, view: str) -> bool:
        """See ``RowStore``."""
        return any(of == view for of, _, _ in self.letters)

    def park(self, view: str, event: Parked) -> None:
        """See ``RowStore``."""
        self.applying()
        self.letters.setdefault((view, event.key, event.position), event)
        self.applied()
