"""A post: a title with a text in Markdown or a link, in one community."""

from datetime import datetime
from typing import ClassVar, Literal

from domain.event import Event, Id, Personal

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
    """Author or moderator took the post away: its text is gone from every view, its comments stay."""

    post_id: Id
    community_id: Id
    author_id: Id | None
    deleter_id: Id


class PostLocked(Event, frozen=True):
    """Nobody but moderators may comment from now on."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostUnlocked(Event, frozen=True):
    """Commenting is open again."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostStickied(Event, frozen=True):
    """The post stays on top of its community's feed."""

    post_id: Id
    community_id: Id
    moderator_id: Id


class PostUnstickied(Event, frozen=True):
    """The post takes its ordinary place again."""

    post_id: Id
    community_id: Id
    moderator_id: Id
