"""What a comment says and where it stands in its thread. Its votes are in ``scores``.

Fed by the comment's own stream and by those of its replies, which only add to ``replies`` and may arrive first:
readers pass over a row while ``submitted_at`` is null. Replies that an archive has below a comment of another post come
from another partition.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.comment import CommentAttached, CommentDeleted, CommentEdited, CommentImported, CommentSubmitted
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Comment(Row, frozen=True, gc=False):
    """A comment. Byte order of ``path`` is the thread, depth first. ``depth`` is 1 directly below the post.

    ``orphan``: it stands directly below the post until the archive's parent, ``parent_id``, arrives.
    Once ``deleted`` it has no text. ``replies`` counts direct ones, deleted ones included. ``position`` is that of
    the event that submitted it.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("comment_id",)
    comment_id: Id
    post_id: Id | None = None
    community_id: Id | None = None
    author_id: Id | None = None
    parent_id: Id | None = None
    orphan: bool = False
    path: bytes = b""
    depth: int = 1
    body: str = ""
    submitted_at: datetime | None = None
    edited_at: datetime | None = None
    deleted: bool = False
    replies: int = 0
    source_id: str | None = None
    position: int = 0


comments = Projection(
    "comments", version=1, row=Comment, signal=lambda row: None if row.post_id is None else f"comments:{row.post_id}"
)


@comments.on(CommentSubmitted, key=lambda e: e.comment_id)
def _(row: Comment, e: CommentSubmitted, at: Recorded) -> Comment:
    return replace(
        row,
        post_id=e.post_id,
        community_id=e.community_id,
        author_id=e.author_id,
        parent_id=e.parent_id,
        path=e.path,
        depth=e.depth,
        body=e.body,
        submitted_at=at.occurred_at,
        position=at.position,
    )


@comments.on(CommentImported, key=lambda e: e.comment_id)
def _(row: Comment, e: CommentImported, at: Recorded) -> Comment:
    return replace(
        row,
        post_id=e.post_id,
        community_id=e.community_id,
        author_id=e.author_id,
        parent_id=e.parent_id,
        orphan=e.orphan,
        path=e.path,
        depth=e.depth,
        body="" if e.removed else e.body,
        submitted_at=at.occurred_at,
        edited_at=e.edited_at,
        deleted=e.removed,
        source_id=e.source_id,
        position=at.position,
    )


@comments.on(CommentSubmitted, CommentImported, key=lambda e: e.parent_id)
def _(row: Comment, _e: CommentSubmitted | CommentImported) -> Comment:
    return replace(row, replies=row.replies + 1)


@comments.on(CommentAttached, key=lambda e: e.comment_id)
def _(row: Comment, e: CommentAttached) -> Comment:
    return replace(row, orphan=False, path=e.path, depth=e.depth)


@comments.on(CommentEdited, key=lambda e: e.comment_id)
def _(row: Comment, e: CommentEdited, at: Recorded) -> Comment:
    return replace(row, body=e.body, edited_at=at.occurred_at)


@comments.on(CommentDeleted, key=lambda e: e.comment_id)
def _(row: Comment, _e: CommentDeleted) -> Comment:
    return replace(row, body="", deleted=True)
