"""Communities: what they say of themselves, who is in them, and what a viewer is in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from domain.event import Id
from infra.queries.rows import Connection, Page, Slice, as_of, by_position, columns, fetch, sees, sliced
from projections.communities import Community
from projections.memberships import Membership
from projections.profiles import Profile

_COMMUNITY = columns(Community, "c")


class Member(Struct, frozen=True):
    """Somebody in a list of members, with the cursor of the item."""

    profile: Profile
    moderator: bool
    joined_at: datetime | None
    position: int


class Joined(Struct, frozen=True):
    """A community in the list of those that somebody is in, with the cursor of the item."""

    community: Community
    moderator: bool
    joined_at: datetime | None
    position: int


class BySize(Struct, frozen=True, array_like=True):
    """The place after one community in the list by size: ``members`` is how many it had as of ``position``."""

    position: int
    members: int
    community_id: Id


class Listed(Struct, frozen=True):
    """A community, as it is now, in the list by size."""

    community: Community
    cursor: BySize


async def by_ids(connection: Connection, viewer_id: Id | None, community_ids: Sequence[Id]) -> list[Community]:
    """Those of the communities that exist and that the viewer may see. Primary key."""
    sql = f"""SELECT {_COMMUNITY} FROM views.communities c
        WHERE c.community_id = ANY(%(ids)s::uuid[]) AND c.created_at IS NOT NULL AND {_seen_or_invited()}"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(community_ids)}, Community)


async def with_standings(
    connection: Connection, viewer_id: Id | None, community_ids: Sequence[Id]
) -> list[tuple[Community, Membership | None]]:
    """The same with the viewer's standing in each, where it has one. Primary keys."""
    sql = f"""SELECT {_COMMUNITY}, {columns(Membership, "v")} FROM views.communities c
        LEFT JOIN views.memberships v ON v.community_id = c.community_id AND v.account_id = %(viewer)s::uuid
        WHERE c.community_id = ANY(%(ids)s::uuid[]) AND c.created_at IS NOT NULL
        AND (c.visibility <> 'private' OR v.account_id IS NOT NULL)"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(community_ids)}, _with_standing)


def _with_standing(*values: Any) -> tuple[Community, Membership | None]:
    width = len(Community.__struct_fields__)
    standing = values[width:]
    return Community(*values[:width]), None if standing[0] is None else Membership(*standing)


async def by_names(connection: Connection, viewer_id: Id | None, names: Sequence[str]) -> list[Community]:
    """The same by name, without regard to case. Index on ``lower(name)``."""
    sql = f"""SELECT {_COMMUNITY} FROM views.communities c
        WHERE lower(c.name) = ANY(SELECT lower(n) FROM unnest(%(names)s::text[]) n)
        AND c.created_at IS NOT NULL AND {_seen_or_invited()}"""
    return await fetch(connection, sql, {"viewer": viewer_id, "names": list(names)}, Community)


def _seen_or_invited() -> str:
    """Who is invited to a private community sees what it is, to join it; its posts come with joining."""
    return """(c.visibility <> 'private' OR EXISTS (SELECT FROM views.memberships m
        WHERE m.community_id = c.community_id AND m.account_id = %(viewer)s::uuid))"""


async def listing(
    connection: Connection, viewer_id: Id | None, *, size: int, after: BySize | None = None, backward: bool = False
) -> Page[Listed]:
    """The communities that the viewer may see, the largest first, as of the first page. Index (members, community_id).

    Who joined and left since is taken back from the sizes of those few communities. One that was founded since had no
    members then, which a founder never leaves behind, and is in no later page; one that an import brought since may
    come at the end.
    """
    direction, compare = ("ASC", ">") if backward else ("DESC", "<")
    far = BySize(0, -1, Id("00000000-0000-0000-0000-000000000000"))
    near = BySize(0, 2**63 - 1, Id("ffffffff-ffff-ffff-ffff-ffffffffffff"))
    at = after or (far if backward else near)
    seen = f"c.created_at IS NOT NULL AND {sees('c.community_id')}"
    sql = f"""WITH {as_of("communities", "member_changes", counts="communities")}, moved AS MATERIALIZED (
            SELECT x.community_id, sum(x.change)::bigint AS change FROM views.member_changes x
            WHERE x.position > (SELECT p FROM at) AND x.position <= (SELECT head FROM at) GROUP BY x.community_id)
        SELECT (SELECT p FROM at), g.size, {columns(Community, "g")} FROM (
            (SELECT c.members AS size, c.* FROM views.communities c
            WHERE (c.members, c.community_id) {compare} (%(members)s, %(id)s::uuid)
            AND NOT EXISTS (SELECT FROM moved m WHERE m.community_id = c.community_id)
            AND (c.imported OR c.members > 0) AND {seen}
            ORDER BY c.members {direction}, c.community_id {direction} LIMIT %(limit)s)
            UNION ALL
            (SELECT c.members - m.change AS size, c.* FROM moved m JOIN views.communities c USING (community_id)
            WHERE (c.members - m.change, c.community_id) {compare} (%(members)s, %(id)s::uuid)
            AND (c.imported OR c.members > m.change) AND {seen})) g
        ORDER BY g.size {direction}, g.community_id {direction} LIMIT %(limit)s"""
    parameters = {
        "viewer": viewer_id,
        "position": None if after is None else after.position,
        "members": at.members,
        "id": at.community_id,
        "limit": size + 1,
    }
    rows = await fetch(connection, sql, parameters, _as_listed)
    return sliced(rows, Slice(size, None if after is None else after.members, backward))


def _as_listed(position: int, size: int, *values: Any) -> Listed:
    community = Community(*values)
    return Listed(community, BySize(position, size, community.community_id))


async def memberships(connection: Connection, account_id: Id, community_ids: Sequence[Id]) -> list[Membership]:
    """The account's standing in each of the communities where it has one. Primary key."""
    sql = f"""SELECT {columns(Membership, "m")} FROM views.memberships m
        WHERE m.account_id = %(account)s::uuid AND m.community_id = ANY(%(ids)s::uuid[])"""
    return await fetch(connection, sql, {"account": account_id, "ids": list(community_ids)}, Membership)


