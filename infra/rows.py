"""The rows of projections in PostgreSQL: one transaction over several projections that stand at one position."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from psycopg import Connection, Cursor

from infra.tables import SCHEMA, Table, definition
from projections.core import Key, Parked, Projection, Row, StaleCheckpoint

PARTITION = 0
"""The embedded log has one partition."""


def key_text(key: Key) -> str:
    """A key as it stands in the dead letters: JSON, an array where the key has several fields."""
    return json.dumps(key, separators=(",", ":"))


def key_of(text: str) -> Key:
    """The key that ``key_text`` wrote."""
    key = json.loads(text)
    return tuple(key) if isinstance(key, list) else key


class Checkpoint:
    """How far a view has come, and which version of the declaration built it."""

    __slots__ = ("parked", "position", "version")

    def __init__(self, position: int, version: int, parked: bool) -> None:
        self.position = position
        self.version = version
        self.parked = parked


class Executor(Protocol):
    """The transaction that rows belong to."""

    moves: dict[str, tuple[int, int]]
    """Where the checkpoint of each projection is to be moved from and to when the transaction ends."""

    def execute(self, sql: str, parameters: Sequence[Any]) -> Cursor[Any]:
        """Run a statement."""
        ...


class PostgresRows:
    """``projections.core.Rows`` over one table. Its checkpoint is moved by the ``Transaction`` it belongs to."""

    def __init__(self, transaction: Executor, table: Table, parked: bool) -> None:
        self._transaction = transaction
        self._table = table
        self._parked = parked
        self._name = table.projection.name
        self._loading: tuple[Collection[Key], Cursor[Any]] | None = None

    def ask(self, keys: Collection[Key]) -> None:
        """Send the query of the ``load`` of these keys that will follow, without waiting for its answer."""
        if keys:
            self._loading = (keys, self._select(keys))

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        asked, self._loading = self._loading, None
        cursor = asked[1] if asked is not None and asked[0] is keys else self._select(keys)
        return self._table.by_key(cursor.fetchall())

    def _select(self, keys: Collection[Key]) -> Cursor[Any]:
        return self._transaction.execute(self._table.load_sql, self._table.key_arrays(keys))

    def has_parked(self) -> bool:
        """Whether any event of this projection is parked."""
        return self._parked

    def parked_keys(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that are parked."""
        by_text = {key_text(key): key for key in keys}
        found = self._transaction.execute(
            "SELECT DISTINCT key FROM views.dead_letters WHERE projection = %s AND key = ANY(%s)",
            (self._name, list(by_text)),
        )
        return [by_text[text] for (text,) in found.fetchall()]

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        """Write the rows; delete those that are ``None``."""
        kept = [row for row in changed.values() if row is not None]
        if kept:
            self._transaction.execute(self._table.save_sql, self._table.row_arrays(kept))
        if len(kept) < len(changed):
            gone = [key for key, row in changed.items() if row is None]
            self._transaction.execute(self._table.delete_sql, self._table.key_arrays(gone))

    def park(self, events: Sequence[Parked]) -> None:
        """Put events into the dead letters."""
        self._transaction.execute(
            "INSERT INTO views.dead_letters (projection, partition, key, position, error)"
            " SELECT %s, %s, k, p, e FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS d(k, p, e)"
            " ON CONFLICT DO NOTHING",
            (
                self._name,
                PARTITION,
                [key_text(event.key) for event in events],
                [event.position for event in events],
                [event.error.replace("\0", "\\0") for event in events],
            ),
        )

    def advance(self, expected: int, to: int) -> None:
        """Have the checkpoint moved by compare-and-set when the transaction ends."""
        self._transaction.moves[self._name] = (expected, to)


