"""The views themselves: how far each has come, how large it is, what it could not take; and the way back."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import Connection

from infra.cassandra.log import LogStore
from infra.rows import exists, lock_checkpoints
from infra.tables import SCHEMA
from projections.core import Projection


class ViewStatus(Struct, frozen=True):
    """One view. ``version`` is declared, ``built_version`` is what the table was built by (``None``: no table yet).

    ``rows`` and ``bytes`` (indexes included) are PostgreSQL's own estimate and measure; ``None`` of a view that is
    ``in_cassandra``, which could tell only by reading all of it. ``previous_version`` is of the table kept to go back
    to.
    """

    name: str
    version: int
    built_version: int | None
    position: int
    lag_events: int
    in_cassandra: bool
    rows: int | None
    bytes: int | None
    parked: int
    previous_version: int | None
    built_at: datetime | None

    @property
    def stale(self) -> bool:
        """Whether it must be rebuilt before it is kept up to date again."""
        return self.built_version is not None and self.built_version != self.version


class NoPrevious(LookupError):
    """There is no earlier table of the view to go back to."""


def list_views(connection: Connection[Any], projections: Iterable[Projection], head: int) -> list[ViewStatus]:
    """The state of each view, given the position of the newest event."""
    found = {
        row[0]: row[1:]
        for row in connection.execute(
            "SELECT p.projection, p.version, p.position, c.previous_version, c.built_at,"
            " l.projection IS NOT NULL, greatest(t.reltuples, s.n_live_tup, 0)::bigint,"
            " coalesce(pg_total_relation_size(t.oid), 0),"
            " (SELECT count(*) FROM views.dead_letters d WHERE d.projection = p.projection)"
            " FROM views.progress p JOIN (SELECT projection, min(previous_version) AS previous_version,"
            " min(built_at) AS built_at FROM views.checkpoints GROUP BY projection) c USING (projection)"
            " LEFT JOIN views.logs l USING (projection)"
            " LEFT JOIN pg_class t ON t.oid = to_regclass(%s || '.' || p.projection)"
            " LEFT JOIN pg_stat_user_tables s ON s.relid = t.oid",
            (SCHEMA,),
        ).fetchall()
    }
    states = []
    for projection in projections:
        name, declared = projection.name, projection.version
        if name not in found:
            states.append(ViewStatus(name, declared, None, 0, head, False, 0, 0, 0, None, None))
            continue
        built, position, previous, built_at, outside, rows, size, parked = found[name]
        if outside:
            rows = size = None
        lag = max(head - position, 0)
        states.append(ViewStatus(name, declared, built, position, lag, outside, rows, size, parked, previous, built_at))
    return states


def roll_back(
    connection: Connection[Any],
    projection: Projection,
    *,
    lock_seconds: float = 1.0,
    message_log: LogStore | None = None,
) -> int:
    """Put the table before the last rebuild back in its place; the position it stands at.

    The runner or the workers take it up from there if the declaration is of that table's version; otherwise they
    leave it as it is. Raises ``NoPrevious``, and ``psycopg.errors.LockNotAvailable`` when readers are in the way for
    too long.
    """
    name = projection.name
    live, previous, aside = f"{SCHEMA}.{name}", f"{SCHEMA}.{name}_previous", f"{SCHEMA}.{name}_aside"
    with connection.transaction():
        lock_checkpoints(connection, [name])
        row = connection.execute(
            "SELECT count(*) = count(previous_version), min(previous_position) FROM views.checkpoints"
            " WHERE projection = %s",
            (name,),
        ).fetchone()
        log = message_log if projection.message_log else None
        there = exists(connection, previous) if log is None else log.has_previous(connection, projection)
        if row is None or not row[0] or row[1] is None or not there:
            raise NoPrevious(f"{name} was not rebuilt since its table was made, so there is nothing to go back to")
        connection.execute(f"SET LOCAL lock_timeout = {int(lock_seconds * 1000)}".encode())
        if log is None:
            connection.execute(f"ALTER TABLE {live} RENAME TO {name}_aside".encode())
            connection.execute(f"ALTER TABLE {previous} RENAME TO {name}".encode())
            connection.execute(f"DROP TABLE {aside}".encode())
        else:
            log.go_back(connection, projection)
        connection.execute(
            "UPDATE views.checkpoints SET version = previous_version, position = previous_position,"
            ' previous_version = NULL, previous_position = NULL, "offset" = NULL WHERE projection = %s',
            (name,),
        )
        connection.execute("DELETE FROM views.dead_letters WHERE projection = %s", (name,))
        connection.execute(
            "UPDATE views.dead_letters SET projection = %s WHERE projection = %s", (name, f"{name}_previous")
        )
    if log is not None:
        log.drop_left(connection, projection)
    return int(row[1])
