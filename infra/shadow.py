"""A table that is filled beside the live one of a projection and then takes its name.

Everything happens in the one transaction of the connection it is given: a rebuild that is killed leaves nothing,
and with ``wal_level = minimal`` PostgreSQL writes no WAL for a table filled in the transaction that made it.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from psycopg import Connection, Cursor, DataError
from psycopg.errors import LockNotAvailable

from infra.copying import HEADER, TRAILER, columns_of, packed, packed_columns
from infra.rows import PARTITION, PostgresRows, exists, lock_checkpoints, read_reached
from infra.tables import SCHEMA, Table, definition
from projections.columns import Columns, length
from projections.core import Key, Parked, Projection, Row, StaleCheckpoint, View

FROZEN_SECONDS_MAX = 60
"""How long a rebuild that holds a view still may do nothing, before PostgreSQL ends it."""


class Busy(Exception):
    """Readers held the live table for longer than the switch may wait. Nothing changed; try again."""


class _Standing(NamedTuple):
    """What a shadow knows of itself, and PostgreSQL does not undo."""

    position: int
    rows: int
    parked: list[Parked]
    blocked: set[Key]


class Shadow:
    """The table in the making, and the view folded into it.

    ``position`` is that of the last event in the shadow or in ``view``. ``view.rows`` are rows not written yet.
    ``live_at_start`` is where the live view stood when the shadow was created.
    """

    def __init__(self, connection: Connection[Any], projection: Projection) -> None:
        self.projection = projection
        self.view = View(projection, {}, set())
        self.position = 0
        self.live_at_start = 0
        self.rows = 0
        self.indexed = False
        self._connection = connection
        self._table = Table(projection, f"{projection.name}_shadow")
        self._name = self._table.name
        self._live = f"{SCHEMA}.{projection.name}"
        self._indexes: list[str] = []
        self._types: list[str] = []
        self.moves: dict[tuple[str, int], tuple[int, int]] = {}

    def create(self) -> None:
        """Make the table, without keys and indexes, in a new transaction. Removes what an older one left."""
        self._prepare()
        self._connection.execute("BEGIN")
        self._run(f"DROP TABLE IF EXISTS {self._name}")
        self._connection.execute(definition(self.projection, self._name))
        constraints = self._connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
            (self._name,),
        ).fetchall()
        for name, text in constraints:
            self._run(f"ALTER TABLE {self._name} DROP CONSTRAINT {name}")
            self._indexes.append(f"ALTER TABLE {self._name} ADD CONSTRAINT {name} {text}")
        indexes = self._connection.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass",
            (self._name,),
        ).fetchall()
        for name, text in indexes:
            self._run(f"DROP INDEX {name}")
            self._indexes.append(text)
        types = self._connection.execute(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attnum > 0",
            (self._name,),
        ).fetchall()
        by_name = dict(types)
        self._types = [by_name[column.name] for column in self._table.columns]

    def _prepare(self) -> None:
        self._connection.execute(
            "SET synchronous_commit = on; SET timezone = 'UTC'; SET application_name = 'moot rebuild'"
        )
        self._connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
        self.live_at_start = self.live_position()

    def copy(self, rows: Sequence[Row]) -> None:
        """Add rows that are not in the table."""
        if rows:
            with _sendable():
                data = packed(rows, self._types)
            self._copy(data, len(rows))

    def copy_columns(self, columns: Columns) -> None:
        """Add rows that are not in the table, given as columns."""
        with _sendable():
            data = packed_columns(columns, self._types)
        self._copy(data, length(columns))

    def columns(self, rows: Sequence[Row]) -> Columns | None:
        """Rows as columns, for a table without nulls and texts; ``None`` for no rows."""
        return columns_of(rows, self._types) if rows else None

    def _copy(self, data: bytes, rows: int) -> None:
        names = ", ".join(column.name for column in self._table.columns)
        with self._connection.cursor().copy(
            f"COPY {self._name} ({names}) FROM STDIN (FORMAT binary, FREEZE)".encode()
        ) as copy:
            copy.write(HEADER)
            copy.write(data)
            copy.write(TRAILER)
        self.rows += rows

    def index(self) -> None:
        """Make the keys and indexes; from now on rows can be loaded and replaced."""
        if self.indexed:
            return
        for text in self._indexes:
            self._run(text)
        self._run(f"ANALYZE {self._name}")
        self.indexed = True

    def replace(self, rows: Collection[Row], gone: Collection[Key]) -> None:
        """Write rows that may be in the table already, and delete others. It must be indexed."""
        if rows:
            self.execute(self._table.save_sql, self._table.row_arrays(rows))
        if gone:
            self.execute(self._table.delete_sql, self._table.key_arrays(gone))

    def load(self, keys: Collection[Key]) -> dict[Key, Row]:
        """Rows that are in the table. It must be indexed."""
        return self._table.by_key(self.execute(self._table.load_sql, self._table.key_arrays(keys)).fetchall())

    def stepping(self) -> PostgresRows:
        """The table as ``step`` wants it, with checkpoint and dead letters kept here until the switch."""
        return ShadowRows(self, self._table)

    def execute(self, sql: str, parameters: Sequence[Any]) -> Cursor[Any]:
        """Run a statement in the transaction."""
        return self._connection.cursor().execute(sql, parameters, prepare=True)

    def live_position(self) -> int:
        """Where the live view stands now; 0 if there is none."""
        found = self._connection.execute(
            "SELECT max(position) FROM views.checkpoints WHERE projection = %s", (self.projection.name,)
        ).fetchone()
        return int(found[0] or 0) if found else 0

    def reached(self) -> int:
        """The position up to which every event is in the live view, whatever partitions it is folded from."""
        return read_reached(self._connection).get(self.projection.name, 0)

    def lock(self, seconds: float) -> dict[int, int]:
        """Keep the live view where it stands until the end of the transaction or savepoint: where, by partition.

        Raises ``Busy`` when a batch takes longer than that.
        """
        try:
            self._run(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")
            # Whoever folds the view waits for this one from now on, who may be frozen.
            self._run(f"SET LOCAL idle_in_transaction_session_timeout = {1000 * FROZEN_SECONDS_MAX}")
            checkpoints = lock_checkpoints(self._connection, [self.projection.name])
        except LockNotAvailable as error:
            raise Busy(str(error)) from error
        return {partition: checkpoint.position for (_, partition), checkpoint in checkpoints.items()}

    def differences(self) -> int:
        """How many rows of the live view and of this one are not in the other. Needs the lock."""
        both = (
            f"(TABLE {self._live} EXCEPT TABLE {self._name}) UNION ALL (TABLE {self._name} EXCEPT TABLE {self._live})"
        )
        found = self._run(f"SELECT count(*) FROM ({both}) d").fetchone()  # noqa: S608 - names of our own tables
        return int(found[0]) if found else 0

    def switch(self, seconds: float) -> None:
        """Take the live name and checkpoint, keep the old table as ``…_previous``. Needs the lock; not committed here.

        Raises ``Busy`` when readers hold the live table for longer than that; roll back to before the lock then.
        """
        name = self.projection.name
        try:
            self._run(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")
            self._exchange()
        except LockNotAvailable as error:
            raise Busy(str(error)) from error
        # In every partition that the view is folded from it stands there now; where it never was, in the embedded log.
        self._connection.execute(
            "INSERT INTO views.checkpoints AS c (projection, partition, position, version)"
            " SELECT v.name, coalesce(o.partition, %s), %s, %s FROM (VALUES (%s)) AS v(name)"
            " LEFT JOIN views.checkpoints o ON o.projection = v.name"
            " ON CONFLICT (projection, partition) DO UPDATE SET position = excluded.position,"
            " version = excluded.version, built_at = now(), previous_version = c.version,"
            " previous_position = c.position",
            (PARTITION, self.position, self.projection.version, name),
        )
        # The dead letters belong to the table that lacks them, and go back with it.
        self._connection.execute("DELETE FROM views.dead_letters WHERE projection = %s", (f"{name}_previous",))
        self._connection.execute(
            "UPDATE views.dead_letters SET projection = %s WHERE projection = %s", (f"{name}_previous", name)
        )
        PostgresRows(self, Table(self.projection), parked=False).park(self.view.parked)

    def _exchange(self) -> None:
        """Give the tables their names."""
        name = self.projection.name
        self._run(f"DROP TABLE IF EXISTS {self._live}_previous")
        if exists(self._connection, self._live):
            self._run(f"ALTER TABLE {self._live} RENAME TO {name}_previous")
        self._run(f"ALTER TABLE {self._name} RENAME TO {name}")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is done in the block is undone if it fails, and only that. Locks taken in it are let go then."""
        before = self._standing()
        try:
            with self._connection.transaction():
                yield
        except BaseException:
            self._stand(before)
            raise

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What is folded in the block is undone at its end, whatever comes of it.

        In the message log it stays, but is known by its position: whoever folds it again leaves it out.
        """
        before = self._standing()
        try:
            with self._connection.transaction(force_rollback=True):
                yield
        finally:
            self._stand(before)

    def _standing(self) -> _Standing:
        return _Standing(self.position, self.rows, list(self.view.parked), set(self.view.blocked))

    def _stand(self, at: _Standing) -> None:
        self.position, self.rows, self.view.parked, self.view.blocked = at

    def commit(self) -> None:
        """Keep everything, for all to see."""
        self._run("COMMIT")

    def count(self) -> int:
        """The rows of the live table, as the statistics have it."""
        found = self._connection.execute(
            "SELECT reltuples FROM pg_class WHERE oid = %s::regclass", (self._live,)
        ).fetchone()
        return int(found[0]) if found else 0

    def _run(self, sql: str) -> Cursor[Any]:
        return self._connection.execute(sql.encode())


@contextmanager
def _sendable() -> Iterator[None]:
    """What cannot even be sent is for PostgreSQL to refuse."""
    try:
        yield
    except (struct.error, OverflowError, ValueError) as error:
        raise DataError(str(error)) from error


class ShadowRows(PostgresRows):
    """Rows of the table in the making; checkpoint and dead letters are those of the ``Shadow``."""

    def __init__(self, shadow: Shadow, table: Table) -> None:
        super().__init__(shadow, table, parked=False)
        self._shadow = shadow

    def has_parked(self) -> bool:
        """Whether any event was parked by the rebuild."""
        return bool(self._shadow.view.blocked)

    def parked_keys(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that were."""
        return self._shadow.view.blocked.intersection(keys)

    def park(self, events: Sequence[Parked]) -> None:
        """Remember them until the switch."""
        self._shadow.view.parked.extend(events)
        self._shadow.view.blocked.update(event.key for event in events)

    def advance(self, expected: int, to: int) -> None:
        """Move the shadow there."""
        if self._shadow.position != expected:
            raise StaleCheckpoint(f"the shadow is at {self._shadow.position}, not {expected}")
        self._shadow.position = to
