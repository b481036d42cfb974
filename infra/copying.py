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

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from projections.columns import Columns, Ragged, ids, length, times
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

    ``type_names`` are PostgreSQL's own of the columns (``int8``, not ``bigint``). Raises ``struct.error`` or
    ``OverflowError`` for a number out of range, ``UnicodeEncodeError`` for text that is not Unicode.
    """
    columns = list(zip(*map(astuple, rows), strict=True))
    if all(name in _FIXED and None not in values for name, values in zip(type_names, columns, strict=True)):
        return packed_columns(_arrays(columns, type_names), type_names)
    parts: list[Cells] = []
    group = _Group()
    group.add("h", repeat(len(type_names)))
    for type_name, values in zip(type_names, columns, strict=True):
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


_ARRAYS: Final[dict[str, Callable[[Sequence[Any]], NDArray[Any]]]] = {
    "uuid": ids,
    "int8": lambda values: np.array(values, np.int64),
    "int4": lambda values: np.array(values, np.int32),
    "int2": lambda values: np.array(values, np.int16),
    "bool": lambda values: np.array(values, np.bool_),
    "timestamptz": times,
}
"""How values of a type of fixed length become an array."""


def columns_of(rows: Sequence[Row], type_names: Sequence[str]) -> Columns:
    """Rows, at least one, as columns: of a table whose columns are of fixed length and never null."""
    return _arrays(list(zip(*map(astuple, rows), strict=True)), type_names)


def _arrays(columns: Sequence[Sequence[Any]], type_names: Sequence[str]) -> Columns:
    return [_ARRAYS[name](values) for name, values in zip(type_names, columns, strict=True)]


_STORED: Final = {"uuid": "V16", "int8": ">i8", "int4": ">i4", "int2": ">i2", "bool": "u1", "timestamptz": ">i8"}
"""How PostgreSQL's binary format has a value of such a type."""

_NUMBERED_FROM: Final = np.datetime64(_EPOCH.replace(tzinfo=None), "us")


def packed_columns(columns: Columns, type_names: Sequence[str]) -> bytes:
    """The same for rows that are there as columns."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    ragged: list[tuple[int, Ragged]] = []
    for number, (name, column) in enumerate(zip(type_names, columns, strict=True)):
        fields.append((f"length_{number}", ">i4"))
        if isinstance(column, Ragged):
            ragged.append((number, column))
        else:
            fields.append((f"value_{number}", _STORED[name]))
    fixed = np.empty(length(columns), np.dtype(fields))
    fixed["fields"] = len(type_names)
    for number, (name, column) in enumerate(zip(type_names, columns, strict=True)):
        if isinstance(column, Ragged):
            fixed[f"length_{number}"] = column.lengths
        else:
            fixed[f"length_{number}"] = fixed.dtype[f"value_{number}"].itemsize
            fixed[f"value_{number}"] = _stored(name, column)
    return fixed.tobytes() if not ragged else _with_ragged(fixed, ragged)


def _stored(type_name: str, column: NDArray[Any]) -> NDArray[Any]:
    if type_name == "uuid":
        return np.ascontiguousarray(column, ">u8").view("V16").reshape(-1)
    if type_name == "timestamptz":
        return (column - _NUMBERED_FROM).astype(np.int64)
    low, high = (np.iinfo(_STORED[type_name]).min, np.iinfo(_STORED[type_name]).max)
    if column.dtype != np.bool_ and len(column) and (column.min() < low or column.max() > high):
        raise OverflowError(f"{column.min()} to {column.max()} do not fit into {type_name}")
    return column


def _with_ragged(fixed: NDArray[Any], ragged: Sequence[tuple[int, Ragged]]) -> bytes:
    """The fixed part of each row with its byte strings put in, each after its length."""
    width = fixed.dtype.itemsize
    sizes = width + np.sum([column.lengths for _, column in ragged], axis=0, dtype=np.int64)
    begins = np.cumsum(sizes) - sizes
    packed = np.empty(int(sizes.sum()), np.uint8)
    cells = fixed.view(np.uint8).reshape(len(fixed), width)
    taken, shift = 0, np.zeros(len(fixed), np.int64)
    for number, column in ragged:
        offset = fixed.dtype.fields[f"length_{number}"][1] + 4  # type: ignore[index]  # it has fields
        packed[(begins + shift + taken)[:, None] + np.arange(offset - taken)] = cells[:, taken:offset]
        inside = np.arange(len(column.data)) - np.repeat(np.cumsum(column.lengths) - column.lengths, column.lengths)
        packed[np.repeat(begins + shift + offset, column.lengths) + inside] = column.data
        taken, shift = offset, shift + column.lengths
    packed[(begins + shift + taken)[:, None] + np.arange(width - taken)] = cells[:, taken:]
    return packed.tobytes()
