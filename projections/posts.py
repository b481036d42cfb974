"""What a post says. Its votes are in ``feed`` and ``scores``, so that a vote never rewrites a text.

All events of a row are of the post's own stream, so their order holds everywhere.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.post import (
    PostDeleted,
    PostEdited,
    PostImported,
    PostLocked,
    PostStickied,
    PostSubmitted,
    PostUnlocked,
    PostUnstickied,
)
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Post(Row, frozen=True, gc=False):
    """A post. ``author_id`` is for the author and the community's moderators alone where ``anonymous`` is true.

    Once ``deleted`` it has no title, text or link. ``position`` is that of the event that submitted it.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("post_id",)
    post_id: Id
    community_id: Id | None = None
    author_id: Id | None = None
    anonymous: bool = False
    kind: str = "text"
    title: str = ""
    body: str = ""
    url: str | None = None
    submitted_at: datetime | None = None
    edited_at: datetime | None = None
    deleted: bool = False
    locked: bool = False
    sticky: bool = False
    source_id: str | None = None
    position: int = 0


posts = Projection(
    "posts",
    version=1,
    row=Post,
    signal=lambda row: None if row.community_id is None else f"posts:{row.community_id}",
    local=True,
)


@posts.on(PostSubmitted, key=lambda e: e.post_id)
def _(row: Post, e: PostSubmitted, at: Recorded) -> Post:
    return replace(
        row,
        community_id=e.community_id,
        author_id=e.author_id,
        anonymous=e.anonymous,
        kind=e.kind,
        title=e.title,
        body=e.body,
        url=e.url,
        submitted_at=at.occurred_at,
        position=at.position,
    )


@posts.on(PostImported, key=lambda e: e.post_id)
def _(row: Post, e: PostImported, at: Recorded) -> Post:
    return replace(
        row,
        community_id=e.community_id,
        author_id=e.author_id,
        kind=e.kind,
        title="" if e.removed else e.title,
        body="" if e.removed else e.body,
        url=None if e.removed else e.url,
        submitted_at=at.occurred_at,
        edited_at=e.edited_at,
        deleted=e.removed,
        locked=e.locked,
        sticky=e.sticky,
        source_id=e.source_id,
        position=at.position,
    )


@posts.on(PostEdited, key=lambda e: e.post_id)
def _(row: Post, e: PostEdited, at: Recorded) -> Post:
    return replace(row, body=e.body, edited_at=at.occurred_at)


@posts.on(PostDeleted, key=lambda e: e.post_id)
def _(row: Post, _e: PostDeleted) -> Post:
    return replace(row, title="", body="", url=None, deleted=True)


@posts.on(PostLocked, key=lambda e: e.post_id)
def _(row: Post, _e: PostLocked) -> Post:
    return replace(row, locked=True)


@posts.on(PostUnlocked, key=lambda e: e.post_id)
def _(row: Post, _e: PostUnlocked) -> Post:
    return replace(row, locked=False)


@posts.on(PostStickied, key=lambda e: e.post_id)
def _(row: Post, _e: PostStickied) -> Post:
    return replace(row, sticky=True)


@posts.on(PostUnstickied, key=lambda e: e.post_id)
def _(row: Post, _e: PostUnstickied) -> Post:
    return replace(row, sticky=False)
