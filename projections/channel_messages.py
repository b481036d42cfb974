"""Which messages each channel has and when each last changed: what following a channel reads, and what is counted."""

from typing import Any, ClassVar

from msgspec.structs import replace

from domain import snowflake
from domain.event import Id
from domain.message import MessageDeleted, MessageEdited, MessageSent
from domain.reaction import ReactionAdded, ReactionRemoved
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ChannelMessage(Row, frozen=True, gc=False):
    """A message in its channel, sent at ``position``.

    ``changed`` is the position of the last event about it, its reactions included; ``said`` that of the last event of
    the message itself, which the message log has to hold before it may be told.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "message_id")
    channel_id: Id
    message_id: int
    author_id: Id | None = None
    deleted: bool = False
    position: int = 0
    changed: int = 0
    said: int = 0


channel_messages = Projection(
    "channel_messages",
    version=1,
    row=ChannelMessage,
    signal=lambda row: f"messages:{row.channel_id}",
    local=True,
)


def _key(e: Any) -> tuple[Id, int]:
    return e.channel_id, snowflake.of_id(e.message_id)


@channel_messages.on(MessageSent, key=_key)
def _(row: ChannelMessage, e: MessageSent, at: Recorded) -> ChannelMessage:
    # A reaction comes from a stream of its own, so it may be folded first where a message waited behind a poison event.
    position = at.position
    return replace(row, author_id=e.author_id, position=position, changed=max(row.changed, position), said=position)


@channel_messages.on(MessageEdited, key=_key)
def _(row: ChannelMessage, _e: MessageEdited, at: Recorded) -> ChannelMessage:
    return replace(row, changed=max(row.changed, at.position), said=at.position)


@channel_messages.on(ReactionAdded, ReactionRemoved, key=_key)
def _(row: ChannelMessage, _e: ReactionAdded | ReactionRemoved, at: Recorded) -> ChannelMessage:
    return replace(row, changed=max(row.changed, at.position))


@channel_messages.on(MessageDeleted, key=_key)
def _(row: ChannelMessage, _e: MessageDeleted, at: Recorded) -> ChannelMessage:
    return replace(row, deleted=True, changed=max(row.changed, at.position), said=at.position)
