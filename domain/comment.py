"""A comment: a text in Markdown below a post or below another comment.

``path`` places a comment in its thread: the segments of its ancestors from the top, then its own, each of
``SEGMENT_BYTES``. A segment is the time of submission in milliseconds (6 bytes, big-endian) and the first
four bytes of the id, so that plain byte order of paths is the thread in depth-first order, oldest sibling
first, whatever the number of siblings.
"""

from datetime import datetime
from typing import ClassVar

from domain.event import Event, Id, Personal

SEGMENT_BYTES = 10


def segment(comment_id: Id, submitted_at: datetime) -> bytes:
    """The last part of the path of a comment submitted at that time."""
    milliseconds = int(submitted_at.timestamp() * 1000)
    return milliseconds.to_bytes(6, "big") + bytes.fromhex(comment_id[:8])


class CommentSubmitted(Event, frozen=True):
    """A comment appeared. ``parent_id`` is ``None`` directly below the post; ``depth`` is then 1.

    ``replied_to_id`` is the author of what was replied to, who is told of it; ``None`` if there is nobody to tell.
    """

    subject: ClassVar[str | None] = "author_id"
    comment_id: Id
    post_id: Id
    community_id: Id
    author_id: Id
    parent_id: Id | None
    replied_to_id: Id | None
    path: bytes
    depth: int
    body: Personal


class CommentImported(Event, frozen=True):
    """A comment of an archive, with its totals in place of the single votes.

    ``path`` is that of a comment directly below the post while the archive's parent is not known yet
    (``orphan``); a ``CommentAttached`` puts it right when the parent arrives. ``source_id`` is ``t1_…``.
    """

    subject: ClassVar[str | None] = "author_id"
    comment_id: Id
    post_id: Id
    community_id: Id
    author_id: Id | None
    parent_id: Id | None
    orphan: bool
    path: bytes
    depth: int
    body: Personal
    edited_at: datetime | None
    up: int
    down: int
    removed: bool
    source_id: str


class CommentAttached(Event, frozen=True):
    """An imported comment found its place because an ancestor of it arrived."""

    comment_id: Id
    post_id: Id
    path: bytes
    depth: int


class CommentEdited(Event, frozen=True):
    """The author replaced the text."""

    subject: ClassVar[str | None] = "author_id"
    comment_id: Id
    post_id: Id
    community_id: Id
    author_id: Id
    body: Personal


class CommentDeleted(Event, frozen=True):
    """Author or moderator took the comment away: its text is gone from every view, its replies stay."""

    comment_id: Id
    post_id: Id
    community_id: Id
    author_id: Id | None
    deleter_id: Id
