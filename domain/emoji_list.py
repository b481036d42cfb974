"""The list of the emoji of one message: a stream that guards one invariant, that there are only so many.

Who reacts with what is told by each account's own reactions; this list is written in the same append, so that two who
bring a new emoji at the same moment meet here, and those who join in with one that is there meet nobody. An emoji stays
on it when the last account takes it back: whether it was the last, only a stream of all accounts could tell.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from domain.event import Event, Id
from domain.limits import Limits
from domain.reaction import ReactionAdded
from domain.refusal import Code, Refusal


class EmojiListed(Event, frozen=True):
    """The account is the first that reacts to the message with that emoji."""

    message_id: Id
    channel_id: Id
    account_id: Id
    emoji: str


START: Final[Mapping[str, Id]] = {}


def evolve(emoji: Mapping[str, Id], event: Event) -> Mapping[str, Id]:
    """Which emoji are on the list after the event, each with the account that brought it."""
    return {**emoji, event.emoji: event.account_id} if isinstance(event, EmojiListed) else emoji


def listed(emoji: Mapping[str, Id], events: Iterable[Event], *, limits: Limits) -> tuple[Event, ...]:
    """What of an account's new reactions is put on the list. Raises ``TOO_MANY_EMOJI``."""
    new = [event for event in events if isinstance(event, ReactionAdded) and event.emoji not in emoji]
    if new and len(emoji) + len(new) > limits.emoji_max:
        message = f"People have reacted to this with {limits.emoji_max} different emoji already; it takes one of those."
        raise Refusal(Code.TOO_MANY_EMOJI, message, "emoji")
    for one in new:
        if sum(one.account_id == by for by in emoji.values()) + len(new) > limits.emoji_brought_max:
            message = f"You brought {limits.emoji_brought_max} different emoji to this already; join in with others'."
            raise Refusal(Code.TOO_MANY_EMOJI, message, "emoji")
    return tuple(EmojiListed(one.message_id, one.channel_id, one.account_id, one.emoji) for one in new)
