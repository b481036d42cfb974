"""How far somebody has read in a channel. Each move of the marker is a stream of its own; the last in the log holds.

So it moves back as it moves forth, and nobody's streams grow with how much he reads.
"""

from domain import channel as channels
from domain import message as messages
from domain.command import Command
from domain.event import Event, Id
from domain.message import Message, Place
from domain.permissions import Permission


class MarkerMoved(Event, frozen=True):
    """The account has read the messages of the channel up to that one."""

    account_id: Id
    channel_id: Id
    message_id: Id


class MarkRead(Command, frozen=True):
    """Say up to which message one has read a channel. An earlier one makes those after it unread again."""

    channel_id: Id
    message_id: Id


def decide(command: MarkRead, message: Message | None, place: Place | None, *, account_id: Id) -> tuple[Event, ...]:
    """The marker at that message, which may be deleted."""
    if place is None or Permission.VIEW_CHANNELS not in place.may:
        raise channels.not_found()
    if message is None or message.channel_id != command.channel_id:
        raise messages.not_found()
    return (MarkerMoved(account_id=account_id, channel_id=command.channel_id, message_id=message.message_id),)
