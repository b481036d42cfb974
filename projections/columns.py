"""Rows and events a column at a time, as arrays: what a bulk load of millions of rows is made of.

An object a row costs a microsecond before anything is done with it; an array costs that a column. So views with a row
or more an event are made of columns in a rebuild, and all others of rows.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
"""UUIDs, two numbers each: of shape (n, 2), the first eight bytes of each and the last eight."""

Numbers = NDArray[np.int64]
"""Whole numbers."""

Flags = NDArray[np.bool_]
"""Truth values."""

Times = NDArray[np.datetime64]
"""Times in UTC, in microseconds."""

NO_ID = "00000000-0000-0000-0000-000000000000"
"""Stands in an array, as zeros, where an event names nobody."""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Ragged(Struct, frozen=True):
    """A column of byte strings: all of them end to end, and how many bytes each has."""

    data: NDArray[np.uint8]
    lengths: NDArray[np.int64]


Column = NDArray[Any] | Ragged
"""Of numbers, of ``Times``, of ``Ids`` or of byte strings. Never with nulls."""

Columns = Sequence[Column]
"""Whole rows: a column for each field of the row, in its order, all of one length."""


def length(columns: Columns) -> int:
    """How many rows the columns make."""
    first = columns[0]
    return len(first.lengths if isinstance(first, Ragged) else first)


def sliced(columns: Columns, start: int, end: int) -> Columns:
    """Some of the rows. Not of columns of byte strings."""
    return [column[start:end] for column in columns if not isinstance(column, Ragged)]


def joined(several: Sequence[Columns]) -> Columns:
    """All rows of several, one after the other. Not of columns of byte strings."""
    return [np.concatenate(parts) for parts in zip(*several, strict=True)]


def ids(texts: Sequence[str]) -> Ids:
    """UUIDs in canonical form as ``Ids``. Raises ``ValueError`` for anything else."""
    packed = bytes.fromhex("".join(texts).replace("-", ""))
    if len(packed) != 16 * len(texts):
        raise ValueError("not a UUID among them")
    return np.frombuffer(packed, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def times(values: Sequence[datetime]) -> Times:
    """Times that know their zone as ``Times``."""
    since = [value - _EPOCH for value in values]
    # To have an array made of the differences themselves takes three times as long.
    microseconds = [(delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds for delta in since]
    return np.array(microseconds, np.int64).view("datetime64[us]")


def occurred(texts: Sequence[str]) -> Times:
    """Times as envelopes have them, RFC 3339 in UTC, as ``Times``. Raises ``ValueError`` for another zone."""
    if any(text[-1:] != "Z" for text in texts):
        raise ValueError("not in UTC")
    return np.array([text[:-1] for text in texts], "datetime64[us]")


def id_texts(values: Ids) -> list[str]:
    """UUIDs in canonical form."""
    return packed_id_texts(values.astype(">u8").tobytes())


def packed_id_texts(packed: bytes) -> list[Any]:
    """UUIDs, 16 bytes each, in canonical form."""
    digits = packed.hex()
    texts = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    return [f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in texts]


def grouped(keys: Ids, numbers: NDArray[np.int64] | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order that brings equal keys together, and where in it each key begins. Which key comes first is not said.

    A key is one id or several side by side. Equal keys stay in the order they had, or get ascending ``numbers``, which
    are at least 0 and below 2**16.
    """
    # Sorting one number is several times faster than sorting many. Keys that become the same number would be mixed:
    # that is seen below, and happens about once in a billion pages.
    mixed = keys[:, 0]
    for column in range(1, keys.shape[1]):
        mixed = (mixed * _ODD) ^ keys[:, column]
    ignored = np.uint64(0)
    if numbers is not None:
        ignored = np.uint64(16)
        mixed = ((mixed >> ignored) << ignored) | numbers.astype(np.uint64)
    order = np.argsort(mixed, kind=None if numbers is not None else "stable")
    begins = _begins(keys[order])
    if len(begins) != np.count_nonzero(np.diff(mixed[order] >> ignored)) + min(1, len(keys)):
        order = np.lexsort((*(() if numbers is None else (numbers,)), *keys.T))
        begins = _begins(keys[order])
    return order, begins


_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def _begins(keys: Ids) -> NDArray[np.intp]:
    changes = (keys[1:] != keys[:-1]).any(axis=1)
    return np.concatenate((np.zeros(min(1, len(keys)), np.intp), np.flatnonzero(changes) + 1))


Combine = Literal["key", "sum", "largest", "last"]
"""What becomes of a field of several parts of one row, in the order in which they came."""


def combined(parts: Columns, how: Sequence[Combine]) -> Columns:
    """Parts of rows as whole rows: one of each key. Keys are ids, everything else numbers."""
    columns = [column for column in parts if not isinstance(column, Ragged)]
    assert len(columns) == len(how)
    keys = np.concatenate([column for column, way in zip(columns, how, strict=True) if way == "key"], axis=1)
    order, begins = grouped(keys)
    if len(begins) == len(order):
        return columns
    ends = np.append(begins[1:], len(order)) - 1
    made: list[NDArray[Any]] = []
    for column, way in zip(columns, how, strict=True):
        if way == "key":
            made.append(column[order[begins]])
        elif way == "last":
            made.append(column[order[ends]])
        else:
            reduce = np.add.reduceat if way == "sum" else np.maximum.reduceat
            made.append(reduce(column[order].astype(np.int64), begins))
    return made
