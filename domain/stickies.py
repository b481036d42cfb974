"""The list of the sticky posts of one community: a stream that guards one invariant, that there are only a few.

Whether a post is sticky is told by the post; this list is written in the same append, so that two moderators who make
the last one sticky at the same moment meet here.
"""

from typing import Final

from domain.event import Event, Id
from domain.limits import Limits
from domain.refusal import Code, Refusal


class StickyListed(Event, frozen=True):
    """The post is one of its community's sticky posts from now on."""

    community_id: Id
    post_id: Id


class StickyDelisted(Event, frozen=True):
    """The post is none of them any more."""

    community_id: Id
    post_id: Id


START: Final[frozenset[Id]] = frozenset()


def evolve(post_ids: frozenset[Id], event: Event) -> frozenset[Id]:
    """Which posts are on the list after the event."""
    match event:
        case StickyListed(post_id=post_id):
            return post_ids | {post_id}
        case StickyDelisted(post_id=post_id):
            return post_ids - {post_id}
        case _:
            return post_ids


def listed(post_ids: frozenset[Id], *, community_id: Id, post_id: Id, limits: Limits) -> tuple[Event, ...]:
    """The post is put on the list. Raises ``TOO_MANY_STICKIES``."""
    if post_id in post_ids:
        return ()
    if len(post_ids) >= limits.stickies_max:
        message = f"A community has at most {limits.stickies_max} sticky posts. Let one of them go first."
        raise Refusal(Code.TOO_MANY_STICKIES, message, "post_id")
    return (StickyListed(community_id=community_id, post_id=post_id),)


def delisted(post_ids: frozenset[Id], *, community_id: Id, post_id: Id) -> tuple[Event, ...]:
    """The post is taken off the list, if it is on it."""
    return (StickyDelisted(community_id=community_id, post_id=post_id),) if post_id in post_ids else ()
