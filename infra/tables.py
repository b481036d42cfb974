"""The table of a projection, told from its row class: columns, statements, and rows as arrays of columns.

A set of rows travels to PostgreSQL as one array literal a column, which both sides handle several times faster
than single values. The literals are built here by hand because every value is of one of six plain types
(https://www.postgresql.org/docs/18/arrays.html#ARRAYS-IO).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec.structs import astuple

from domain.event import Id
from projections.core import Key, Projection, Row

SCHEMA: Final = "views"

_NEEDS_QUOTES = re.compile(r'[{}",\\\s]|^$|^null$', re.IGNORECASE)


def _text(value: str) -> str:
    if _NEEDS_QUOTES.search(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value


def _bytes(value: bytes) -> str:
    return '"\\\\x' + value.hex() + '"'


_LITERAL: Final[dict[str, Callable[[Any], str] | None]] = {
    "uuid": None,
    "text": _text,
    "bigint": str,
    "boolean": str,
    "timestamptz": datetime.isoformat,
    "bytea": _bytes,
}
"""How one value of a type is written inside an array literal; ``None``: it is that text already."""

_PLAIN: Final = {Id: "uuid", str: "text", int: "bigint", bool: "boolean", datetime: "timestamptz", bytes: "bytea"}


class Column:
    """One column: its name, its PostgreSQL type, and whether it may be null."""

    __slots__ = ("literal", "name", "nullable", "sql_type")

    def __init__(self, name: str, hint: Any) -> None:
        self.name = name
        origin = get_origin(hint)
        self.nullable = origin in (UnionType, Union)
        if self.nullable:
            (hint,) = [part for part in get_args(hint) if part is not type(None)]
            origin = get_origin(hint)
        if origin is Literal:
            hint = type(get_args(hint)[0])
        if hint not in _PLAIN:
            raise TypeError(f"column {name}: no column holds a {hint}; use one of {', '.join(map(str, _PLAIN))}")
        self.sql_type = _PLAIN[hint]
        self.literal = _LITERAL[self.sql_type]

    def array(self, values: Iterable[Any]) -> str:
        """The values as a literal of a PostgreSQL array."""
        literal = self.literal
        if self.nullable:
            if literal is None:
                texts: Iterable[str] = ["NULL" if value is None else value for value in values]
            else:
                texts = ["NULL" if value is None else literal(value) for value in values]
        else:
            texts = values if literal is None else map(literal, values)
        return "{" + ",".join(texts) + "}"


class Table:
    """The table of one projection, under its live name or, while a rebuild fills it, another."""

    def __init__(self, projection: Projection, name: str | None = None) -> None:
        row = projection.row
        hints = get_type_hints(row)
        self.projection = projection
        self.row = row
        self.name = f"{SCHEMA}.{name or projection.name}"
        self.columns = [Column(field, hints[field]) for field in row.__struct_fields__]
        self.keys = [column for column in self.columns if column.name in row.key_fields]
        if tuple(column.name for column in self.keys) != row.key_fields:
            raise TypeError(f"{projection.name}: the key fields must be declared in the order of the row's fields")
        self.simple_key = len(self.keys) == 1
        names = ", ".join(column.name for column in self.columns)
        keys = ", ".join(column.name for column in self.keys)
        rest = [column.name for column in self.columns if column not in self.keys]
        every = ", ".join(f"%s::{column.sql_type}[]" for column in self.columns)
        every_key = ", ".join(f"%s::{column.sql_type}[]" for column in self.keys)
        update = ", ".join(f"{name} = excluded.{name}" for name in rest)
        conflict = f"UPDATE SET {update}" if rest else "NOTHING"
        matches = " AND ".join(f"t.{column.name} = k.{column.name}" for column in self.keys)
        selected = ", ".join(f"t.{column.name}" for column in self.columns)
        # The names come from our own classes, never from outside; every value is a parameter.
        self.load_sql = f"SELECT {selected} FROM unnest({every_key}) AS k({keys}) JOIN {self.name} t ON {matches}"  # noqa: S608
        self.save_sql = (
            f"INSERT INTO {self.name} ({names}) SELECT * FROM unnest({every}) ON CONFLICT ({keys}) DO {conflict}"  # noqa: S608
        )
        self.delete_sql = f"DELETE FROM {self.name} t USING unnest({every_key}) AS k({keys}) WHERE {matches}"  # noqa: S608
        self.all_sql = f"SELECT {names} FROM {self.name}"  # noqa: S608

    def key_arrays(self, keys: Collection[Key]) -> list[str]:
        """The parameters of ``load_sql`` and ``delete_sql``."""
        if self.simple_key:
            return [self.keys[0].array(keys)]
        return [column.array(values) for column, values in zip(self.keys, zip(*keys, strict=True), strict=True)]

    def row_arrays(self, rows: Iterable[Row]) -> list[str]:
        """The parameters of ``save_sql``."""
        return [
            column.array(values)
            for column, values in zip(self.columns, zip(*map(astuple, rows), strict=True), strict=True)
        ]

    def by_key(self, tuples: Sequence[tuple[Any, ...]]) -> dict[Key, Row]:
        """Rows as ``load_sql`` and ``all_sql`` give them, by key."""
        row = self.row
        if self.simple_key and self.columns[0] is self.keys[0]:
            return {values[0]: row(*values) for values in tuples}
        return {made.key: made for made in [row(*values) for values in tuples]}


class Outside(Table, ABC):
    """The table of a projection whose rows live in another store, while all else about it is in PostgreSQL."""

    @abstractmethod
    def rows(self, transaction: Any, *, parked: bool, partition: int) -> Any:
        """Its rows (``PostgresRows``) as a partition changes them in a transaction (``infra.rows.Transaction``)."""


def definition(projection: Projection, table: str) -> bytes:
    """The DDL of a projection's table under that name."""
    text = files("schemas").joinpath("sql", "views", f"{projection.name}.sql").read_text("utf-8")
    return text.replace("{table}", table).encode()
