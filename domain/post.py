"""A post: a title with a text in Markdown or a link, in one community."""

from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace

from domain import community as communities
from domain import text
from domain.access import Access
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.item import Item
from domain.limits import Limits
from domain.refusal import Code, Refusal

PostKind = Literal["text", "link"]


class PostSubmitted(Event, frozen=True):
    """A post appeared. ``body`` is Markdown (empty for a link), ``url`` is ``None`` for a text."""

    subject: ClassVar[str | None] = "author_id"
    post_id: Id
    community_id: Id
    author_id: Id
    anonymous: bool
    kind: PostKind
    title: Personal
    body: Personal
    url: Personal | None


class PostImported(Event, frozen=True):
    """A submission of an archive, with its totals in place of the single votes.

    ``submitted_at`` is the archive's time and also the event's own. ``author_id`` is ``None`` when the archive
    no longer knows the author; ``removed`` when it no longer knows the text. ``source_id`` is the archive's
    own name of it, ``t3_…``.
    """

    subject: ClassVar[str | None] = "author_id"
    post_id: Id
    community_id: Id
    author_id: Id | None
    kind: PostKind
    title: Personal
    body: Personal
    url: Personal | None
    edited_at: datetime | None
    up: int
    down: int
    locked: bool
    sticky: bool
    removed: bool
    source_id: str


class PostEdited(Event, frozen=True):
    """The author replaced the text."""

    subject: ClassVar[str | None] = "author_id"
    post_id: Id
    community_id: Id
    author_id: Id
    body: Personal


class PostDeleted(Event, frozen=True):
    """Author or moderator took the post away: its text is gone from every view.

    Its comments stay, and can be voted on, edited and deleted; there come no new ones.
    """

    post_id: Id
    community_id: Id
    author_id: Id | None
    deleter_id: Id


class PostLocked(Event, frozen=True):
    """Nobody but moderators may comment from now on. Votes go on, and what is there can be edited and deleted."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostUnlocked(Event, frozen=True):
    """Commenting is open again."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostStickied(Event, frozen=True):
    """The post leads its community's Hot feed."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostUnstickied(Event, frozen=True):
    """The post takes its ordinary place again."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class SubmitPost(Command, frozen=True):
    """Post a text in Markdown (``body``, may be empty) or a link (``url``) to a community."""

    community_id: Id
    kind: PostKind
    title: str
    body: str = ""
    url: str | None = None
    anonymous: bool = False


class EditPost(Command, frozen=True):
    """Replace the text of one's own post. Title and link are for good: they are what was voted on."""

    post_id: Id
    body: str


class DeletePost(Command, frozen=True):
    """Take one's own post away, or as a moderator anybody's."""

    ends: ClassVar[bool] = True
    post_id: Id


class LockPost(Command, frozen=True):
    """As a moderator, close a post to comments of all but moderators."""

    post_id: Id


class UnlockPost(Command, frozen=True):
    """As a moderator, open it again."""

    ends: ClassVar[bool] = True
    post_id: Id


class StickyPost(Command, frozen=True):
    """As a moderator, have a post lead the community's Hot feed, of which a few can."""

    post_id: Id


class UnstickyPost(Command, frozen=True):
    """As a moderator, let it take its ordinary place again."""

    ends: ClassVar[bool] = True
    post_id: Id


class Post(Struct, frozen=True):
    """A post, as decisions need it. ``deleted`` also when the archive it comes from no longer had its text."""

    post_id: Id
    community_id: Id
    author_id: Id | None
    kind: PostKind
    body: str
    anonymous: bool = False
    locked: bool = False
    sticky: bool = False
    deleted: bool = False

    @property
    def item(self) -> Item:
        """The post as something to vote on and to save."""
        return Item(
            item_id=self.post_id,
            target="post",
            post_id=self.post_id,
            community_id=self.community_id,
            author_id=self.author_id,
            anonymous=self.anonymous,
            deleted=self.deleted,
        )


START: Post | None = None


def evolve(post: Post | None, event: Event) -> Post | None:
    """The post after the event."""
    if post is None:
        return _begun(event)
    match event:
        case PostEdited(body=body):
            return replace(post, body=body)
        case PostDeleted():
            return replace(post, deleted=True, body="")
        case PostLocked() | PostUnlocked():
            return replace(post, locked=isinstance(event, PostLocked))
        case PostStickied() | PostUnstickied():
            return replace(post, sticky=isinstance(event, PostStickied))
        case _:
            return post


