"""Posts and comments by id, by author and since a position; what a viewer voted and saved; scores."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct

from domain.event import Id
from infra.queries.rows import Connection, Page, Slice, by_position, columns, fetch, sees_known, sliced
from projections.comments import Comment
from projections.core import Row
from projections.feed import FeedPost
from projections.posts import Post
from projections.saved import Saved
from projections.scores import Score
from projections.votes import Vote

_POST = columns(Post, "p")
_COMMENT = columns(Comment, "c")

Item = TypeVar("Item", bound=Row)


class ByTime(Struct, frozen=True, array_like=True):
    """The cursor of a list ordered by time of submission."""

    submitted_at: datetime
    id: Id


NEWEST = ByTime(datetime.max.replace(tzinfo=UTC), Id("ffffffff-ffff-ffff-ffff-ffffffffffff"))
OLDEST = ByTime(datetime.min.replace(tzinfo=UTC), Id("00000000-0000-0000-0000-000000000000"))


async def posts(connection: Connection, viewer_id: Id | None, post_ids: Sequence[Id]) -> list[Post]:
    """Those of the posts that exist and whose community the viewer may see, deleted ones included. Primary key."""
    sql = f"""SELECT {_POST} FROM views.posts p WHERE p.post_id = ANY(%(ids)s::uuid[])
        AND p.submitted_at IS NOT NULL AND {sees_known("p.community_id")}"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(post_ids)}, Post)


async def comments(connection: Connection, viewer_id: Id | None, comment_ids: Sequence[Id]) -> list[Comment]:
    """Those of the comments that exist and whose community the viewer may see, deleted ones included. Primary key."""
    sql = f"""SELECT {_COMMENT} FROM views.comments c WHERE c.comment_id = ANY(%(ids)s::uuid[])
        AND c.submitted_at IS NOT NULL AND {sees_known("c.community_id")}"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(comment_ids)}, Comment)


async def standings(connection: Connection, post_ids: Sequence[Id]) -> list[FeedPost]:
    """Votes on, and number of comments of, each of the posts. Primary key.

    Whether they may be seen was asked before.
    """
    sql = f"SELECT {columns(FeedPost, 'f')} FROM views.feed f WHERE f.post_id = ANY(%(ids)s::uuid[])"
    return await fetch(connection, sql, {"ids": list(post_ids)}, FeedPost)


async def scores(connection: Connection, target_ids: Sequence[Id]) -> list[Score]:
    """The votes on each of the posts and comments; one without any is left out. Primary key.

    Whether they may be seen was asked before. ``position`` is the cursor of a subscription.
    """
    sql = f"SELECT {columns(Score, 's')} FROM views.scores s WHERE s.target_id = ANY(%(ids)s::uuid[])"
    return await fetch(connection, sql, {"ids": list(target_ids)}, Score)


async def votes(connection: Connection, viewer_id: Id, target_ids: Sequence[Id]) -> list[Vote]:
    """What the viewer voted on each of the posts and comments, where it did. Primary key."""
    sql = f"""SELECT {columns(Vote, "v")} FROM views.votes v
        WHERE v.voter_id = %(viewer)s::uuid AND v.target_id = ANY(%(ids)s::uuid[])"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(target_ids)}, Vote)


async def saved(connection: Connection, viewer_id: Id, target_ids: Sequence[Id]) -> list[Saved]:
    """Which of the posts and comments the viewer has saved. Primary key."""
    sql = f"""SELECT {columns(Saved, "s")} FROM views.saved s
        WHERE s.account_id = %(viewer)s::uuid AND s.target_id = ANY(%(ids)s::uuid[])"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(target_ids)}, Saved)


async def saved_list(connection: Connection, viewer_id: Id, where: Slice) -> Page[Saved]:
    """What the viewer has saved and may still see, last saved first. Index (account_id, position)."""
    condition, order, parameters = by_position(where, "s.position")
    sql = f"""SELECT {columns(Saved, "s")} FROM views.saved s
        LEFT JOIN views.posts p ON s.target = 'post' AND p.post_id = s.target_id
        LEFT JOIN views.comments c ON s.target = 'comment' AND c.comment_id = s.target_id
        WHERE s.account_id = %(viewer)s::uuid AND {condition}
        AND coalesce(p.submitted_at, c.submitted_at) IS NOT NULL
        AND {sees_known("coalesce(p.community_id, c.community_id)")} {order}"""
    return sliced(await fetch(connection, sql, {"viewer": viewer_id, **parameters}, Saved), where)


async def posts_of(
    connection: Connection,
    viewer_id: Id | None,
    author_id: Id,
    *,
    size: int,
    cursor: ByTime | None = None,
    backward: bool = False,
) -> Page[Post]:
    """The account's posts that the viewer may see, the newest first; anonymous ones for the author alone.

    Not even a moderator is given an anonymous post in the list of its author: there, any post would name whoever
    wrote it. Index (author_id, submitted_at, post_id). The cursor of an item is ``ByTime(submitted_at, post_id)``.
    """
    where = "(NOT p.anonymous OR p.author_id = %(viewer)s::uuid)"
    return await _by_author(connection, Post, "posts", "post_id", where, viewer_id, author_id, size, cursor, backward)


async def comments_of(
    connection: Connection,
    viewer_id: Id | None,
    author_id: Id,
    *,
    size: int,
    cursor: ByTime | None = None,
    backward: bool = False,
) -> Page[Comment]:
    """The account's comments that the viewer may see, the newest first. Index (author_id, submitted_at, comment_id)."""
    return await _by_author(
        connection, Comment, "comments", "comment_id", "true", viewer_id, author_id, size, cursor, backward
    )


async def _by_author(
    connection: Connection,
    row: type[Item],
    table: str,
    key: str,
    where: str,
    viewer_id: Id | None,
    author_id: Id,
    size: int,
    cursor: ByTime | None,
    backward: bool,
) -> Page[Item]:
    direction, compare = ("ASC", ">") if backward else ("DESC", "<")
    at = cursor or (OLDEST if backward else NEWEST)
    sql = f"""SELECT {columns(row, "p")} FROM views.{table} p
        WHERE p.author_id = %(author)s::uuid AND NOT p.deleted AND {where} AND {sees_known("p.community_id")}
        AND (p.submitted_at, p.{key}) {compare} (%(time)s::timestamptz, %(id)s::uuid)
        ORDER BY p.submitted_at {direction}, p.{key} {direction} LIMIT %(limit)s"""
    parameters = {
        "viewer": viewer_id,
        "author": author_id,
        "time": at.submitted_at,
        "id": at.id,
        "limit": size + 1,
    }
    rows = await fetch(connection, sql, parameters, row)
    return sliced(rows, Slice(size, None if cursor is None else 0, backward))
