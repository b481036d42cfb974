"""The table of a view in Cassandra, told from its row class: columns, statements, and rows as parameters.

The partition is all key fields but the last, which orders the rows in it, the largest first. A row names the position
of the last event in it: that is its mark, and the timestamp of each write, so of two writes the later state stands,
whichever comes last.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from secrets import token_hex
from typing import Any, Final
from uuid import UUID

from msgspec.structs import astuple

from infra.tables import Table as PostgresTable
from projections.core import Key, Projection, Row

POSITION: Final = "position"
KEYS_MAX: Final = 100
"""Of one partition, looked for by one statement: Cassandra reads them one after another."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _micros(value: datetime) -> int:
    return (value - _EPOCH) // _MICROSECOND


def _datetime(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


_TYPES: Final[dict[str, tuple[str, Callable[[Any], Any] | None, Callable[[Any], Any] | None]]] = {
    "uuid": ("uuid", UUID, str),
    "text": ("text", None, None),
    "bigint": ("bigint", None, None),
    "boolean": ("boolean", None, None),
    # Microseconds since 1970. Cassandra's own type has milliseconds, and a row must come back as it was.
    "timestamptz": ("bigint", _micros, _datetime),
    "bytea": ("blob", None, None),
}
"""For each type of PostgreSQL that of Cassandra, and how a value goes there and comes back."""


class LogTable:
    """A table under a name; ``keyspace`` is in front of it in every statement."""

    def __init__(self, projection: Projection, keyspace: str, name: str) -> None:
        row = projection.row
        if len(row.key_fields) < 2 or POSITION not in row.__struct_fields__:
            raise TypeError(f"{projection.name}: a row of the message log has a partition, an order and a position")
        self.row = row
        self.name = f"{keyspace}.{name}"
        self.columns = PostgresTable(projection).columns
        self._kinds = [_TYPES[column.sql_type] for column in self.columns]
        self._keys = {column.name: kind for column, kind in zip(self.columns, self._kinds, strict=True)}
        *self.partition, self.clustering = row.key_fields
        self._mark = row.__struct_fields__.index(POSITION)
        names = ", ".join(column.name for column in self.columns)
        marks = ", ".join("?" for _ in self.columns)
        of = " AND ".join(f"{name} = ?" for name in self.partition)
        # The names come from our own classes, never from outside; every value is a parameter.
        self.load_cql = f"SELECT {names} FROM {self.name} WHERE {of} AND {self.clustering} IN ?"  # noqa: S608
        self.page_cql = f"SELECT {names} FROM {self.name} WHERE {of} AND {self.clustering} < ? LIMIT ?"  # noqa: S608
        self.back_cql = (
            f"SELECT {names} FROM {self.name} WHERE {of} AND {self.clustering} > ?"  # noqa: S608
            f" ORDER BY {self.clustering} ASC LIMIT ?"
        )
        self.all_cql = f"SELECT token({', '.join(self.partition)}), {names} FROM {self.name}"  # noqa: S608
        self.save_cql = f"INSERT INTO {self.name} ({names}) VALUES ({marks}) USING TIMESTAMP ?"  # noqa: S608

    def definition(self) -> str:
        """The DDL."""
        text = files("schemas").joinpath("cql", "table.cql").read_text("utf-8")
        columns = ",\n    ".join(
            f"{column.name} {kind[0]}" for column, kind in zip(self.columns, self._kinds, strict=True)
        )
        for name, value in (
            ("table", self.name),
            ("columns", columns),
            ("partition", ", ".join(self.partition)),
            ("clustering", self.clustering),
        ):
            text = text.replace("{" + name + "}", value)
        return text

    def partition_values(self, values: Sequence[Any]) -> list[Any]:
        """The values of the partition's fields, as parameters."""
        return [_sent(self._keys[name][1], value) for name, value in zip(self.partition, values, strict=True)]

    def lookups(self, keys: Iterable[Key]) -> list[list[Any]]:
        """The parameters of as many ``load_cql`` as it takes to find these keys."""
        by_partition: dict[tuple[Any, ...], list[Any]] = {}
        for key in keys:
            assert isinstance(key, tuple)
            by_partition.setdefault(key[:-1], []).append(key[-1])
        return [
            [*self.partition_values(partition), wanted[start : start + KEYS_MAX]]
            for partition, wanted in by_partition.items()
            for start in range(0, len(wanted), KEYS_MAX)
        ]

    def parameters(self, row: Row) -> list[Any]:
        """Those of ``save_cql``."""
        values = astuple(row)
        return [
            *(_sent(kind[1], value) for kind, value in zip(self._kinds, values, strict=True)),
            values[self._mark],
        ]

    def made(self, values: Sequence[Any]) -> Row:
        """A row from its columns as Cassandra gives them."""
        return self.row(*(_sent(kind[2], value) for kind, value in zip(self._kinds, values, strict=True)))

    def mark(self, row: Row) -> int:
        """The position of the last event in the row."""
        return int(astuple(row)[self._mark])


def new_name(projection: Projection) -> str:
    """For a table that is to be made: never one that was there before, or is in use by another database."""
    return f"{projection.name}_v{projection.version}_{token_hex(4)}"


def _sent(how: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if how is None or value is None else how(value)