def decide_submit(
    command: SubmitPost, *, post_id: Id, author_id: Id, access: Access, limits: Limits
) -> tuple[Event, ...]:
    """The post that the command makes."""
    if not access.sees:
        raise communities.not_found()
    if not access.posts:
        message = "Only people whom the moderators invite can post here. Ask one of them for an invitation."
        raise Refusal(Code.POSTING_RESTRICTED, message, "community_id")
    if command.anonymous and not access.anonymous_allowed:
        message = "This community does not take anonymous posts. Post under your name, or elsewhere."
        raise Refusal(Code.ANONYMOUS_NOT_ALLOWED, message, "anonymous")
    body, url = _content(command, limits)
    submitted = PostSubmitted(
        post_id=post_id,
        community_id=command.community_id,
        author_id=author_id,
        anonymous=command.anonymous,
        kind=command.kind,
        title=text.line(command.title, "title", length_max=limits.post_title_length_max),
        body=body,
        url=url,
    )
    return (submitted,)


def decide_own(
    command: EditPost | DeletePost, post: Post | None, *, actor_id: Id, access: Access, limits: Limits
) -> tuple[Event, ...]:
    """What the author's command, or a moderator's, makes of the post.

    Authors may delete what they wrote even where they see no more of it.
    """
    own = post is not None and post.author_id == actor_id
    if post is None or not (access.sees or (own and isinstance(command, DeletePost))):
        raise not_found()
    match command:
        case EditPost():
            if not own:
                raise Refusal(Code.NOT_THE_AUTHOR, "Only the author can edit a post. Write a comment instead.")
            if post.deleted:
                raise deleted()
            if post.kind == "link":
                raise Refusal(Code.INVALID_VALUE, "A link has no text to edit. Delete it and post it anew.", "body")
            body = text.markdown(command.body, "body", length_max=limits.post_body_length_max, required=False)
            if body == post.body:
                return ()
            return (PostEdited(post_id=post.post_id, community_id=post.community_id, author_id=actor_id, body=body),)
        case DeletePost():
            if not (own or access.moderates):
                message = "Only the author or a moderator can delete a post. Ask a moderator."
                raise Refusal(Code.NOT_THE_AUTHOR, message)
            if post.deleted:
                return ()
            gone = PostDeleted(
                post_id=post.post_id, community_id=post.community_id, author_id=post.author_id, deleter_id=actor_id
            )
            return (gone,)


def decide_moderation(
    command: LockPost | UnlockPost | StickyPost | UnstickyPost, post: Post | None, *, actor_id: Id, access: Access
) -> tuple[Event, ...]:
    """What a moderator's command makes of the post."""
    if post is None or not access.sees:
        raise not_found()
    if not access.moderates:
        raise communities.not_moderator()
    if post.deleted:
        raise deleted()
    kind: type[PostLocked | PostUnlocked | PostStickied | PostUnstickied]
    match command:
        case LockPost():
            holds, kind = post.locked, PostLocked
        case UnlockPost():
            holds, kind = not post.locked, PostUnlocked
        case StickyPost():
            holds, kind = post.sticky, PostStickied
        case UnstickyPost():
            holds, kind = not post.sticky, PostUnstickied
    return () if holds else (kind(post_id=post.post_id, community_id=post.community_id, moderator_id=actor_id),)


def not_found() -> Refusal:
    """The same for a post that does not exist and for one that somebody may not see."""
    message = "There is no such post, or you may not see it. Check the link."
    return Refusal(Code.POST_NOT_FOUND, message, "post_id")


def deleted() -> Refusal:
    """The post is gone."""
    return Refusal(Code.POST_DELETED, "This post was deleted. Nothing can be done with it any more.", "post_id")


def _begun(event: Event) -> Post | None:
    match event:
        case PostSubmitted():
            return Post(
                post_id=event.post_id,
                community_id=event.community_id,
                author_id=event.author_id,
                kind=event.kind,
                body=event.body,
                anonymous=event.anonymous,
            )
        case PostImported():
            return Post(
                post_id=event.post_id,
                community_id=event.community_id,
                author_id=event.author_id,
                kind=event.kind,
                body=event.body,
                locked=event.locked,
                sticky=event.sticky,
                deleted=event.removed,
            )
        case _:
            return None


def _content(command: SubmitPost, limits: Limits) -> tuple[str, str | None]:
    """The text and the link, of which a post has one."""
    match command.kind:
        case "text":
            if command.url is not None:
                raise Refusal(Code.INVALID_VALUE, "A text has no link. Put it into the text, or post a link.", "url")
            body = text.markdown(command.body, "body", length_max=limits.post_body_length_max, required=False)
            return body, None
        case "link":
            if command.body:
                raise Refusal(Code.INVALID_VALUE, "A link has no text. Say it in a comment, or post a text.", "body")
            return "", text.web_address(command.url or "", "url", length_max=limits.url_length_max)
        case _:
            raise Refusal(Code.INVALID_VALUE, "A post is a text or a link.", "kind")
