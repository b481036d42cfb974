"""The rows of a view in Cassandra inside a transaction of PostgreSQL that has its checkpoint and dead letters.

Rows are written when they are saved, before the transaction commits: whoever dies in between has rows there that are
past the checkpoint, and says so in ``ahead``. Nobody waits for a row of Cassandra: two who fold the same partition wait
for each other at the checkpoint, and a zombie's late write loses by its timestamp or is what would come next anyway.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from psycopg import Connection, Cursor, DataError

from infra.cassandra.errors import CassandraAway, CassandraError, CassandraRefused, CassandraUnready
from infra.cassandra.tables import LogTable
from infra.rows import PARTITION, Executor, PostgresRows, Transaction
from infra.tables import Outside, Table
from projections.core import Key, Projection, Row

if TYPE_CHECKING:
    from infra.cassandra.client import CassandraClient

_log = structlog.get_logger(__name__)

LIVE_SQL = "SELECT live FROM views.logs WHERE projection = %s"


class LogStore:
    """The views that live in Cassandra, where there is one."""

    def __init__(self, client: "CassandraClient") -> None:
        self.client = client

    def named(self, projection: Projection, name: str) -> LogTable:
        """One table of a view, by the name that PostgreSQL knows it by."""
        return LogTable(projection, self.client.keyspace, name)

    def load(self, table: LogTable, keys: Collection[Key]) -> dict[Key, Row]:
        """Those of the rows that exist. Raises ``CassandraError``."""
        found = self.client.run_all(table.load_cql, table.lookups(keys)) if keys else []
        return {row.key: row for row in (table.made(values) for each in found for values in each)}

    def save(self, table: LogTable, rows: Collection[Row]) -> None:
        """Write rows, each unless a later state of it is there. Raises ``CassandraError``, and ``DataError`` for a row
        that no retry can store.
        """
        try:
            if rows:
                self.client.run_all(table.save_cql, [table.parameters(row) for row in rows])
        except (CassandraRefused, UnicodeEncodeError) as error:
            raise DataError(str(error)) from error

    def trouble(self) -> str | None:
        """Why it cannot be asked now; ``None`` while it answers."""
        try:
            self.client.version()
        except CassandraAway as error:
            return str(error)
        return None

    def has_previous(self, connection: Connection[Any], projection: Projection) -> bool:
        """Whether the table before the last rebuild is kept."""
        found = connection.execute(
            "SELECT previous FROM views.logs WHERE projection = %s", (projection.name,)
        ).fetchone()
        return found is not None and found[0] is not None

    def go_back(self, connection: Connection[Any], projection: Projection) -> None:
        """Have that table be the live one; the other is to be dropped once this is committed."""
        connection.execute(
            "UPDATE views.logs SET live = previous, previous = NULL, making = live WHERE projection = %s",
            (projection.name,),
        )

    def drop_left(self, connection: Connection[Any], projection: Projection) -> None:
        """Drop a table that is of no use any more, if there is one. Not inside a transaction.

        When Cassandra is away that is for the next rebuild to do, which is said.
        """
        found = connection.execute("SELECT making FROM views.logs WHERE projection = %s", (projection.name,)).fetchone()
        if found is None or found[0] is None:
            return
        try:
            self.client.change_schema(f"DROP TABLE IF EXISTS {self.client.named(found[0])}")
        except CassandraError as error:
            _log.warning("cassandra.table_not_dropped", table=found[0], error=str(error))
            return
        connection.execute(
            "UPDATE views.logs SET making = NULL WHERE projection = %s AND making = %s", (projection.name, found[0])
        )


def table_of(projection: Projection, log: LogStore | None) -> Table:
    """The table of a view: in the message log, if it belongs there and there is one, else in PostgreSQL."""
    return TableOfLog(projection, log) if log is not None and projection.message_log else Table(projection)


class TableOfLog(Outside):
    """The live table, whichever that is when a transaction begins."""

    def __init__(self, projection: Projection, log: LogStore) -> None:
        super().__init__(projection)
        self.log = log

    def rows(self, transaction: Transaction, *, parked: bool, partition: int) -> PostgresRows:
        """See ``Outside``."""
        return CassandraRows(transaction, self, parked, partition, floor=transaction.floor(self.projection.name))


class CassandraRows(PostgresRows):
    """``projections.core.Rows`` in Cassandra, with dead letters and checkpoint in PostgreSQL.

    ``floor`` is a position that the checkpoint has reached: no row up to there is ahead of it.
    """

    def __init__(
        self, transaction: Executor, table: TableOfLog, parked: bool, partition: int = PARTITION, *, floor: int = 0
    ) -> None:
        super().__init__(transaction, table, parked, partition)
        self._log = table.log
        self._projection = table.projection
        self._floor = floor
        self._asked: Cursor[Any] | None = None
        self._live: LogTable | None = None
        self._loaded: dict[Key, Row] = {}

    def ask(self, keys: Collection[Key]) -> None:
        """Ask PostgreSQL which table it is, without waiting for its answer."""
        if keys and self._live is None:
            self._asked = self._transaction.execute(LIVE_SQL, (self._name,))

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        found = self._log.load(self._table_now(), keys)
        self._loaded.update(found)
        return found

    def ahead(self, keys: Collection[Key]) -> Mapping[Key, int]:
        """Up to which position those of the rows are that are past the checkpoint."""
        table = self._table_now()
        marks = {key: table.mark(self._loaded[key]) for key in keys if key in self._loaded}
        return {key: mark for key, mark in marks.items() if mark > self._floor}

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        """Write those of the rows that are not as they were loaded; returns when a quorum has them."""
        if gone := [key for key, row in changed.items() if row is None and key in self._loaded]:
            raise TypeError(f"{self._name}: rows of the message log are not deleted: {gone[0]!r}")
        self._log.save(
            self._table_now(),
            [row for key, row in changed.items() if row is not None and row is not self._loaded.get(key)],
        )

    def _table_now(self) -> LogTable:
        if self._live is None:
            self.ask((self._name,))
            assert self._asked is not None
            found: Sequence[Any] = self._asked.fetchall()
            if not found:
                raise CassandraUnready(f"{self._name} has no table in Cassandra yet: moot migrate")
            self._live = self._log.named(self._projection, found[0][0])
        return self._live
