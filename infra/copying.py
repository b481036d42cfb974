"""Rows as the bytes of PostgreSQL's binary COPY, made a column at a time.

The format: https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY. Each cell is its length
in four bytes and its value as the type's ``send`` function writes it; a whole column of cells costs a few calls
into C, where a cell at a time would cost several Python calls each.
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
_EPOCH_MICROSECONDS: Final = round(_EPOCH.timestamp() * 1e6)
_INT8: Final = Struct(">iq").pack
_INT4: Final = Struct(">ii").pack
_INT2: Final = Struct(">ih").pack
_LENGTH: Final = Struct(">i").pack
_BOOLEAN: Final = {False: b"\0\0\0\1\0", True: b"\0\0\0\1\1"}
_NO_UUID: Final = "00000000-0000-0000-0000-000000000000"
_UUID_CELL: Final = Struct("20s")

Cells = Iterable[bytes]


def _uuids(values: Sequence[str]) -> Cells:
    # The hexadecimal of the length stands before each id, so that one call turns the whole column into cells.
    joined = ("00000010" + "00000010".join(values)).replace("-", "")
    return chain.from_iterable(_UUID_CELL.iter_unpack(bytes.fromhex(joined)))


def _times(values: Sequence[datetime]) -> Cells:
    # A float of seconds since 1970 is off by less than half a microsecond until the year 2106.
    return [_INT8(8, round(value.timestamp() * 1e6) - _EPOCH_MICROSECONDS) for value in values]


def _texts(values: Sequence[str]) -> Cells:
    return _byte_strings([value.encode() for value in values])


def _byte_strings(values: Sequence[bytes]) -> Cells:
    return [_LENGTH(len(value)) + value for value in values]


_PACK: Final[dict[str, tuple[Callable[[Sequence[Any]], Cells], Any]]] = {
    "uuid": (_uuids, _NO_UUID),
    "int8": (lambda values: map(_INT8, repeat(8), values), 0),
    "int4": (lambda values: map(_INT4, repeat(4), values), 0),
    "int2": (lambda values: map(_INT2, repeat(2), values), 0),
    "bool": (lambda values: map(_BOOLEAN.__getitem__, values), False),
    "text": (_texts, ""),
    "bytea": (_byte_strings, b""),
    "timestamptz": (_times, _EPOCH),
}
"""How a column of each type is written, and what stands in for a null meanwhile."""


def _cells(type_name: str, values: Sequence[Any]) -> Cells:
    pack, stand_in = _PACK[type_name]
    if None not in values:
        return pack(values)
    packed = pack([stand_in if value is None else value for value in values])
    return [_NULL if value is None else cell for value, cell in zip(values, packed, strict=True)]


def packed(rows: Sequence[Row], type_names: Sequence[str]) -> bytes:
    """The rows, at least one, as a part of a binary COPY between ``HEADER`` and ``TRAILER``.

    ``type_names`` are PostgreSQL's own of the columns (``int8``, not ``bigint``). Raises ``struct.error`` for a
    number out of range, ``UnicodeEncodeError`` for text that is not Unicode.
    """
    columns = zip(*map(astuple, rows), strict=True)
    cells = [_cells(name, values) for name, values in zip(type_names, columns, strict=True)]
    start = repeat(len(type_names).to_bytes(2, "big"))
    return b"".join(chain.from_iterable(zip(start, *cells, strict=False)))
