"""One account's reactions to one message: any number of emoji, each once."""

import re
import unicodedata
from typing import ClassVar, Final

from domain import message as messages
from domain import permissions
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.message import Message, Place
from domain.permissions import Permission
from domain.refusal import Code, Refusal

_LENGTH_MAX: Final = 32
"""The longest sequences of Unicode's emoji have 15 code points (https://unicode.org/Public/emoji/)."""
_PICTURE: Final = (
    "(?:[©®‼⁉™\u2139〰〽㊗㊙\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
    "\ufe0f?[\U0001f3fb-\U0001f3ff]?(?:[\U000e0020-\U000e007e]+\U000e007f)?)"
)
_EMOJI: Final = re.compile(f"(?:[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_PICTURE}(?:\u200d{_PICTURE})*)\\Z")
"""One emoji, by the grammar of https://unicode.org/reports/tr51/#EBNF_and_Regex. Fonts say which there are."""
_AS_PICTURE: Final = "\ufe0f"
_WIDE_TEXT: Final = frozenset("〰〽㊗㊙\U0001f202\U0001f237")
"""The signs that are text by default although they are wide."""
_PARTS: Final = re.compile("[\u200d\u20e3\U0001f1e6-\U0001f1ff\U000e0020-\U000e007f]")
"""What joins, frames or spells, and is no picture of its own."""
_SKIN: Final = re.compile("[\U0001f3fb-\U0001f3ff]")


class ReactionAdded(Event, frozen=True):
    """The account reacts to the message with that emoji."""

    message_id: Id
    channel_id: Id
    account_id: Id
    emoji: str


class ReactionRemoved(Event, frozen=True):
    """It does no more."""

    message_id: Id
    channel_id: Id
    account_id: Id
    emoji: str


class AddReaction(Command, frozen=True):
    """React to a message with an emoji. Needs ``ADD_REACTIONS``; ``domain.emoji_list`` says how many it takes."""

    message_id: Id
    emoji: str


class RemoveReaction(Command, frozen=True):
    """Take one's own reaction back."""

    ends: ClassVar[bool] = True
    message_id: Id
    emoji: str


START: Final[frozenset[str]] = frozenset()
"""Does not react."""


def evolve(emoji: frozenset[str], event: Event) -> frozenset[str]:
    """With what the account reacts after the event."""
    match event:
        case ReactionAdded():
            return emoji | {event.emoji}
        case ReactionRemoved():
            return emoji - {event.emoji}
        case _:
            return emoji


def decide(
    command: AddReaction | RemoveReaction,
    reacts: frozenset[str],
    message: Message | None,
    place: Place | None,
    *,
    account_id: Id,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the command makes of the account's reactions."""
    message = messages.seen(message, place)
    assert place is not None
    ids = {"message_id": message.message_id, "channel_id": message.channel_id, "account_id": account_id}
    emoji = _canonical(command.emoji)
    if isinstance(command, RemoveReaction):
        return (ReactionRemoved(**ids, emoji=emoji),) if emoji in reacts else ()
    place.blocks.refuse("react to", "message_id")
    if Permission.ADD_REACTIONS not in place.may:
        raise permissions.denied(Permission.ADD_REACTIONS)
    if message.deleted:
        raise messages.deleted()
    if len(emoji) > _LENGTH_MAX or not _EMOJI.match(emoji):
        raise Refusal(Code.INVALID_VALUE, "React with one emoji.", "emoji")
    if emoji in reacts:
        return ()
    if len(reacts) >= limits.reactions_max:
        message_ = f"You react to this with {limits.reactions_max} emoji already. Take one back first."
        raise Refusal(Code.TOO_MANY_REACTIONS, message_, "emoji")
    return (ReactionAdded(**ids, emoji=emoji),)


def _canonical(emoji: str) -> str:
    """The emoji as Unicode recommends to write it: clients leave signs out that make a picture of what can be text.

    That is the fully-qualified form (https://unicode.org/reports/tr51/#def_fully_qualified_emoji_zwj_sequence). Of all
    pictures those that are not wide are text by default (https://unicode.org/reports/tr11/#ED4), but for six.
    """
    if len(emoji) > _LENGTH_MAX:
        return emoji
    bare = emoji.replace(_AS_PICTURE, "")
    return "".join(
        sign + _AS_PICTURE if _is_text(sign) and not _SKIN.match(bare, at) else sign for at, sign in enumerate(bare, 1)
    )


def _is_text(sign: str) -> bool:
    """Whether it is text by default. What this Python does not know yet is a new emoji, and those never are."""
    if _PARTS.match(sign) or unicodedata.category(sign) == "Cn":
        return False
    return sign in _WIDE_TEXT or unicodedata.east_asian_width(sign) != "W"
