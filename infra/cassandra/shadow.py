"""A table of Cassandra that is filled beside the live one of a view and then takes its place.

Which table is live is one row in PostgreSQL, and changes in the transaction that exchanges the checkpoints. What is
filled is recorded before it is made: a rebuild that is killed leaves a table that the next one drops.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from psycopg import Connection

from infra.cassandra.errors import CassandraUnready
from infra.cassandra.log import LIVE_SQL, LogStore
from infra.cassandra.tables import LogTable, new_name
from infra.rows import PostgresRows
from infra.shadow import Shadow, ShadowRows
from infra.tables import Table
from projections.columns import Columns
from projections.core import Key, Projection, Row

PAGE_ROWS: Final = 2_000
"""Of a whole table that is looked at, at a time: some megabytes at most."""
COPY_ROWS: Final = 2_000
"""Sent before the first answer of theirs is looked at."""


class LogShadow(Shadow):
    """The table in the making, in the message log."""

    def __init__(self, connection: Connection[Any], projection: Projection, log: LogStore) -> None:
        if projection.make_columns is not None or projection.parts is not None:
            raise TypeError(f"{projection.name}: rows of the message log are not made as columns")
        super().__init__(connection, projection)
        self._log = log
        self._into: LogTable | None = None

    @property
    def into(self) -> LogTable:
        """What is filled."""
        assert self._into is not None
        return self._into

    def create(self) -> None:
        """Make the table, and begin a transaction. Removes what an older rebuild left."""
        self._prepare()
        name = self.projection.name
        if self._live_name() is None:
            raise CassandraUnready(f"{name} has no table in Cassandra yet: moot migrate")
        self._log.drop_left(self._connection, self.projection)
        made = new_name(self.projection)
        self._connection.execute("UPDATE views.logs SET making = %s WHERE projection = %s", (made, name))
        self._into = self._log.named(self.projection, made)
        self._log.client.change_schema(self._into.definition())
        self._connection.execute("BEGIN")

    def copy(self, rows: Sequence[Row]) -> None:
        """Add rows that are not in the table."""
        for start in range(0, len(rows), COPY_ROWS):
            self._log.save(self.into, rows[start : start + COPY_ROWS])
        self.rows += len(rows)

    def copy_columns(self, columns: Columns) -> None:
        """Never asked for: see the constructor."""
        raise NotImplementedError

    def index(self) -> None:
        """Nothing to make: rows can be loaded and replaced from the start."""
        self.indexed = True

    def replace(self, rows: Collection[Row], gone: Collection[Key]) -> None:
        """Write rows that may be in the table already. Those that are gone were never there."""
        self.copy(list(rows))

    def load(self, keys: Collection[Key]) -> dict[Key, Row]:
        """Rows that are in the table."""
        return self._log.load(self.into, keys)

    def stepping(self) -> PostgresRows:
        """The table as ``step`` wants it, with checkpoint and dead letters kept here until the switch."""
        return _LogShadowRows(self, self._table)

    def differences(self) -> int:
        """How many rows of the live view and of this one are not in the other. Needs the lock."""
        live = self._live_name()
        assert live is not None
        here, there = self._tokens(self.into), self._tokens(self._log.named(self.projection, live))
        found, one, other = 0, next(here, None), next(there, None)
        # Both come in the order of their tokens, as the partitions are the same.
        while one is not None or other is not None:
            if other is None or (one is not None and one[0] < other[0]):
                assert one is not None
                found, one = found + len(one[1]), next(here, None)
            elif one is None or other[0] < one[0]:
                found, other = found + len(other[1]), next(there, None)
            else:
                found += len(one[1] ^ other[1])
                one, other = next(here, None), next(there, None)
        return found

    def count(self) -> int:
        """The rows that were written."""
        return self.rows

    def commit(self) -> None:
        """Keep everything, for all to see; the table before the last one is dropped."""
        super().commit()
        self._log.drop_left(self._connection, self.projection)

    def _tokens(self, table: LogTable) -> Iterator[tuple[int, set[Row]]]:
        """All rows of a table, by the token of their partition, in its order."""
        for token, rows in groupby(self._every(table), itemgetter(0)):
            yield int(token), {table.made(values[1:]) for values in rows}

    def _every(self, table: LogTable) -> Iterator[Sequence[Any]]:
        for page in self._log.client.pages(table.all_cql, PAGE_ROWS):
            self._run("SELECT 1")  # PostgreSQL would take a rebuild for frozen that asks it nothing for a minute
            yield from page

    def _exchange(self) -> None:
        self._connection.execute(
            "UPDATE views.logs SET live = making, previous = live, making = previous WHERE projection = %s",
            (self.projection.name,),
        )

    def _live_name(self) -> str | None:
        found = self._connection.execute(LIVE_SQL, (self.projection.name,)).fetchone()
        return None if found is None else str(found[0])


def shadow_of(connection: Connection[Any], projection: Projection, log: LogStore | None) -> Shadow:
    """The table in the making of a view: in the message log, if it belongs there and there is one."""
    if log is not None and projection.message_log:
        return LogShadow(connection, projection, log)
    return Shadow(connection, projection)


class _LogShadowRows(ShadowRows):
    """Rows that a step wrote which was given up are past the shadow's position, and say so."""

    def __init__(self, shadow: LogShadow, table: Table) -> None:
        super().__init__(shadow, table)
        self._making = shadow
        self._loaded: dict[Key, Row] = {}

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        found = self._making.load(keys)
        self._loaded.update(found)
        return found

    def ahead(self, keys: Collection[Key]) -> Mapping[Key, int]:
        marks = {key: self._making.into.mark(self._loaded[key]) for key in keys if key in self._loaded}
        return {key: mark for key, mark in marks.items() if mark > self._making.position}

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        self._making.copy([row for key, row in changed.items() if row is not None and row is not self._loaded.get(key)])
