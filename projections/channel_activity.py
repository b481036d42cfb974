"""The last message of each channel and conversation, and the signal that something was said in a server."""

from typing import ClassVar

from msgspec.structs import replace

from domain import snowflake
from domain.event import Id
from domain.message import MessageDeleted, MessageEdited, MessageSent
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ChannelActivity(Row, frozen=True, gc=False):
    """``last_message_id`` is the largest id, deleted ones included; ``server_id`` is ``None`` in a conversation."""

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id",)
    channel_id: Id
    server_id: Id | None = None
    last_message_id: int = 0
    position: int = 0


channel_activity = Projection(
    "channel_activity",
    version=1,
    row=ChannelActivity,
    signal=lambda row: f"activity:{row.server_id or row.channel_id}",
    local=True,
)


@channel_activity.on(MessageSent, MessageEdited, MessageDeleted, key=lambda e: e.channel_id)
def _(row: ChannelActivity, e: MessageSent | MessageEdited | MessageDeleted, at: Recorded) -> ChannelActivity:
    last = max(row.last_message_id, snowflake.of_id(e.message_id))
    return replace(row, server_id=e.server_id, last_message_id=last, position=max(row.position, at.position))
