"""Rows as the bytes of PostgreSQL's binary COPY, made a column at a time.

The format: https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY. Each cell is its length
in four bytes and its value as the type's ``send`` function writes it; neighbouring columns of fixed length are packed
by one call into C a row, where a cell at a time would cost several Python calls each.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from struct import Struct
from typing import Any, Final

from msgspec.structs import astuple

from projections.core import Row

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LENGTH: Final = Struct(">i").pack
_NO_UUID: Final = "00000000-0000-0000-0000-000000000000"
_UUID: Final = Struct("16s")

Cells = Iterable[bytes]


def _uuids(values: Sequence[str]) -> Iterable[bytes]:
    # One call turns the whole column into bytes.
    return chain.from_iterable(_UUID.iter_unpack(bytes.fromhex("".join(values).replace("-", ""))))


def _times(values: Sequence[datetime]) -> Iterable[int]:
    since = [value - _EPOCH for value in values]
    return [(delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds for delta in since]


def _same(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _texts(values: Sequence[str]) -> Cells:
    return _byte_strings([value.encode() for value in values])


def _byte_strings(values: Sequence[bytes]) -> Cells:
    return [_LENGTH(len(value)) + value for value in values]


_FIXED: Final[dict[str, tuple[str, int, Callable[[Sequence[Any]], Iterable[Any]], Any]]] = {
    "uuid": ("16s", 16, _uuids, _NO_UUID),
    "int8": ("q", 8, _same, 0),
    "int4": ("i", 4, _same, 0),
    "int2": ("h", 2, _same, 0),
    "bool": ("?", 1, _same, False),
    "timestamptz": ("q", 8, _times, _EPOCH),
}
"""Types whose values all have one length: the value's format and length, how to make it, a stand-in for a null."""

_VARIABLE: Final[dict[str, tuple[Callable[[Sequence[Any]], Cells], Any]]] = {
    "text": (_texts, ""),
    "bytea": (_byte_strings, b""),
}
"""How a column of each other type is written, and what stands in for a null meanwhile."""


class _Group:
    """Columns side by side that are never null and of fixed length: one call packs their cells of a row."""

    def __init__(self) -> None:
        self._format = ">"
        self._values: list[Iterable[Any]] = []

    def add(self, format_: str, *values: Iterable[Any]) -> None:
        self._format += format_
        self._values += values

    def cells(self) -> Cells:
        return map(Struct(self._format).pack, *self._values)

    def __bool__(self) -> bool:
        return bool(self._values)


def _nullable_cells(type_name: str, values: Sequence[Any]) -> Cells:
    if type_name in _FIXED:
        format_, length, make, stand_in = _FIXED[type_name]
        made = make([stand_in if value is None else value for value in values])
        cells: Cells = map(Struct(f">i{format_}").pack, repeat(length), made)
    else:
        pack, stand_in = _VARIABLE[type_name]
        cells = pack([stand_in if value is None else value for value in values])
    return [_NULL if value is None else cell for value, cell in zip(values, cells, strict=True)]


def packed(rows: Sequence[Row], type_names: Sequence[str]) -> bytes:
    """The rows, at least one, as a part of a binary COPY between ``HEADER`` and ``TRAILER``.

    ``type_names`` are PostgreSQL's own of the columns (``int8``, not ``bigint``). Raises ``struct.error`` for a
    number out of range, ``UnicodeEncodeError`` for text that is not Unicode.
    """
    parts: list[Cells] = []
    group = _Group()
    group.add("h", repeat(len(type_names)))
    for type_name, values in zip(type_names, zip(*map(astuple, rows), strict=True), strict=True):
        nulls = None in values
        if type_name in _FIXED and not nulls:
            format_, length, make, _ = _FIXED[type_name]
            group.add(f"i{format_}", repeat(length), make(values))
            continue
        if group:
            parts.append(group.cells())
            group = _Group()
        parts.append(_nullable_cells(type_name, values) if nulls else _VARIABLE[type_name][0](values))
    if group:
        parts.append(group.cells())
    return b"".join(parts[0] if len(parts) == 1 else chain.from_iterable(zip(*parts, strict=False)))
