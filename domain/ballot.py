"""A ballot: one voter's vote on one post or comment. Nothing holds all voters of anything."""

from typing import Literal

from domain import item as items
from domain.access import Access
from domain.command import Command
from domain.event import Event, Id
from domain.item import Item, Target
from domain.refusal import Code, Refusal

Value = Literal[-1, 0, 1]


class VoteCast(Event, frozen=True):
    """The voter's vote on the target is now ``value`` and was ``previous``: 1 up, -1 down, 0 none.

    ``author_id`` gets the karma; it is ``None`` where there is nobody to get it (an anonymous post, whose
    author karma would give away, an archive's deleted author, or the voter, who earns nothing from himself).
    """

    voter_id: Id
    target_id: Id
    target: Target
    post_id: Id
    community_id: Id
    author_id: Id | None
    previous: Value
    value: Value


class CastVote(Command, frozen=True):
    """Vote a post or comment up (1) or down (-1), or withdraw the vote (0)."""

    target_id: Id
    value: Value

    @property
    def ends(self) -> bool:
        """A vote can always be withdrawn."""
        return self.value == 0


START: Value = 0


def evolve(value: Value, event: Event) -> Value:
    """The vote after the event."""
    return event.value if isinstance(event, VoteCast) else value


def decide(
    command: CastVote, value: Value, *, voter_id: Id, item: Item | None, access: Access, blocking: bool
) -> tuple[Event, ...]:
    """What the command makes of a vote that is ``value`` now. ``blocking``: the voter blocks the author."""
    if command.value not in (-1, 0, 1):
        raise Refusal(Code.INVALID_VALUE, "A vote is 1 (up), -1 (down) or 0 (none).", "value")
    if item is None or not access.sees:
        raise items.not_found()
    if item.deleted:
        raise items.deleted(item.target)
    if command.value == value:
        return ()
    # A refusal here would tell who wrote an anonymous post. And a vote can always be withdrawn.
    if blocking and command.value != 0 and not item.anonymous:
        raise Refusal(Code.BLOCKED, "You block the author. Unblock them to vote on what they write.", "target_id")
    vote = VoteCast(
        voter_id=voter_id,
        target_id=item.item_id,
        target=item.target,
        post_id=item.post_id,
        community_id=item.community_id,
        author_id=None if item.anonymous or item.author_id == voter_id else item.author_id,
        previous=value,
        value=command.value,
    )
    return (vote,)
