"""From the embedded log to a fleet's partitions and back: which checkpoints the views have.

A view stands either at one checkpoint of the embedded log or at one in each partition of the topics that hold its
events. The way there is always open. The way back is open while the view stands at one position of the log, which a
rebuild from the event store brings about.
"""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Connection

from infra.rows import PARTITION, create_missing, lock_checkpoints
from projections.core import Projection
from schemas.topics import partitions_of

REBUILD: Final = "moot projections rebuild --all"
"""What makes views stand at one position again."""

_LOCK: Final = 0x6D6F6F74_70617274
"""PostgreSQL's advisory lock of whoever changes which checkpoints there are: ``mootpart`` in ASCII."""


class PartitionsFailure(Exception):
    """The checkpoints are not such that the views can be kept up to date this way. The message says what to do."""


class FleetUnsettled(PartitionsFailure):
    """Views were left by a fleet with some partitions further than others: the embedded log has no such place."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"a fleet left these views with some partitions further than others: {', '.join(names)}. "
            f"Start the fleet again to let it finish, or run: {REBUILD}"
        )
        self.names = names


class PartitionsMissing(PartitionsFailure):
    """A view lacks the checkpoints of some partitions that its version is folded from."""

    def __init__(self, name: str, missing: Sequence[int]) -> None:
        super().__init__(
            f"{name} has no checkpoints in the partitions {', '.join(map(str, missing))}, so it is not known what it "
            f"holds of them. Run: {REBUILD}"
        )


def enter_fleet(connection: Connection[Any], projections: Sequence[Projection]) -> None:
    """Have all these views stand in the partitions of their topics; those that are not there are made, empty.

    In one transaction: the runner of the embedded log loses its checkpoints at once, and what it folds then is undone.
    Each partition starts where the view stood; events up to there that are read again are dropped. Any number of
    workers may do it at the same time. Raises ``PartitionsMissing``.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        create_missing(connection, projections)
        checkpoints = lock_checkpoints(connection, [projection.name for projection in projections])
        for projection in projections:
            wanted = partitions_of(projection.handlers)
            present = {partition: at for (name, partition), at in checkpoints.items() if name == projection.name}
            embedded = present.pop(PARTITION, None)
            missing = [partition for partition in wanted if partition not in present]
            if embedded is None and missing and next(iter(present.values())).version == projection.version:
                raise PartitionsMissing(projection.name, missing)
            # Where a rebuild by this version is due it sets all of them, so until then they only have to be there.
            connection.execute(
                """INSERT INTO views.checkpoints
                    (projection, partition, position, version, previous_version, previous_position, built_at)
                    SELECT c.projection, m.partition, c.position, c.version, c.previous_version, c.previous_position,
                        c.built_at
                    FROM unnest(%s::integer[]) AS m(partition) CROSS JOIN (
                        SELECT * FROM views.checkpoints WHERE projection = %s
                        ORDER BY partition <> %s, position LIMIT 1) c""",
                (missing, projection.name, PARTITION),
            )
            # Workers of another version go on with the partitions that they know.
            connection.execute(
                "DELETE FROM views.checkpoints WHERE projection = %s AND partition <> ALL(%s)"
                " AND (partition = %s OR version = %s)",
                (projection.name, wanted, PARTITION, projection.version),
            )


def leave_fleet(connection: Connection[Any], projections: Sequence[Projection]) -> list[str]:
    """Have those of the views that a fleet kept stand in the embedded log; gives their names.

    In one transaction, and all or none. Raises ``FleetUnsettled`` when some do not stand at one position.
    """
    names = [projection.name for projection in projections]
    with connection.transaction():
        found = connection.execute(
            "SELECT DISTINCT projection FROM views.checkpoints WHERE projection = ANY(%s) AND partition <> %s",
            (names, PARTITION),
        ).fetchall()
        if not found:
            return []
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        lock_checkpoints(connection, names)
        left = [name for (name,) in found]
        unsettled = connection.execute(
            "SELECT projection FROM views.progress WHERE projection = ANY(%s) AND front > position ORDER BY projection",
            (left,),
        ).fetchall()
        if unsettled:
            raise FleetUnsettled([name for (name,) in unsettled])
        # The table kept to go back to may have stood at several positions too: then there is no way back to it.
        connection.execute(
            """WITH gone AS (DELETE FROM views.checkpoints WHERE projection = ANY(%s) RETURNING *)
                INSERT INTO views.checkpoints
                    (projection, partition, position, version, previous_version, previous_position, built_at)
                SELECT g.projection, %s, p.position, p.version,
                    CASE WHEN min(g.previous_position) = max(g.previous_position) THEN min(g.previous_version) END,
                    CASE WHEN min(g.previous_position) = max(g.previous_position) THEN min(g.previous_position) END,
                    min(g.built_at)
                FROM gone g JOIN views.progress p USING (projection)
                GROUP BY g.projection, p.position, p.version""",
            (left, PARTITION),
        )
    return sorted(left)
