"""Whom each message mentions as it now reads: an account, a role, or everyone by the id of the server."""

from typing import Any, ClassVar

from domain import snowflake
from domain.event import Id
from domain.ids import unpacked
from domain.message import MessageDeleted, MessageEdited, MessageSent
from projections.core import Projection, Row
from schemas.envelope import Recorded


class MessageMention(Row, frozen=True, gc=False):
    """The message mentions the target."""

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "target_id", "message_id")
    channel_id: Id
    target_id: Id
    message_id: int
    author_id: Id | None = None


message_mentions = Projection("message_mentions", version=1, row=MessageMention, local=True)


def _keys(e: Any, targets: bytes) -> tuple[tuple[Id, Id, int], ...]:
    of = snowflake.of_id(e.message_id) if targets else 0
    return tuple((e.channel_id, target_id, of) for target_id in unpacked(targets))


@message_mentions.on(MessageSent, MessageEdited, keys=lambda e, _: _keys(e, e.mentions))
def _(row: MessageMention, e: MessageSent | MessageEdited) -> MessageMention:
    return MessageMention(row.channel_id, row.target_id, row.message_id, e.author_id)


def _gone(e: MessageEdited, _at: Recorded) -> tuple[tuple[Id, Id, int], ...]:
    kept = set(_keys(e, e.mentions))
    return tuple(key for key in _keys(e, e.mentioned) if key not in kept)


@message_mentions.on(MessageEdited, keys=_gone)
def _(_row: MessageMention, _e: MessageEdited) -> None:
    return None


@message_mentions.on(MessageDeleted, keys=lambda e, _: _keys(e, e.mentioned))
def _(_row: MessageMention, _e: MessageDeleted) -> None:
    return None
