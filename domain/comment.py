"""A comment: a text in Markdown below a post or below another comment.

``path`` places a comment in its thread: the segments of its ancestors from the top, then its own, each of
``SEGMENT_BYTES``. A segment is the time of submission in milliseconds (6 bytes, big-endian) and the first
four bytes of the id, so that plain byte order of paths is the thread in depth-first order, oldest sibling
first, whatever the number of siblings.
"""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from domain import post as posts
from domain import text
from domain.access import Access
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.item import Item
from domain.limits import Limits
from domain.post import Post
from domain.refusal import Code, Refusal
from domain.relation import Blocks

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


class SubmitComment(Command, frozen=True):
    """Comment on a post, or reply to the comment ``parent_id`` below it."""

    post_id: Id
    parent_id: Id | None
    body: str


class EditComment(Command, frozen=True):
    """Replace the text of one's own comment."""

    comment_id: Id
    body: str


class DeleteComment(Command, frozen=True):
    """Take one's own comment away, or as a moderator anybody's. Its replies stay."""

    ends: ClassVar[bool] = True
    comment_id: Id


class Comment(Struct, frozen=True):
    """A comment, as decisions need it. ``deleted`` also when the archive it comes from no longer had its text."""

    comment_id: Id
    post_id: Id
    community_id: Id
    author_id: Id | None
    path: bytes
    depth: int
    body: str
    deleted: bool = False

    @property
    def item(self) -> Item:
        """The comment as something to vote on and to save."""
        return Item(
            item_id=self.comment_id,
            target="comment",
            post_id=self.post_id,
            community_id=self.community_id,
            author_id=self.author_id,
            anonymous=False,
            deleted=self.deleted,
        )


START: Comment | None = None


def evolve(comment: Comment | None, event: Event) -> Comment | None:
    """The comment after the event."""
    if comment is None:
        return _begun(event)
    match event:
        case CommentAttached(path=path, depth=depth):
            return replace(comment, path=path, depth=depth)
        case CommentEdited(body=body):
            return replace(comment, body=body)
        case CommentDeleted():
            return replace(comment, deleted=True, body="")
        case _:
            return comment


class Thread(Struct, frozen=True):
    """Where a new comment is to stand: below ``post``, and below ``parent`` if it replies to a comment.

    ``blocks`` are those between who comments and who is replied to.
    """

    post: Post | None
    parent: Comment | None
    blocks: Blocks

    @property
    def replied_to_id(self) -> Id | None:
        """Who wrote what is replied to; ``None`` when an archive no longer knows."""
        replied_to = self.parent or self.post
        return replied_to.author_id if replied_to is not None else None


def decide_submit(
    command: SubmitComment,
    thread: Thread,
    *,
    comment_id: Id,
    author_id: Id,
    at: datetime,
    access: Access,
    limits: Limits,
) -> tuple[Event, ...]:
    """The comment that the command makes, submitted ``at`` that time."""
    post, parent = _place(command, thread, access)
    depth = 1 if parent is None else parent.depth + 1
    if depth > limits.comment_depth_max:
        message = f"Replies go at most {limits.comment_depth_max} levels deep. Reply further up."
        raise Refusal(Code.COMMENTS_TOO_DEEP, message, "parent_id")
    # A refusal because of a block would tell who wrote an anonymous post; there, only the author is not told.
    if parent is not None or not post.anonymous:
        thread.blocks.refuse("reply to", "post_id" if parent is None else "parent_id")
    silent = thread.replied_to_id == author_id or thread.blocks.by_actor or thread.blocks.of_actor
    submitted = CommentSubmitted(
        comment_id=comment_id,
        post_id=post.post_id,
        community_id=post.community_id,
        author_id=author_id,
        parent_id=command.parent_id,
        replied_to_id=None if silent else thread.replied_to_id,
        path=(b"" if parent is None else parent.path) + segment(comment_id, at),
        depth=depth,
        body=text.markdown(command.body, "body", length_max=limits.comment_body_length_max, required=True),
    )
    return (submitted,)


def decide_own(
    command: EditComment | DeleteComment, comment: Comment | None, *, actor_id: Id, access: Access, limits: Limits
) -> tuple[Event, ...]:
    """What the author's command, or a moderator's, makes of the comment.

    Authors may delete what they wrote even where they see no more of it.
    """
    own = comment is not None and comment.author_id == actor_id
    if comment is None or not (access.sees or (own and isinstance(command, DeleteComment))):
        raise not_found()
    match command:
        case EditComment():
            if not own:
                raise Refusal(Code.NOT_THE_AUTHOR, "Only the author can edit a comment. Reply to it instead.")
            if comment.deleted:
                raise deleted()
            body = text.markdown(command.body, "body", length_max=limits.comment_body_length_max, required=True)
            if body == comment.body:
                return ()
            edited = CommentEdited(
                comment_id=comment.comment_id,
                post_id=comment.post_id,
                community_id=comment.community_id,
                author_id=actor_id,
                body=body,
            )
            return (edited,)
        case DeleteComment():
            if not (own or access.moderates):
                message = "Only the author or a moderator can delete a comment. Ask a moderator."
                raise Refusal(Code.NOT_THE_AUTHOR, message)
            if comment.deleted:
                return ()
            gone = CommentDeleted(
                comment_id=comment.comment_id,
                post_id=comment.post_id,
                community_id=comment.community_id,
                author_id=comment.author_id,
                deleter_id=actor_id,
            )
            return (gone,)


def not_found(field: str = "comment_id") -> Refusal:
    """The same for a comment that does not exist and for one that somebody may not see."""
    message = "There is no such comment, or you may not see it. Check the link."
    return Refusal(Code.COMMENT_NOT_FOUND, message, field)


def deleted(field: str = "comment_id") -> Refusal:
    """The comment is gone."""
    return Refusal(Code.COMMENT_DELETED, "This comment was deleted. Nothing can be done with it any more.", field)


def _begun(event: Event) -> Comment | None:
    match event:
        case CommentSubmitted() | CommentImported():
            return Comment(
                comment_id=event.comment_id,
                post_id=event.post_id,
                community_id=event.community_id,
                author_id=event.author_id,
                path=event.path,
                depth=event.depth,
                body=event.body,
                deleted=isinstance(event, CommentImported) and event.removed,
            )
        case _:
            return None


def _place(command: SubmitComment, thread: Thread, access: Access) -> tuple[Post, Comment | None]:
    """The post and the comment that are open to a reply. Raises a ``Refusal`` when they are not."""
    post, parent = thread.post, thread.parent
    if post is None or not access.sees:
        raise posts.not_found()
    if post.deleted:
        raise posts.deleted()
    if post.locked and not access.moderates:
        message = "A moderator closed this post to comments. Read on, or start a post of your own."
        raise Refusal(Code.POST_LOCKED, message, "post_id")
    if command.parent_id is None:
        return post, None
    if parent is None or parent.post_id != post.post_id:
        raise not_found("parent_id")
    if parent.deleted:
        raise deleted("parent_id")
    return post, parent
