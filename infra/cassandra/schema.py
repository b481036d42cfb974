"""What ``moot migrate`` makes of ``schemas/cql``: the keyspace, and the tables of the views that live in it.

PostgreSQL knows which table is whose (``views.logs``), under names that are never used twice: so several databases may
share a keyspace, and a table that is not known there is of no view.
"""

from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from psycopg import Connection

from infra.cassandra.log import LogStore
from infra.cassandra.tables import new_name
from infra.rows import begin_anew, lock_checkpoints
from projections.core import Projection

if TYPE_CHECKING:
    from infra.cassandra.client import CassandraClient

_LOCK: Final = 0x6D6F6F74_6C6F6773
"""PostgreSQL's advisory lock of whoever makes tables in Cassandra: ``mootlogs`` in ASCII. When two change its schema at
the same time some nodes may know one change, and some the other."""


def keyspace_missing(client: "CassandraClient") -> bool:
    """Whether it is not there yet. Raises ``CassandraError``."""
    return client.replication() is None


def make_keyspace(client: "CassandraClient") -> None:
    """Make it unless it is there; what it is like then is not changed. Raises ``CassandraError``."""
    text = files("schemas").joinpath("cql", "keyspace.cql").read_text("utf-8")
    for name, value in (("keyspace", client.keyspace), ("replicas", str(client.limits.replicas))):
        text = text.replace("{" + name + "}", value)
    client.change_schema(text)


def missing(log: LogStore, connection: Connection[Any], projections: Iterable[Projection]) -> list[str]:
    """Those of the views that have no table in the keyspace, though they live in the message log."""
    row = connection.execute("SELECT to_regclass('views.logs') IS NOT NULL").fetchone()
    known = row is not None and row[0]
    found = dict(connection.execute("SELECT projection, live FROM views.logs").fetchall()) if known else {}
    there = tables(log.client)
    return [one.name for one in projections if one.message_log and found.get(one.name) not in there]


def make_missing(log: LogStore, connection: Connection[Any], projections: Iterable[Projection]) -> list[str]:
    """Make the tables of ``missing``, empty. These views begin anew, and have no table in PostgreSQL any more.

    Raises ``CassandraError``.
    """
    made = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        names = missing(log, connection, projections := list(projections))
        lock_checkpoints(connection, names)
        for projection in projections:
            if projection.name not in names:
                continue
            table = log.named(projection, new_name(projection))
            log.client.change_schema(table.definition())
            connection.execute(
                "INSERT INTO views.logs (projection, live) VALUES (%s, %s)"
                " ON CONFLICT (projection) DO UPDATE SET live = excluded.live, previous = NULL, making = NULL",
                (projection.name, table.name.rpartition(".")[2]),
            )
            begin_anew(connection, projection)
            connection.execute(f"DROP TABLE IF EXISTS views.{projection.name}".encode())
            made.append(projection.name)
    return made


def tables(client: "CassandraClient") -> set[str]:
    """All tables of the keyspace."""
    found = client.run("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", [client.keyspace])
    return {name for (name,) in found}
