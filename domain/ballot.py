"""A ballot: one voter's vote on one post or comment. Nothing holds all voters of anything."""

from typing import Literal

from domain.event import Event, Id

Target = Literal["post", "comment"]
Value = Literal[-1, 0, 1]


class VoteCast(Event, frozen=True):
    """The voter's vote on the target is now ``value`` and was ``previous``: 1 up, -1 down, 0 none.

    ``author_id`` gets the karma; it is ``None`` where there is nobody to get it (an anonymous post, whose
    author karma would give away, or an archive's deleted author).
    """

    voter_id: Id
    target_id: Id
    target: Target
    post_id: Id
    community_id: Id
    author_id: Id | None
    previous: Value
    value: Value