async def joined(connection: Connection, viewer_id: Id | None, account_id: Id, where: Slice) -> Page[Joined]:
    """The communities that the account is in, of those the viewer sees, last joined first.

    Index (account_id, position).
    """
    condition, order, parameters = by_position(where, "m.position")
    sql = f"""SELECT m.moderator, m.joined_at, m.position, {_COMMUNITY}
        FROM views.memberships m JOIN views.communities c USING (community_id)
        WHERE m.account_id = %(account)s::uuid AND m.joined AND c.created_at IS NOT NULL
        AND {sees("c.community_id")} AND {condition} {order}"""
    rows = await fetch(connection, sql, {"viewer": viewer_id, "account": account_id, **parameters}, _as_joined)
    return sliced(rows, where)


def _as_joined(moderator: bool, joined_at: datetime | None, position: int, *community: object) -> Joined:
    return Joined(Community(*community), moderator, joined_at, position)  # type: ignore[arg-type]


async def members(
    connection: Connection, viewer_id: Id | None, community_id: Id, where: Slice, *, moderators: bool = False
) -> Page[Member]:
    """Who is in the community, or moderates it, last joined first. Index (community_id, position) of members."""
    condition, order, parameters = by_position(where, "m.position")
    only = "AND m.moderator" if moderators else ""
    sql = f"""SELECT m.moderator, m.joined_at, m.position, {columns(Profile, "p")}
        FROM views.memberships m JOIN views.profiles p ON p.account_id = m.account_id
        WHERE m.community_id = %(community)s::uuid AND m.joined {only} AND p.created_at IS NOT NULL
        AND {sees("m.community_id")} AND {condition} {order}"""
    rows = await fetch(connection, sql, {"viewer": viewer_id, "community": community_id, **parameters}, _as_member)
    return sliced(rows, where)


def _as_member(moderator: bool, joined_at: datetime | None, position: int, *profile: object) -> Member:
    return Member(Profile(*profile), moderator, joined_at, position)  # type: ignore[arg-type]
