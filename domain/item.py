"""What can be voted on and saved: a post or a comment, as far as both are alike."""

from typing import Literal

from msgspec import Struct

from domain.event import Id
from domain.refusal import Code, Refusal

Target = Literal["post", "comment"]


class Item(Struct, frozen=True):
    """A post or a comment. ``author_id`` is ``None`` when an archive no longer knows the author."""

    item_id: Id
    target: Target
    post_id: Id
    community_id: Id
    author_id: Id | None
    anonymous: bool
    deleted: bool


def not_found() -> Refusal:
    """The same for an id of nothing and for what one may not see."""
    message = "There is no such post or comment, or you may not see it. Check the link."
    return Refusal(Code.TARGET_NOT_FOUND, message, "target_id")


def deleted(target: Target) -> Refusal:
    """The item is gone."""
    if target == "post":
        return Refusal(Code.POST_DELETED, "This post was deleted. Nothing can be done with it any more.")
    return Refusal(Code.COMMENT_DELETED, "This comment was deleted. Nothing can be done with it any more.")
