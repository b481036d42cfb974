"""What subscriptions read: rows of one topic after a position, for all who watch it at once, and who may see them.

Rows are read once for all watchers, so nothing here is filtered by a viewer; ``admitted`` and ``blocks`` say who gets
what. Only notifications, which have no other viewer than whose they are, come as that one may see them.
"""

from collections.abc import Collection

from domain.event import Id
from infra.queries import accounts
from infra.queries.rows import Connection, Told, array, as_of, columns, fetch, told
from projections.comments import Comment
from projections.notifications import Notification
from projections.posts import Post
from projections.scores import Score


async def score_after(connection: Connection, target_id: Id, position: int) -> Score | None:
    """The votes on the post or comment if they changed after that position. Primary key."""
    sql = f"""SELECT {columns(Score, "s")} FROM views.scores s
        WHERE s.target_id = %(id)s::uuid AND s.position > %(position)s"""
    found = await fetch(connection, sql, {"id": target_id, "position": position}, Score)
    return found[0] if found else None


async def comments_start(connection: Connection, post_id: Id) -> int:
    """A position up to which every comment below the post is there, and after which none is. Index.

    All of a post comes from one partition, so what is there of it may be ahead of what all views have reached.
    """
    sql = """SELECT greatest(views.reached(ARRAY['comments']),
        (SELECT max(c.position) FROM views.comments c WHERE c.post_id = %(id)s::uuid))"""
    (position,) = await fetch(connection, sql, {"id": post_id}, int)
    return position


async def comments_after(connection: Connection, post_id: Id, position: int, limit: int) -> list[Comment]:
    """At most ``limit`` comments below the post after that position, the first first. Index (post_id, position)."""
    sql = f"""SELECT {columns(Comment, "c")} FROM views.comments c
        WHERE c.post_id = %(id)s::uuid AND c.position > %(position)s AND c.submitted_at IS NOT NULL AND NOT c.deleted
        ORDER BY c.position LIMIT %(limit)s"""
    return await fetch(connection, sql, {"id": post_id, "position": position, "limit": limit}, Comment)


async def posts_after(connection: Connection, community_id: Id, position: int, limit: int) -> Told[Post]:
    """At most ``limit`` posts of the community after that position, the first first. Index (community_id, position)."""
    sql = f"""WITH {as_of("posts")} SELECT p.position <= (SELECT p FROM at), {columns(Post, "p")} FROM views.posts p
        WHERE p.community_id = %(id)s::uuid AND p.position > %(after)s
        AND p.submitted_at IS NOT NULL AND NOT p.deleted
        ORDER BY p.position LIMIT %(limit)s"""
    parameters = {"id": community_id, "position": None, "after": position, "limit": limit}
    return await told(connection, sql, parameters, Post)


async def notifications_after(connection: Connection, account_id: Id, position: int, limit: int) -> Told[Notification]:
    """At most ``limit`` replies to the account after that position that it may see, the first first. Primary key."""
    return await accounts.notifications_since(connection, account_id, position, limit)


async def admitted(
    connection: Connection, community_id: Id, viewers: Collection[Id | None]
) -> Collection[Id | None] | None:
    """Those of the viewers (``None``: a visitor) who may see what is in the community; all of them: ``None``.

    None of them as long as it is not known what the community is. Primary keys.
    """
    sql = """SELECT c.visibility <> 'private', ARRAY(
            SELECT m.account_id FROM views.memberships m
            WHERE c.visibility = 'private' AND m.community_id = c.community_id
            AND m.account_id = ANY(%(viewers)s::uuid[]) AND (m.joined OR m.moderator))
        FROM views.communities c WHERE c.community_id = %(id)s::uuid AND c.created_at IS NOT NULL"""
    known = [viewer for viewer in viewers if viewer is not None]
    for everybody, members in await fetch(connection, sql, {"id": community_id, "viewers": known}, lambda *row: row):
        return None if everybody else frozenset(members)
    return frozenset()


async def blocks(
    connection: Connection, viewers: Collection[Id | None], authors: Collection[Id]
) -> Collection[tuple[Id | None, Id]]:
    """Which of the viewers blocks which of the authors; of others it may tell too.

    Who blocks these authors or, where those are more than the viewers, which of the viewers do. Index, or primary key.
    """
    known = [viewer for viewer in viewers if viewer is not None]
    if not known or not authors:
        return ()
    blockers = await accounts.blockers(connection, authors, len(known))
    if blockers is not None:
        return {(one, author_id) for author_id, ids in blockers.items() for one in ids}
    sql = """SELECT b.blocker_id, b.blocked_id FROM views.blocks b
        WHERE b.blocker_id = ANY(%(viewers)s::uuid[]) AND b.blocked_id = ANY(%(authors)s::uuid[])"""
    return set(await fetch(connection, sql, {"viewers": array(known), "authors": list(authors)}, lambda *row: row))
