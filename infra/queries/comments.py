"""The comments below a post, in pages and in any order, as of a time and a position like feeds.

A deleted comment with replies stays as a tombstone without text; one without any is not shown. Comments by people
whom the viewer blocks are not shown, nor, in a whole thread, what is below them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from msgspec import Struct

from domain.event import Id
from infra.queries import formulas
from infra.queries.rows import KNOWN, Connection, Page, as_of, columns, not_blocked, sees_known
from projections.comments import Comment
from projections.ranking import CommentSort

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MIN_ID = Id("00000000-0000-0000-0000-000000000000")
_MAX_ID = Id("ffffffff-ffff-ffff-ffff-ffffffffffff")

_AT = as_of("comments", "scores", "score_changes", counts="scores")
_UP = "coalesce(s.up, 0) - coalesce(v.up, 0)"
_DOWN = "coalesce(s.down, 0) - coalesce(v.down, 0)"
_RANKS = {
    CommentSort.BEST: formulas.best("c.up", "c.down"),
    CommentSort.TOP: f"{formulas.score('c.up', 'c.down')}::float8",
    CommentSort.CONTROVERSIAL: formulas.controversial("c.up", "c.down"),
    CommentSort.NEW: "0::float8",
    CommentSort.OLD: "0::float8",
}
_RANKED_BY_VOTES = frozenset({CommentSort.BEST, CommentSort.TOP, CommentSort.CONTROVERSIAL})


class CommentCursor(Struct, frozen=True, array_like=True):
    """The place after one comment among its siblings: good for the same parent, viewer and sort alone."""

    position: int
    rank: float
    submitted_at: datetime
    comment_id: Id


class ThreadCursor(Struct, frozen=True, array_like=True):
    """The place after one comment in a whole thread: good for the same post, viewer, sort and depth alone."""

    position: int
    comment_id: Id


class CommentItem(Struct, frozen=True):
    """A comment in its place, with the votes on it as of now."""

    comment: Comment
    up: int
    down: int
    cursor: CommentCursor


class ThreadItem(Struct, frozen=True):
    """A comment in its place in the whole thread, with the votes on it as of now."""

    comment: Comment
    up: int
    down: int
    cursor: ThreadCursor


def _votes(post: str) -> str:
    """``v``: what votes after the position did to a comment ``c`` of the post; ``s``: all votes on it."""
    return f"""LEFT JOIN views.scores s ON s.target_id = c.comment_id
        LEFT JOIN (SELECT x.target_id, sum(x.up) AS up, sum(x.down) AS down FROM views.score_changes x
            WHERE x.post_id {post} AND x.target_id <> x.post_id
            AND x.position > (SELECT p FROM at) AND x.position <= (SELECT head FROM at)
            GROUP BY x.target_id) v ON v.target_id = c.comment_id"""


_THERE = f"""c.submitted_at IS NOT NULL AND c.position <= (SELECT p FROM at)
    AND {sees_known("c.community_id", known=KNOWN)}"""
_NOT_EMPTY = "(NOT c.deleted OR c.replies > 0)"
_SHOWN = f"{_THERE} AND {_NOT_EMPTY} AND {not_blocked('c.author_id')}"


async def top_level(
    connection: Connection,
    viewer_id: Id | None,
    post_ids: Sequence[Id],
    *,
    sort: CommentSort,
    size: int,
    cursor: CommentCursor | None = None,
    backward: bool = False,
) -> dict[Id, Page[CommentItem]]:
    """The comments directly below each post. Index (post_id, submitted_at, comment_id) of depth 1.

    A cursor is of one post: pass that one alone. ``backward`` gives the ``size`` before it, or the last ones.
    """
    below = "c.post_id = k.id AND c.depth = 1"
    posts = "= ANY(%(ids)s::uuid[])"
    return await _siblings(connection, viewer_id, post_ids, below, posts, sort, size, cursor, backward)


async def replies(
    connection: Connection,
    viewer_id: Id | None,
    parent_ids: Sequence[Id],
    *,
    sort: CommentSort,
    size: int,
    cursor: CommentCursor | None = None,
    backward: bool = False,
) -> dict[Id, Page[CommentItem]]:
    """The direct replies to each comment. Index (parent_id, submitted_at, comment_id).

    A cursor is of one comment: pass that one alone. ``backward`` gives the ``size`` before it, or the last ones.
    """
    below = "c.parent_id = k.id AND NOT c.orphan"
    posts = "IN (SELECT y.post_id FROM views.comments y WHERE y.comment_id = ANY(%(ids)s::uuid[]))"
    return await _siblings(connection, viewer_id, parent_ids, below, posts, sort, size, cursor, backward)


async def _siblings(
    connection: Connection,
    viewer_id: Id | None,
    ids: Sequence[Id],
    below: str,
    posts: str,
    sort: CommentSort,
    size: int,
    cursor: CommentCursor | None,
    backward: bool,
) -> dict[Id, Page[CommentItem]]:
    if cursor is not None and len(ids) != 1:
        raise ValueError("a cursor is of one list of siblings")
    ascending = backward != (sort is CommentSort.OLD)
    less, order = (">", "ASC") if ascending else ("<", "DESC")
    # The rank of Old is nothing, and the order of time the other way round.
    place = cursor or (CommentCursor(0, -inf, _FIRST, _MIN_ID) if ascending else CommentCursor(0, inf, _LAST, _MAX_ID))
    voted = sort in _RANKED_BY_VOTES
    sql = f"""WITH {_AT}
        SELECT k.id, (SELECT p FROM at), g.rank, g.up_now, g.down_now, {columns(Comment, "g")}
        FROM unnest(%(ids)s::uuid[]) AS k(id) CROSS JOIN LATERAL (
            SELECT * FROM (SELECT {_RANKS[sort]} AS rank, c.* FROM (
                SELECT c.*, coalesce(s.up, 0) AS up_now, coalesce(s.down, 0) AS down_now,
                    {_UP if voted else "0"} AS up, {_DOWN if voted else "0"} AS down
                FROM views.comments c
                {_votes(posts) if voted else "LEFT JOIN views.scores s ON s.target_id = c.comment_id"}
                WHERE {below} AND {_SHOWN}) c) r
            WHERE (r.rank, r.submitted_at, r.comment_id) {less} (%(rank)s::float8, %(time)s::timestamptz, %(id)s::uuid)
            ORDER BY r.rank {order}, r.submitted_at {order}, r.comment_id {order} LIMIT %(limit)s) g
        ORDER BY k.id, g.rank {order}, g.submitted_at {order}, g.comment_id {order}"""
    parameters = {
        "viewer": viewer_id,
        "ids": list(dict.fromkeys(ids)),
        "position": cursor.position if cursor else None,
        "rank": place.rank,
        "time": place.submitted_at,
        "id": place.comment_id,
        "limit": size + 1,
    }
    found: dict[Id, list[CommentItem]] = {item: [] for item in ids}
    for parent_id, *row in await (await connection.execute(sql.encode(), parameters)).fetchall():
        found[parent_id].append(_item(*row))
    return {parent_id: _page(items, size, cursor is not None, backward) for parent_id, items in found.items()}


def _item(position: int, rank: float, up: int, down: int, *fields: Any) -> CommentItem:
    comment = Comment(*fields)
    assert comment.submitted_at is not None
    return CommentItem(comment, up, down, CommentCursor(position, rank, comment.submitted_at, comment.comment_id))


def _page(items: list[CommentItem], size: int, continued: bool, backward: bool) -> Page[CommentItem]:
    more = len(items) > size
    items = items[:size]
    return Page(items[::-1], continued, more) if backward else Page(items, more, continued)


async def thread(
    connection: Connection,
    viewer_id: Id | None,
    post_id: Id,
    *,
    sort: CommentSort,
    size: int,
    cursor: ThreadCursor | None = None,
) -> Page[ThreadItem]:
    """All comments of the post, however deep, each before its replies, siblings by ``sort``.

    Ranks the whole thread for each page: index (post_id, path). What is not shown has its place all the same, so a
    cursor holds when its comment is deleted, or its author blocked, before the next page is read.
    """
    order = "ASC" if sort is CommentSort.OLD else "DESC"
    # A comment of an archive whose parent arrived after the position still stands where it stood: below the post.
    sql = f"""WITH RECURSIVE {_AT}, c AS MATERIALIZED (
            SELECT c.comment_id, c.submitted_at, CASE WHEN NOT c.orphan THEN c.parent_id END AS parent_id,
                {_NOT_EMPTY} AS shown, NOT {not_blocked("c.author_id")} AS blocked, {_UP} AS up, {_DOWN} AS down
            FROM views.comments c {_votes("= %(post)s::uuid")}
            WHERE c.post_id = %(post)s::uuid AND {_THERE}),
        standing AS (
            SELECT c.comment_id, c.submitted_at, c.shown, c.blocked, c.up, c.down,
                CASE WHEN q.comment_id IS NOT NULL OR NOT EXISTS (SELECT FROM views.comments x
                    WHERE x.comment_id = c.parent_id AND x.post_id = %(post)s::uuid AND x.position > (SELECT p FROM at))
                THEN c.parent_id END AS parent_id
            FROM c LEFT JOIN c q ON q.comment_id = c.parent_id),
        ranked AS MATERIALIZED (
            SELECT c.comment_id, c.parent_id, c.shown, c.blocked, row_number() OVER (PARTITION BY c.parent_id
                ORDER BY {_RANKS[sort]} {order}, c.submitted_at {order}, c.comment_id {order}) AS place
            FROM standing c),
        placed AS (
            SELECT r.comment_id, r.shown, r.blocked, ARRAY[r.place] AS places FROM ranked r WHERE r.parent_id IS NULL
            UNION ALL
            SELECT r.comment_id, r.shown, p.blocked OR r.blocked, p.places || r.place
            FROM placed p JOIN ranked r ON r.parent_id = p.comment_id),
        page AS MATERIALIZED (
            SELECT p.comment_id, p.places FROM placed p
            WHERE p.shown AND NOT p.blocked AND (%(after)s::uuid IS NULL
                OR p.places > (SELECT a.places FROM placed a WHERE a.comment_id = %(after)s::uuid))
            ORDER BY p.places LIMIT %(limit)s)
        SELECT (SELECT p FROM at), coalesce(s.up, 0), coalesce(s.down, 0), {columns(Comment, "c")}
        FROM page g JOIN views.comments c USING (comment_id) LEFT JOIN views.scores s ON s.target_id = g.comment_id
        ORDER BY g.places"""
    parameters = {
        "viewer": viewer_id,
        "post": post_id,
        "position": cursor.position if cursor else None,
        "after": cursor.comment_id if cursor else None,
        "limit": size + 1,
    }
    rows = await (await connection.execute(sql.encode(), parameters)).fetchall()
    items = [_thread_item(*row) for row in rows]
    return Page(items[:size], len(items) > size, cursor is not None)


def _thread_item(position: int, up: int, down: int, *fields: Any) -> ThreadItem:
    comment = Comment(*fields)
    return ThreadItem(comment, up, down, ThreadCursor(position, comment.comment_id))
