"""The messages of every channel and conversation: the message log. Rows are never deleted; a deleted message is empty.

All its events are of one stream. The one view whose rows live in Cassandra where a fleet has one: ``month`` is part of
the key so that a partition there stays of bounded size.
"""

from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from domain import snowflake
from domain.event import Id
from domain.message import MessageDeleted, MessageEdited, MessageSent
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Message(Row, frozen=True, gc=False):
    """A message. ``position`` is that of the last event in it.

    ``month`` is told from ``message_id`` (``domain.snowflake``). ``mentions`` and ``attachments`` are as in the event.
    ``sent_at`` is ``None`` where only a later event of it is known, which cannot be: nothing to show.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "month", "message_id")
    channel_id: Id
    month: int
    message_id: int
    author_id: Id | None = None
    body: str = ""
    attachments: str = ""
    mentions: bytes = b""
    reply_to_id: int | None = None
    sent_at: datetime | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    position: int = 0

    @property
    def id(self) -> Id:
        """The id of its stream."""
        return snowflake.as_id(self.message_id)


messages = Projection(
    "messages",
    version=1,
    row=Message,
    # As that of channel_messages, which is of the same batch: it is for what comes late into this view alone.
    signal=lambda row: f"messages:{row.channel_id}",
    local=True,
    message_log=True,
)


def _key(e: Any) -> tuple[Id, int, int]:
    number = snowflake.of_id(e.message_id)
    return e.channel_id, snowflake.month(number), number


@messages.on(MessageSent, key=_key)
def _(row: Message, e: MessageSent, at: Recorded) -> Message:
    return Message(
        row.channel_id,
        row.month,
        row.message_id,
        author_id=e.author_id,
        body=e.body,
        attachments=e.attachments,
        mentions=e.mentions,
        reply_to_id=None if e.reply_to_id is None else snowflake.of_id(e.reply_to_id),
        sent_at=at.occurred_at,
        position=at.position,
    )


@messages.on(MessageEdited, key=_key)
def _(row: Message, e: MessageEdited, at: Recorded) -> Message:
    return replace(row, body=e.body, mentions=e.mentions, edited_at=at.occurred_at, position=at.position)


@messages.on(MessageDeleted, key=_key)
def _(row: Message, _e: MessageDeleted, at: Recorded) -> Message:
    return replace(row, body="", attachments="", mentions=b"", deleted_at=at.occurred_at, position=at.position)
