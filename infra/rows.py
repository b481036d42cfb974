"""The rows of projections in PostgreSQL: one transaction over several projections and their checkpoints.

A checkpoint is of one projection and one partition of the log: the last position of that partition which is in the
view. The embedded log is one partition; a fleet's has many (``schemas.topics``), folded by several workers at once.
Those who fold into rows that another partition touches too wait for each other at the checkpoints: everybody locks
before he loads, in the same order, and under READ COMMITTED a later statement sees what the one before him committed.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from psycopg import Connection, Cursor

from infra.tables import SCHEMA, Outside, Table, definition
from projections.core import Key, Parked, Projection, Row, StaleCheckpoint

PARTITION = 0
"""The embedded log has one partition, and this is its number."""

FRONTIER = -1
"""In ``log.relayed``, in place of a partition: everything up to that row's position is in the topics."""

EMBEDDED: Mapping[int, int | None] = {PARTITION: None}
"""The partitions of a transaction over the embedded log."""


def prepare_for_folding(connection: Connection[Any], application: str) -> None:
    """Settings of a connection that folds; ``application`` is how PostgreSQL lists it."""
    # What is lost when the machine dies is folded again from the log, so a commit need not wait for the disk. The
    # queries are look-ups by key, whatever the planner believes of a table that grew since its last statistics.
    connection.execute("SET synchronous_commit = off; SET enable_seqscan = off; SET enable_hashjoin = off")
    connection.execute("SET enable_mergejoin = off; SET timezone = 'UTC'")
    connection.execute("SELECT set_config('application_name', %s, false)", (application,))


def key_text(key: Key) -> str:
    """A key as it stands in the dead letters: JSON, an array where the key has several fields."""
    return json.dumps(key, separators=(",", ":"))


def key_of(text: str) -> Key:
    """The key that ``key_text`` wrote."""
    key = json.loads(text)
    return tuple(key) if isinstance(key, list) else key


class Checkpoint:
    """How far a view has come in one partition, and which version of the declaration built it.

    ``offset`` is where to read on in the partition's topic; ``None``: not known, so from its beginning. What is read
    again from there is known by its position. ``parked`` says whether the projection has any dead letters.
    """

    __slots__ = ("offset", "parked", "position", "version")

    def __init__(self, position: int, version: int, parked: bool, offset: int | None = None) -> None:
        self.position = position
        self.version = version
        self.parked = parked
        self.offset = offset


Checkpoints = dict[tuple[str, int], Checkpoint]
"""By projection and partition."""


class Executor(Protocol):
    """The transaction that rows belong to."""

    moves: dict[tuple[str, int], tuple[int, int]]
    """From and to which position each checkpoint, by projection and partition, is moved when the transaction ends."""

    def execute(self, sql: str, parameters: Sequence[Any]) -> Cursor[Any]:
        """Run a statement."""
        ...


class PostgresRows:
    """``projections.core.Rows`` over one table. Its checkpoint is moved by the ``Transaction`` it belongs to."""

    def __init__(self, transaction: Executor, table: Table, parked: bool, partition: int = PARTITION) -> None:
        self._transaction = transaction
        self._table = table
        self._parked = parked
        self._partition = partition
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

    def ahead(self, _: Collection[Key]) -> Mapping[Key, int]:
        """None: rows and checkpoint change together."""
        return {}

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
                self._partition,
                [key_text(event.key) for event in events],
                [event.position for event in events],
                [event.error.replace("\0", "\\0") for event in events],
            ),
        )

    def advance(self, expected: int, to: int) -> None:
        """Have the checkpoint moved by compare-and-set when the transaction ends."""
        self._transaction.moves[self._name, self._partition] = (expected, to)


