"""How far views have come, and which events touch a subject."""

from collections.abc import Sequence

from domain.event import Id
from infra.queries.rows import Connection, columns, fetch
from projections.subjects import Subject


async def checkpoint(connection: Connection, projections: Sequence[str]) -> int:
    """The position that all of those views have reached; 0 where one of them never ran."""
    (position,) = await fetch(connection, "SELECT views.reached(%(names)s::text[])", {"names": list(projections)}, int)
    return position


async def positions(connection: Connection, subject_id: Id, *, after: int = 0, limit: int = 10_000) -> list[int]:
    """At most ``limit`` positions of events that touch the subject, ascending. For operators only. Primary key.

    They lead from anybody to everything that they did, so nothing of it may reach another person.
    """
    sql = f"""SELECT {columns(Subject, "s")} FROM views.subjects s
        WHERE s.subject_id = %(subject)s::uuid AND s.bucket >= %(bucket)s ORDER BY s.bucket LIMIT %(limit)s"""
    parameters = {"subject": subject_id, "bucket": Subject.bucket_of(after), "limit": limit}
    found = await fetch(connection, sql, parameters, Subject)
    return [position for bucket in found for position in bucket.positions if position > after][:limit]
