"""What ranks a post: one lean row a post, rewritten by each vote and comment; the texts are in ``posts``.

Fed by the post's own stream, by the ballots on it and by its comments. What only the post's stream says is
set by it alone; votes and comments are sums and may arrive first, so a row may have counts and nothing else yet:
readers pass over it while ``submitted_at`` is null.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.ballot import VoteCast
from domain.comment import CommentDeleted, CommentImported, CommentSubmitted
from domain.event import Event, Id
from domain.post import PostDeleted, PostImported, PostStickied, PostSubmitted, PostUnstickied
from projections.bulk import Alike
from projections.core import Projection, Row
from schemas.envelope import Recorded


class FeedPost(Row, frozen=True, gc=False):
    """A post's standing. ``author_id`` is ``None`` where the author is anonymous or unknown.

    ``comments`` does not count deleted ones. ``position`` is that of the event that submitted the post.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("post_id",)
    post_id: Id
    community_id: Id | None = None
    author_id: Id | None = None
    submitted_at: datetime | None = None
    up: int = 0
    down: int = 0
    comments: int = 0
    sticky: bool = False
    deleted: bool = False
    position: int = 0


feed = Projection("feed", version=1, row=FeedPost, local=True)


def _voted(row: FeedPost, up: int, down: int) -> FeedPost:
    return FeedPost(
        row.post_id,
        row.community_id,
        row.author_id,
        row.submitted_at,
        row.up + up,
        row.down + down,
        row.comments,
        row.sticky,
        row.deleted,
        row.position,
    )


@feed.on(VoteCast, key=lambda e: e.post_id if e.target == "post" else None)
def _(row: FeedPost, e: VoteCast) -> FeedPost:
    return _voted(row, (e.value > 0) - (e.previous > 0), (e.value < 0) - (e.previous < 0))


@feed.in_bulk(VoteCast)
def _(rows: dict[Id, FeedPost], page: Mapping[type[Event], Alike]) -> None:
    votes = page[VoteCast]
    get = rows.get
    for e in votes.events:
        if e.target == "post":
            post_id, previous, value = e.post_id, e.previous, e.value
            up, down = (value > 0) - (previous > 0), (value < 0) - (previous < 0)
            row = get(post_id)
            rows[post_id] = FeedPost(post_id, up=up, down=down) if row is None else _voted(row, up, down)


def _counted(row: FeedPost, comments: int) -> FeedPost:
    return FeedPost(
        row.post_id,
        row.community_id,
        row.author_id,
        row.submitted_at,
        row.up,
        row.down,
        comments,
        row.sticky,
        row.deleted,
        row.position,
    )


@feed.on(CommentSubmitted, key=lambda e: e.post_id)
def _(row: FeedPost, _e: CommentSubmitted) -> FeedPost:
    return _counted(row, row.comments + 1)


@feed.on(CommentImported, key=lambda e: None if e.removed else e.post_id)
def _(row: FeedPost, _e: CommentImported) -> FeedPost:
    return _counted(row, row.comments + 1)


@feed.on(CommentDeleted, key=lambda e: e.post_id)
def _(row: FeedPost, _e: CommentDeleted) -> FeedPost:
    return _counted(row, row.comments - 1)


@feed.on(PostSubmitted, key=lambda e: e.post_id)
def _(row: FeedPost, e: PostSubmitted, at: Recorded) -> FeedPost:
    return replace(
        row,
        community_id=e.community_id,
        author_id=None if e.anonymous else e.author_id,
        submitted_at=at.occurred_at,
        position=at.position,
    )


@feed.on(PostImported, key=lambda e: e.post_id)
def _(row: FeedPost, e: PostImported, at: Recorded) -> FeedPost:
    return replace(
        row,
        community_id=e.community_id,
        author_id=e.author_id,
        submitted_at=at.occurred_at,
        up=row.up + e.up,
        down=row.down + e.down,
        sticky=e.sticky,
        deleted=e.removed,
        position=at.position,
    )


@feed.on(PostDeleted, key=lambda e: e.post_id)
def _(row: FeedPost, _e: PostDeleted) -> FeedPost:
    return replace(row, deleted=True)


@feed.on(PostStickied, key=lambda e: e.post_id)
def _(row: FeedPost, _e: PostStickied) -> FeedPost:
    return replace(row, sticky=True)


@feed.on(PostUnstickied, key=lambda e: e.post_id)
def _(row: FeedPost, _e: PostUnstickied) -> FeedPost:
    return replace(row, sticky=False)