class Transaction:
    """One transaction over the rows of some projections, with locks on the checkpoints that guard them.

    ``partitions`` are those that are folded, each with the offset after it; without any, all that the projections
    have are locked and none is moved. ``checkpoints`` are those that were locked.
    """

    def __init__(
        self, connection: Connection[Any], tables: Mapping[str, Table], partitions: Mapping[int, int | None] = EMBEDDED
    ) -> None:
        self.connection = connection
        self._tables = tables
        self._partitions = partitions
        self.moves: dict[tuple[str, int], tuple[int, int]] = {}
        if PARTITION in partitions or not partitions:
            self.checkpoints = lock_checkpoints(connection, list(tables))
        else:
            local = [name for name, table in tables.items() if table.projection.local]
            shared = [name for name, table in tables.items() if not table.projection.local]
            self.checkpoints = _lock_partitions(connection, shared, local, list(partitions))
        self._parked = {name for (name, _), found in self.checkpoints.items() if found.parked}

    def execute(self, sql: str, parameters: Sequence[Any]) -> Cursor[Any]:
        """Run one of the adapter's own statements, prepared."""
        return self.connection.cursor().execute(sql, parameters, prepare=True)

    def rows(self, name: str) -> PostgresRows:
        """The rows of one of the projections, as the first of the partitions changes them."""
        table, parked, partition = self._tables[name], name in self._parked, next(iter(self._partitions), PARTITION)
        if isinstance(table, Outside):
            rows: PostgresRows = table.rows(self, parked=parked, partition=partition)
            return rows
        return PostgresRows(self, table, parked, partition)

    def floor(self, name: str) -> int:
        """A position that the projection has reached in each of the partitions; 0 where none is folded."""
        return min((self.checkpoints[name, number].position for number in self._partitions), default=0)

    def require(self, name: str, partition: int, position: int, *, read_on: bool = False) -> None:
        """Raises ``StaleCheckpoint`` unless the checkpoint stands there, of a view that this version built.

        With ``read_on`` also where it says no more from which offset to read on (see ``forget_offsets``).
        """
        found, version = self.checkpoints.get((name, partition)), self._tables[name].projection.version
        if found is None or found.position != position:
            stands = "is gone" if found is None else f"stands at {found.position}"
            raise StaleCheckpoint(f"the checkpoint of {name} in partition {partition} {stands}, not at {position}")
        if read_on and found.offset is None:
            raise StaleCheckpoint(f"partition {partition} is not as it was; it is to be read from its beginning")
        if found.version != version:
            raise StaleCheckpoint(f"{name} was rebuilt by version {found.version} of it, and this is {version}")

    def finish(self) -> None:
        """Move the checkpoints. Raises ``StaleCheckpoint`` if one is not where it was expected."""
        if not self.moves:
            return
        moved = self.execute(
            'UPDATE views.checkpoints c SET position = m.moved_to, "offset" = coalesce(m.next_offset, c."offset")'
            " FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " AS m(projection, partition, expected, moved_to, next_offset)"
            " WHERE c.projection = m.projection AND c.partition = m.partition AND c.position = m.expected"
            " RETURNING 1",
            (
                [name for name, _ in self.moves],
                [partition for _, partition in self.moves],
                [expected for expected, _ in self.moves.values()],
                [to for _, to in self.moves.values()],
                [self._partitions.get(partition) for _, partition in self.moves],
            ),
        )
        left = len(self.moves) - len(moved.fetchall())
        if left:
            names = dict.fromkeys(name for name, _ in self.moves)
            raise StaleCheckpoint(f"{left} checkpoints of {', '.join(names)} were moved by another worker")


@contextmanager
def transaction(
    connection: Connection[Any], tables: Mapping[str, Table], partitions: Mapping[int, int | None] = EMBEDDED
) -> Iterator[Transaction]:
    """A transaction over the tables, by projection, committed at the end of the block.

    Statements are pipelined: those that give nothing back run while the next rows are folded.
    """
    with connection.transaction(), connection.pipeline():
        opened = Transaction(connection, tables, partitions)
        yield opened
        opened.finish()


_SELECT = """SELECT c.projection, c.partition, c.position, c.version, c."offset",
    EXISTS (SELECT FROM views.dead_letters d WHERE d.projection = c.projection) FROM views.checkpoints c"""


def lock_checkpoints(connection: Connection[Any], names: Sequence[str]) -> Checkpoints:
    """All checkpoints of those projections, held against every other worker until the transaction ends.

    All lock in the order of names and partitions, so that two workers never wait for each other.
    """
    found = connection.execute(
        f"{_SELECT} WHERE c.projection = ANY(%s) ORDER BY c.projection, c.partition FOR UPDATE OF c".encode(),
        (list(names),),
        prepare=True,
    )
    return _by_partition(found)


def _lock_partitions(
    connection: Connection[Any], shared: Sequence[str], local: Sequence[str], partitions: Sequence[int]
) -> Checkpoints:
    """The checkpoints that a worker on those partitions locks: of local views those alone, of others all."""
    found = connection.execute(
        """SELECT c.projection, c.partition, c.position, c.version, c."offset", false FROM views.checkpoints c
            WHERE c.projection = ANY(%s) OR c.projection = ANY(%s) AND c.partition = ANY(%s)
            ORDER BY c.projection, c.partition FOR UPDATE""",
        (list(shared), list(local), list(partitions)),
        prepare=True,
    )
    # Asked by a statement of its own: one that waits for a lock goes on seeing other tables as they were before.
    parked = connection.execute(
        """SELECT n FROM unnest(%s::text[]) n
            WHERE EXISTS (SELECT FROM views.dead_letters d WHERE d.projection = n)""",
        ([*shared, *local],),
        prepare=True,
    )
    checkpoints = _by_partition(found)
    with_parked = {name for (name,) in parked.fetchall()}
    for (name, _), checkpoint in checkpoints.items():
        checkpoint.parked = name in with_parked
    return checkpoints


