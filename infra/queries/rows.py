"""From statements to rows: columns named once, by the row class, and pages of lists in the order of the log."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct
from psycopg import AsyncConnection

from domain.event import Id

Connection = AsyncConnection[Any]

T = TypeVar("T")
R = TypeVar("R")


class Page(Struct, Generic[T], frozen=True):
    """A slice of a list, always in the list's own order, and whether there is more on either side.

    A side that was not asked about is answered from the cursor alone, as Relay allows: there is something before
    a page that begins after a cursor.
    """

    items: Sequence[T]
    has_next: bool
    has_previous: bool

    def map(self, change: Callable[[T], R]) -> "Page[R]":
        """The same page of other items."""
        return Page([change(item) for item in self.items], self.has_next, self.has_previous)


class Slice(Struct, frozen=True):
    """Which page of a list ordered by position: ``size`` items after the cursor, or before it if ``backward``.

    ``cursor`` is the position that comes with an item; ``None`` begins at the near end.
    """

    size: int
    cursor: int | None = None
    backward: bool = False


def columns(row: type[Struct], alias: str) -> str:
    """The columns of a row, qualified, in the order of its fields."""
    return ", ".join(f"{alias}.{name}" for name in row.__struct_fields__)


def array(ids: Iterable[Id]) -> str:
    """Ids as PostgreSQL reads an array of them, for a parameter that is cast: a list is converted one by one."""
    return f"{{{','.join(ids)}}}"


async def fetch(connection: Connection, sql: str, parameters: dict[str, Any], make: Callable[..., T]) -> list[T]:
    """The rows of a statement, each made of its columns in order."""
    cursor = await connection.execute(sql.encode(), parameters)
    return [make(*row) for row in await cursor.fetchall()]


class Told(Struct, Generic[T], frozen=True):
    """What there is after a position, in order, as far as nothing can come before it any more.

    ``held``: there is more, but something that comes before it may still be on its way from another partition.
    """

    rows: Sequence[T]
    held: bool


async def told(connection: Connection, sql: str, parameters: dict[str, Any], make: Callable[..., T]) -> Told[T]:
    """The rows of a statement in order of position, whose first column says whether each may be told already."""
    rows = await fetch(connection, sql, parameters, lambda may, *row: make(*row) if may else None)
    found = [row for row in rows if row is not None]
    return Told(found, len(found) < len(rows))


def sliced(rows: list[T], where: Slice) -> Page[T]:
    """The page made of rows in the direction of reading, of which one more than wanted was asked for."""
    more = len(rows) > where.size
    items = rows[: where.size]
    if where.backward:
        return Page(items[::-1], where.cursor is not None, more)
    return Page(items, more, where.cursor is not None)


def by_position(where: Slice, column: str, *, newest_first: bool = True) -> tuple[str, str, dict[str, Any]]:
    """Condition, order with limit, and parameters that read that page of a list ordered by a column of positions."""
    descending = newest_first != where.backward
    cursor = where.cursor
    if cursor is None:
        cursor = 2**63 - 1 if descending else 0
    condition = f"{column} {'<' if descending else '>'} %(cursor)s"
    order = f"ORDER BY {column} {'DESC' if descending else 'ASC'} LIMIT %(limit)s"
    return condition, order, {"cursor": cursor, "limit": where.size + 1}


NO_HEAD = 2**63 - 1
"""In place of a position: all that there is."""


def as_of(*views: str, counts: str = "feed") -> str:
    """``at``, for a ``WITH`` clause: the position ``p`` that a list is told as of, ``head``, and ``known``.

    ``p`` is that of the cursor, or the one that all those views have reached; the whole statement sees them there. What
    ``counts`` counts is taken back to ``p`` by the changes after it (``score_changes``, ``member_changes``), up to
    ``head``: the embedded runner may be ahead with these. A fleet moves both together in each partition, so there what
    changed is what was counted. ``known``: all communities that there were at ``p`` are.
    """
    names = ", ".join(f"'{view}'" for view in views)
    return f"""at AS MATERIALIZED (SELECT a.p, views.reached(ARRAY['communities']) >= a.p AS known,
        coalesce((SELECT h.position FROM views.checkpoints h WHERE h.projection = '{counts}' AND h.partition = 0),
            {NO_HEAD}) AS head
        FROM (SELECT coalesce(%(position)s::bigint, views.reached(ARRAY[{names}])) AS p) a)"""


def sees(community: str, viewer: str = "%(viewer)s") -> str:
    """The condition that the viewer may see that community. Private ones are few, and so are their members."""
    return f"""{community} NOT IN (
        SELECT c.community_id FROM views.communities c WHERE c.visibility = 'private' AND NOT EXISTS (
            SELECT FROM views.memberships m
            WHERE m.community_id = c.community_id AND m.account_id = {viewer}::uuid AND (m.joined OR m.moderator)))"""


def sees_known(community: str, viewer: str = "%(viewer)s", *, known: str = "false") -> str:
    """The same, and that it is known what the community is: its view may be behind that of what is in it.

    ``known`` is a condition, told once, that all of them are: the one of ``as_of``, where there is one.
    """
    return f"""({sees(community, viewer)} AND ({known} OR EXISTS (
        SELECT FROM views.communities k WHERE k.community_id = {community} AND k.created_at IS NOT NULL)))"""


KNOWN = "(SELECT known FROM at)"
"""The condition of ``as_of`` that every community is known."""


def not_blocked(author: str, viewer: str = "%(viewer)s") -> str:
    """The condition that the viewer does not block that author, if it is known who that is."""
    return f"""({author} IS NULL OR {author} NOT IN (
        SELECT b.blocked_id FROM views.blocks b WHERE b.blocker_id = {viewer}::uuid))"""
