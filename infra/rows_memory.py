"""The rows of projections in memory: for tests, and for looking at a view as of a past position."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from projections.core import Key, Parked, Projection, Row, StaleCheckpoint


class MemoryViews:
    """Tables, checkpoints and dead letters by the name of the projection. Not for use by several threads.

    ``positions`` are the checkpoints by projection and partition.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Row]] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.parked: dict[str, list[Parked]] = {}

    @contextmanager
    def transaction(self, projection: Projection, partition: int = 0) -> Iterator["MemoryRows"]:
        """Rows of one projection; what was done is kept at the end of the block, or not at all."""
        rows = MemoryRows(self, projection.name, partition)
        yield rows
        rows.commit()


class MemoryRows:
    """``projections.core.Rows`` over dictionaries."""

    def __init__(self, views: MemoryViews, name: str, partition: int) -> None:
        self._views = views
        self._checkpoint = (name, partition)
        self._table = views.tables.setdefault(name, {})
        self._parked = views.parked.setdefault(name, [])
        self._changed: dict[Key, Row | None] = {}
        self._to_park: list[Parked] = []
        self._position: int | None = None

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        table = self._table
        return {key: table[key] for key in keys if key in table}

    def ahead(self, _: Collection[Key]) -> Mapping[Key, int]:
        """None: rows and checkpoint change together."""
        return {}

    def has_parked(self) -> bool:
        """Whether any event of this projection is parked."""
        return bool(self._parked)

    def parked_keys(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that are parked."""
        parked = {event.key for event in self._parked}
        return [key for key in keys if key in parked]

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        """Write the rows; delete those that are ``None``."""
        self._changed.update(changed)

    def park(self, events: Sequence[Parked]) -> None:
        """Put events into the dead letters."""
        self._to_park.extend(events)

    def advance(self, expected: int, to: int) -> None:
        """Move the checkpoint by compare-and-set."""
        if self._views.positions.get(self._checkpoint, 0) != expected:
            name, partition = self._checkpoint
            raise StaleCheckpoint(f"{name} is not at {expected} in partition {partition}")
        self._position = to

    def commit(self) -> None:
        """Keep what was done."""
        for key, row in self._changed.items():
            if row is None:
                self._table.pop(key, None)
            else:
                self._table[key] = row
        self._parked.extend(self._to_park)
        if self._position is not None:
            self._views.positions[self._checkpoint] = self._position
