"""One view in the making, and which of its rows are in memory."""

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future

from infra.shadow import Shadow
from projections.core import Key, Row, View, only_folds, touched_keys
from schemas.envelope import Recorded
from streams.parts import Parts

PARTS_A_ROW = 8
"""So many parts of rows take the memory of one row: a part is a number in each of some arrays, a row is an object."""


class Making:
    """One view in the making. Its connection is used by one thread at a time."""

    def __init__(self, shadow: Shadow, page_events: int) -> None:
        projection = shadow.projection
        self.shadow = shadow
        self.view = shadow.view
        self.lock = threading.RLock()
        self.once = "position" in projection.row.key_fields
        """No two events touch the same row, so a row is done as soon as it is made."""
        self.in_columns = projection.make_columns is not None and page_events % projection.page_events == 0
        """Its rows come as columns, page by page, and are never in memory."""
        self.parts = Parts(projection.row, projection.parts) if projection.parts is not None else None
        """What its rows are summed up from at the end, beside those in ``view``."""
        self.writing: list[Future[None]] = []
        """Copies that were begun; the end must wait for all of them."""
        self.spilled = False
        self.gone: set[Key] = set()
        """Keys that are not in ``view.rows`` because there is no such row; known only once spilled."""
        slow = projection.make_columns is not None and not self.in_columns
        self._rest = View(projection if slow else only_folds(projection), self.view.rows, self.view.blocked)
        self._rest.parked = self.view.parked

    @property
    def rest(self) -> View:
        """The same rows for the events that are folded one after another, where others are folded in bulk."""
        return self.view if self.spilled and self.parts is None else self._rest

    @property
    def weight(self) -> int:
        """The memory that it takes, in rows."""
        return len(self.view.rows) + (len(self.parts) // PARTS_A_ROW if self.parts is not None else 0)

    def prepare(self, view: View, page: Sequence[Recorded]) -> set[Key]:
        """Once spilled: have in memory what the page touches. Gives the keys it touches."""
        touched = touched_keys(view.projection, page)
        self._load(touched)
        return touched

    def folded(self, touched: set[Key]) -> None:
        """Once spilled: remember which rows are gone."""
        self.gone -= touched
        self.gone |= touched - self.view.rows.keys()

    def take_done(self, position: int) -> list[Row]:
        """The rows in memory that no event after the position can touch, which are not there any more."""
        if self.once:
            return self.take()
        done = self.view.projection.done
        if done is None:
            return []
        rows = [row for row in self.view.rows.values() if done(row, position)]
        if len(rows) == len(self.view.rows):
            return self.take()
        for row in rows:
            del self.view.rows[row.key]
        return rows

    def take(self) -> list[Row]:
        """The rows in memory, which are not there any more."""
        rows = list(self.view.rows.values())
        self.view.rows.clear()
        return rows

    def write(self, copy_rows: int) -> None:
        """Write out everything that is in memory, at most so many rows at a time. Needs the lock."""
        if self.spilled:
            self._replace(copy_rows)
            if self.parts is not None:
                for columns in self.parts.take(copy_rows):
                    changed = self.parts.rows(columns)
                    self._load(changed.keys())
                    self.parts.merge(self.view.rows, changed)
                    self.folded(set(changed))
                    self._replace(copy_rows)
        elif self.parts is not None and len(self.parts):
            self.parts.add(self.shadow.columns(self.take()), first=True)
            for columns in self.parts.take(copy_rows):
                self.shadow.copy_columns(self.parts.existing(columns))
        else:
            rows = self.take()
            for start in range(0, len(rows), copy_rows):
                self.shadow.copy(rows[start : start + copy_rows])

    def _load(self, keys: Collection[Key]) -> None:
        missing = set(keys) - self.view.rows.keys() - self.gone
        if missing:
            with self.lock:
                self.view.rows.update(self.shadow.load(missing))

    def _replace(self, copy_rows: int) -> None:
        rows, gone = self.take(), list(self.gone)
        self.gone.clear()
        for start in range(0, len(rows), copy_rows):
            self.shadow.replace(rows[start : start + copy_rows], ())
        self.shadow.replace((), gone)
