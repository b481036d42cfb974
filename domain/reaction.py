"""One account's reaction to one message with one emoji."""

import unicodedata
from typing import ClassVar, Final

from domain import message as messages
from domain import permissions
from domain.command import Command
from domain.event import Event, Id
from domain.message import Message, Place
from domain.permissions import Permission
from domain.refusal import Code, Refusal

_LENGTH_MAX: Final = 32
"""The longest sequences of Unicode's emoji have 15 code points (https://unicode.org/Public/emoji/)."""
_PARTS: Final = frozenset(("So", "Sk", "Sm", "Po", "Mn", "Me", "Cf"))
_KEYCAP: Final = "\N{COMBINING ENCLOSING KEYCAP}"
_PICTURES: Final = range(0x1F000, 0x1FB00)


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
    """React to a message with an emoji. Needs ``ADD_REACTIONS``."""

    message_id: Id
    emoji: str


class RemoveReaction(Command, frozen=True):
    """Take one's own reaction back."""

    ends: ClassVar[bool] = True
    message_id: Id
    emoji: str


START: Final = False
"""Does not react."""


def evolve(reacts: bool, event: Event) -> bool:
    """Whether the account reacts after the event."""
    match event:
        case ReactionAdded():
            return True
        case ReactionRemoved():
            return False
        case _:
            return reacts


def decide(
    command: AddReaction | RemoveReaction, reacts: bool, message: Message | None, place: Place | None, *, account_id: Id
) -> tuple[Event, ...]:
    """What the command makes of the reaction."""
    message = messages.seen(message, place)
    assert place is not None
    ids = {"message_id": message.message_id, "channel_id": message.channel_id, "account_id": account_id}
    if isinstance(command, RemoveReaction):
        return (ReactionRemoved(**ids, emoji=command.emoji),) if reacts else ()
    place.blocks.refuse("react to", "message_id")
    if Permission.ADD_REACTIONS not in place.may:
        raise permissions.denied(Permission.ADD_REACTIONS)
    if message.deleted:
        raise messages.deleted()
    if not _is_emoji(command.emoji):
        raise Refusal(Code.INVALID_VALUE, "React with one emoji.", "emoji")
    return () if reacts else (ReactionAdded(**ids, emoji=command.emoji),)


def _is_emoji(text: str) -> bool:
    """Whether it could be one emoji; which there are is for fonts to say, and there are more each year."""
    if not text or len(text) > _LENGTH_MAX:
        return False
    if text.endswith(_KEYCAP):
        return text[0] in "0123456789#*" and all(sign in "\ufe0f" + _KEYCAP for sign in text[1:])
    pictures = [sign for sign in text if unicodedata.category(sign) == "So" or ord(sign) in _PICTURES or sign in "©®‼⁉"]
    return bool(pictures) and all(unicodedata.category(sign) in _PARTS or ord(sign) in _PICTURES for sign in text)
