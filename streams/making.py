"""One view in the making, and which of its rows are in memory."""

import threading
from collections.abc import Sequence

from infra.shadow import Shadow
from projections.core import Key, Row, View, only_folds, touched_keys
from schemas.envelope import Recorded


class Making:
    """One view in the making. Its connection is used by one thread at a time."""

    def __init__(self, shadow: Shadow) -> None:
        self.shadow = shadow
        self.view = shadow.view
        self.rest = View(only_folds(shadow.projection), self.view.rows, self.view.blocked)
        self.rest.parked = self.view.parked
        """The same rows, for the events that are not folded in bulk."""
        self.lock = threading.Lock()
        self.once = "position" in shadow.projection.row.key_fields
        """No two events touch the same row, so a row is done as soon as it is made."""
        self.spilled = False
        self.gone: set[Key] = set()
        """Keys that are not in ``view.rows`` because there is no such row; known only once spilled."""

    def prepare(self, page: Sequence[Recorded]) -> set[Key]:
        """Once spilled: have in memory what the page touches. Gives the keys it touches."""
        touched = touched_keys(self.view.projection, page)
        missing = touched - self.view.rows.keys() - self.gone
        if missing:
            with self.lock:
                self.view.rows.update(self.shadow.load(missing))
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
