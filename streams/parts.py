"""Rows in the making as parts of rows, in columns: what millions of events sum up to, without an object for each."""

from collections.abc import Callable, Iterator, Mapping
from operator import add
from typing import Any, Final

from msgspec.structs import astuple

from projections.bulk import PartsOfRows
from projections.columns import Columns, Combine, Ragged, combined, id_texts, joined, length, sliced
from projections.core import Key, Row

_SUMMED_UP_MIN: Final = 500_000
"""Fewer parts are not worth it: some 20 MB."""


class Parts:
    """The parts of the rows of one view. ``len`` is how many there are."""

    def __init__(self, row: type[Row], declared: PartsOfRows) -> None:
        self._row = row
        self._how = declared.how
        self._gone_at_zero = declared.gone_at_zero
        self._pages: list[Columns] = []
        self._count = 0
        self._whole = 0

    def __len__(self) -> int:
        return self._count

    def add(self, columns: Columns | None, *, first: bool = False) -> None:
        """Add parts, after or (``first``) before those that are there."""
        if columns is None or not length(columns):
            return
        self._pages.insert(0 if first else len(self._pages), columns)
        self._count += length(columns)
        # At twice as many as the last time, each part is summed up a few times at most.
        if self._count > 2 * max(self._whole, _SUMMED_UP_MIN):
            self._sum_up()

    def take(self, rows_max: int) -> Iterator[Columns]:
        """All parts, summed up to one a row, at most so many at a time. They are not here any more."""
        self._sum_up()
        pages, self._pages, self._count, self._whole = self._pages, [], 0, 0
        for columns in pages:
            for start in range(0, length(columns), rows_max):
                yield sliced(columns, start, start + rows_max)

    def existing(self, columns: Columns) -> Columns:
        """Without the rows that are gone, where these are all the parts that there are."""
        if not self._gone_at_zero:
            return columns
        value = columns[self._row.__struct_fields__.index(self._gone_at_zero)]
        assert not isinstance(value, Ragged)
        return [column[value != 0] for column in columns if not isinstance(column, Ragged)]

    def rows(self, columns: Columns) -> dict[Key, Row]:
        """What ``take`` gave, as rows by key."""
        values = [
            id_texts(column) if way == "key" else column.tolist()
            for column, way in zip(columns, self._how, strict=True)
            if not isinstance(column, Ragged)
        ]
        return {row.key: row for row in map(self._row, *values)}

    def merge(self, rows: dict[Key, Row], parts: Mapping[Key, Row]) -> None:
        """Add parts to rows, one a key."""
        for key, part in parts.items():
            before = rows.get(key)
            row = part if before is None else self._row(*map(_merged, self._how, astuple(before), astuple(part)))
            if self._gone_at_zero and not getattr(row, self._gone_at_zero):
                rows.pop(key, None)
            else:
                rows[key] = row

    def _sum_up(self) -> None:
        if self._pages:
            whole = combined(joined(self._pages), self._how)
            self._pages, self._count, self._whole = [whole], length(whole), length(whole)


_MERGED: Final[dict[Combine, Callable[[Any, Any], Any]]] = {
    "key": lambda _, part: part,
    "last": lambda _, part: part,
    "sum": add,
    "largest": max,
}


def _merged(way: Combine, before: Any, part: Any) -> Any:
    return _MERGED[way](before, part)