def _by_partition(found: Cursor[Any]) -> Checkpoints:
    return {
        (name, partition): Checkpoint(position, version, parked, offset)
        for name, partition, position, version, offset, parked in found.fetchall()
    }


def read_checkpoints(connection: Connection[Any], partition: int = PARTITION) -> dict[str, Checkpoint]:
    """The checkpoints of one partition as they are committed, by projection."""
    return {name: checkpoint for (name, _), checkpoint in read_partitions(connection, [partition]).items()}


def read_partitions(connection: Connection[Any], partitions: Collection[int]) -> Checkpoints:
    """The checkpoints of these partitions as they are committed."""
    found = connection.execute(f"{_SELECT} WHERE c.partition = ANY(%s)".encode(), (list(partitions),))
    return _by_partition(found)


_IN_ORDER = """WITH locked AS (
    SELECT l.projection, l.partition FROM views.checkpoints l
    WHERE l.partition = ANY(%(partitions)s)
    AND (%(projections)s::text[] IS NULL OR l.projection = ANY(%(projections)s::text[]))
    ORDER BY l.projection, l.partition FOR UPDATE)"""
"""As ``lock_checkpoints`` locks them, so that nobody waits for one who waits for him."""
_FORGET = f"""{_IN_ORDER}
UPDATE views.checkpoints c SET "offset" = NULL FROM locked l
WHERE c.projection = l.projection AND c.partition = l.partition""".encode()  # noqa: S608 - constants
_KEEP = f"""{_IN_ORDER}
UPDATE views.checkpoints c SET "offset" = k.next_offset FROM locked l,
    unnest(%(partitions)s::integer[], %(positions)s::bigint[], %(offsets)s::bigint[])
        AS k(partition, position, next_offset)
WHERE c.projection = l.projection AND c.partition = l.partition AND c.partition = k.partition
AND c.position >= k.position AND (c."offset" IS NOT NULL OR c.partition <> ALL(%(read_on)s))""".encode()  # noqa: S608 - constants


def forget_offsets(connection: Connection[Any], partitions: Collection[int]) -> None:
    """Have whoever folds those partitions read them from their beginning: offsets are no more what they were.

    What is known is left out by its position.
    """
    connection.execute(
        _FORGET,
        {"partitions": list(partitions), "projections": None},
    )


def keep_offsets(
    connection: Connection[Any],
    projections: Sequence[str],
    known: Mapping[int, tuple[int, int]],
    read_on: Collection[int] = (),
) -> None:
    """Keep where to read on in partitions, though nothing was folded: for each an event, and the offset after it.

    Views that have that event have all that comes before the offset; of others nothing is kept. Nor is anything in a
    partition that was ``read_on`` and is to be read from its beginning by now.
    """
    connection.execute(
        _KEEP,
        {
            "partitions": list(known),
            "positions": [position for position, _ in known.values()],
            "offsets": [offset for _, offset in known.values()],
            "projections": list(projections),
            "read_on": list(read_on),
        },
    )


def read_reached(connection: Connection[Any]) -> dict[str, int]:
    """The position up to which every event is in each view, by projection, whatever partitions it is folded from."""
    return dict(connection.execute("SELECT projection, position FROM views.progress").fetchall())


def create_missing(connection: Connection[Any], projections: Sequence[Projection]) -> list[str]:
    """Create the tables that are not there, and checkpoints of the embedded log for views that have none.

    Views whose rows live in another store have no table here. Gives the names of the projections that begin anew.
    """
    created = []
    with connection.transaction():
        present = {name for name, _ in lock_checkpoints(connection, [projection.name for projection in projections])}
        outside = {name for (name,) in connection.execute("SELECT projection FROM views.logs").fetchall()}
        for projection in projections:
            table = f"{SCHEMA}.{projection.name}"
            if projection.name in present and (projection.name in outside or exists(connection, table)):
                continue
            if projection.name not in outside and not exists(connection, table):
                connection.execute(definition(projection, table))
            begin_anew(connection, projection)
            created.append(projection.name)
    return created


def begin_anew(connection: Connection[Any], projection: Projection) -> None:
    """Have the view stand before the first event of the embedded log, and nowhere else, with no dead letters."""
    connection.execute("DELETE FROM views.checkpoints WHERE projection = %s", (projection.name,))
    connection.execute(
        "INSERT INTO views.checkpoints (projection, partition, position, version) VALUES (%s, %s, 0, %s)"
        " ON CONFLICT (projection, partition) DO UPDATE SET position = 0, version = excluded.version",
        (projection.name, PARTITION, projection.version),
    )
    connection.execute("DELETE FROM views.dead_letters WHERE projection = %s", (projection.name,))


def exists(connection: Connection[Any], table: str) -> bool:
    """Whether there is such a table."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchall() == [(True,)]