class Transaction:
    """One transaction over the rows and checkpoints of some projections, whose checkpoints it has locked."""

    def __init__(self, connection: Connection[Any], tables: Mapping[str, Table]) -> None:
        self.connection = connection
        self._tables = tables
        self.moves: dict[str, tuple[int, int]] = {}
        self.checkpoints = lock_checkpoints(connection, list(tables))

    def execute(self, sql: str, parameters: Sequence[Any]) -> Cursor[Any]:
        """Run one of the adapter's own statements, prepared."""
        return self.connection.cursor().execute(sql, parameters, prepare=True)

    def rows(self, name: str) -> PostgresRows:
        """The rows of one of the projections."""
        checkpoint = self.checkpoints.get(name)
        return PostgresRows(self, self._tables[name], checkpoint is not None and checkpoint.parked)

    def finish(self) -> None:
        """Move the checkpoints. Raises ``StaleCheckpoint`` if one is not where it was expected."""
        if not self.moves:
            return
        names = list(self.moves)
        moved = self.execute(
            "UPDATE views.checkpoints c SET position = m.moved_to"
            " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS m(projection, expected, moved_to)"
            " WHERE c.projection = m.projection AND c.partition = %s AND c.position = m.expected"
            " RETURNING 1",
            (names, [self.moves[name][0] for name in names], [self.moves[name][1] for name in names], PARTITION),
        )
        left = len(names) - len(moved.fetchall())
        if left:
            raise StaleCheckpoint(f"{left} of {', '.join(names)} were moved by another worker")


@contextmanager
def transaction(connection: Connection[Any], tables: Mapping[str, Table]) -> Iterator[Transaction]:
    """A transaction over the tables, by projection, committed at the end of the block.

    Statements are pipelined: those that give nothing back run while the next rows are folded.
    """
    with connection.transaction(), connection.pipeline():
        opened = Transaction(connection, tables)
        yield opened
        opened.finish()


def lock_checkpoints(connection: Connection[Any], names: Sequence[str]) -> dict[str, Checkpoint]:
    """The checkpoints of those projections, held against every other worker until the transaction ends.

    All lock in the order of the names, so that two workers never wait for each other.
    """
    found = connection.execute(
        "SELECT projection, position, version,"
        " EXISTS (SELECT FROM views.dead_letters d WHERE d.projection = c.projection)"
        " FROM views.checkpoints c WHERE partition = %s AND projection = ANY(%s) ORDER BY projection FOR UPDATE OF c",
        (PARTITION, list(names)),
        prepare=True,
    )
    return {name: Checkpoint(position, version, parked) for name, position, version, parked in found.fetchall()}


def read_checkpoints(connection: Connection[Any]) -> dict[str, Checkpoint]:
    """All checkpoints as they are committed, by projection."""
    found = connection.execute(
        "SELECT projection, position, version,"
        " EXISTS (SELECT FROM views.dead_letters d WHERE d.projection = c.projection)"
        " FROM views.checkpoints c WHERE partition = %s",
        (PARTITION,),
    )
    return {name: Checkpoint(position, version, parked) for name, position, version, parked in found.fetchall()}


def create_missing(connection: Connection[Any], projections: Sequence[Projection]) -> list[str]:
    """Create the tables and checkpoints that are not there; give the names of the projections that begin anew."""
    created = []
    with connection.transaction():
        present = lock_checkpoints(connection, [projection.name for projection in projections])
        for projection in projections:
            table = f"{SCHEMA}.{projection.name}"
            if not exists(connection, table):
                connection.execute(definition(projection, table))
            elif projection.name in present:
                continue
            connection.execute(
                "INSERT INTO views.checkpoints (projection, partition, position, version) VALUES (%s, %s, 0, %s)"
                " ON CONFLICT (projection, partition) DO UPDATE SET position = 0, version = excluded.version",
                (projection.name, PARTITION, projection.version),
            )
            connection.execute("DELETE FROM views.dead_letters WHERE projection = %s", (projection.name,))
            created.append(projection.name)
    return created


def exists(connection: Connection[Any], table: str) -> bool:
    """Whether there is such a table."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchall() == [(True,)]
