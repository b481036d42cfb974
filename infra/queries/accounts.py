"""People: who they are, whom they follow and block, what they earned, and what they were told."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from domain.event import Id
from infra.queries.rows import (
    Connection,
    Page,
    Slice,
    Told,
    as_of,
    by_position,
    columns,
    fetch,
    not_blocked,
    sees,
    sees_known,
    sliced,
    told,
)
from projections.blocks import Block
from projections.follows import Follow
from projections.karma import Karma
from projections.notifications import Notification
from projections.profiles import Profile

_PROFILE = columns(Profile, "p")


class Related(Struct, frozen=True):
    """Somebody in a list of people: since when, and the cursor of the item."""

    profile: Profile
    since: datetime
    position: int


class TotalKarma(Struct, frozen=True):
    """What somebody earned in all communities that the viewer sees together."""

    account_id: Id
    post_karma: int
    comment_karma: int


async def by_ids(connection: Connection, account_ids: Sequence[Id]) -> list[Profile]:
    """Those of the accounts that exist. Primary key."""
    sql = f"""SELECT {_PROFILE} FROM views.profiles p
        WHERE p.account_id = ANY(%(ids)s::uuid[]) AND p.created_at IS NOT NULL"""
    return await fetch(connection, sql, {"ids": list(account_ids)}, Profile)


async def by_names(connection: Connection, names: Sequence[str]) -> list[Profile]:
    """Those of the accounts that exist, by name without regard to case. Index on ``lower(name)``."""
    sql = f"""SELECT {_PROFILE} FROM views.profiles p
        WHERE lower(p.name) = ANY(SELECT lower(n) FROM unnest(%(names)s::text[]) n) AND p.created_at IS NOT NULL"""
    return await fetch(connection, sql, {"names": list(names)}, Profile)


async def followed_by(connection: Connection, viewer_id: Id, account_ids: Sequence[Id]) -> list[Follow]:
    """Which of the accounts the viewer follows. Primary key."""
    sql = f"""SELECT {columns(Follow, "f")} FROM views.follows f
        WHERE f.follower_id = %(viewer)s::uuid AND f.followed_id = ANY(%(ids)s::uuid[])"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(account_ids)}, Follow)


async def blocked_by(connection: Connection, viewer_id: Id, account_ids: Sequence[Id]) -> list[Block]:
    """Which of the accounts the viewer blocks. Primary key."""
    sql = f"""SELECT {columns(Block, "b")} FROM views.blocks b
        WHERE b.blocker_id = %(viewer)s::uuid AND b.blocked_id = ANY(%(ids)s::uuid[])"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(account_ids)}, Block)


async def blockers(
    connection: Connection, account_ids: Collection[Id], limit: int
) -> Mapping[Id, Collection[Id]] | None:
    """Who blocks each of the accounts; ``None`` where these are more than ``limit``. Index (blocked_id, blocker_id)."""
    sql = """SELECT b.blocked_id, b.blocker_id FROM views.blocks b
        WHERE b.blocked_id = ANY(%(ids)s::uuid[]) LIMIT %(limit)s"""
    found = await fetch(connection, sql, {"ids": list(account_ids), "limit": limit + 1}, lambda *row: row)
    if len(found) > limit:
        return None
    of: dict[Id, set[Id]] = {}
    for blocked_id, blocker_id in found:
        of.setdefault(blocked_id, set()).add(blocker_id)
    return of


async def followers(connection: Connection, account_id: Id, where: Slice) -> Page[Related]:
    """Who follows the account, the newest first. Index (followed_id, position)."""
    return await _related(connection, "follows", "followed_id", "follower_id", account_id, where)


async def following(connection: Connection, account_id: Id, where: Slice) -> Page[Related]:
    """Whom the account follows, the newest first. Index (follower_id, position)."""
    return await _related(connection, "follows", "follower_id", "followed_id", account_id, where)


async def blocks(connection: Connection, viewer_id: Id, where: Slice) -> Page[Related]:
    """Whom the viewer blocks, the newest first; for the viewer's eyes only. Index (blocker_id, position)."""
    return await _related(connection, "blocks", "blocker_id", "blocked_id", viewer_id, where)


async def _related(
    connection: Connection, table: str, whose: str, who: str, account_id: Id, where: Slice
) -> Page[Related]:
    condition, order, parameters = by_position(where, "r.position")
    sql = f"""SELECT r.since, r.position, {_PROFILE}
        FROM views.{table} r JOIN views.profiles p ON p.account_id = r.{who}
        WHERE r.{whose} = %(account)s::uuid AND p.created_at IS NOT NULL AND {condition} {order}"""
    rows = await fetch(connection, sql, {"account": account_id, **parameters}, _as_related)
    return sliced(rows, where)


def _as_related(since: datetime, position: int, *profile: object) -> Related:
    return Related(Profile(*profile), since, position)  # type: ignore[arg-type]


async def karma(connection: Connection, viewer_id: Id | None, account_ids: Sequence[Id]) -> list[TotalKarma]:
    """What each of the accounts earned in communities that the viewer sees; one that earned nothing is left out.

    Primary key, by its first column.
    """
    sql = f"""SELECT k.account_id, sum(k.post_karma)::bigint, sum(k.comment_karma)::bigint FROM views.karma k
        WHERE k.account_id = ANY(%(ids)s::uuid[]) AND {sees("k.community_id")} GROUP BY k.account_id"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(account_ids)}, TotalKarma)


async def karma_by_community(
    connection: Connection, viewer_id: Id | None, account_id: Id, *, first: int
) -> list[Karma]:
    """Where the account earned most, for whom sees those communities; at most ``first``. Primary key."""
    sql = f"""SELECT {columns(Karma, "k")} FROM views.karma k
        WHERE k.account_id = %(account)s::uuid AND {sees("k.community_id")}
        ORDER BY k.post_karma + k.comment_karma DESC, k.community_id LIMIT %(limit)s"""
    return await fetch(connection, sql, {"viewer": viewer_id, "account": account_id, "limit": first}, Karma)


async def notifications(connection: Connection, viewer_id: Id, where: Slice) -> Page[Notification]:
    """Who replied to the viewer, the newest first. Primary key.

    Left out are replies by people whom the viewer blocks, those that are deleted, and those in a community that the
    viewer does not see any more.
    """
    condition, order, parameters = by_position(where, "n.position")
    sql = f"SELECT {columns(Notification, 'n')} {_notifications(condition)} {order}"
    rows = await fetch(connection, sql, {"viewer": viewer_id, **parameters}, Notification)
    return sliced(rows, where)


async def notifications_since(connection: Connection, viewer_id: Id, position: int, limit: int) -> Told[Notification]:
    """At most ``limit`` replies to the viewer after that position, the oldest first; the same left out. Primary key."""
    condition, order, parameters = by_position(Slice(limit - 1, position), "n.position", newest_first=False)
    sql = f"""WITH {as_of("notifications", "communities")}
        SELECT n.position <= (SELECT p FROM at), {columns(Notification, "n")} {_notifications(condition)} {order}"""
    return await told(connection, sql, {"viewer": viewer_id, "position": None, **parameters}, Notification)


def _notifications(condition: str) -> str:
    # The view of comments may be behind; then the post says where it was, and a follower still hears of the reply.
    return f"""FROM views.notifications n
        LEFT JOIN views.comments c USING (comment_id) LEFT JOIN views.posts p ON p.post_id = n.post_id
        WHERE n.account_id = %(viewer)s::uuid AND {condition} AND {not_blocked("n.actor_id")}
        AND c.deleted IS NOT TRUE AND {sees_known("coalesce(c.community_id, p.community_id)")}"""
