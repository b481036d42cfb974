"""Conversations between two people, and groups. All events of a row are of one stream.

The row of a group is gone when nobody is in it any more: nobody could come back to it.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.conversation import (
    DirectOpened,
    GroupCreated,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    GroupMemberRemoved,
    GroupRenamed,
)
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Conversation(Row, frozen=True, gc=False):
    """A conversation; ``owner_id`` is ``None`` for one between two people. ``position`` is that of its beginning."""

    key_fields: ClassVar[tuple[str, ...]] = ("conversation_id",)
    conversation_id: Id
    name: str = ""
    owner_id: Id | None = None
    created_at: datetime | None = None
    members: int = 0
    position: int = 0


conversations = Projection("conversations", version=1, row=Conversation, local=True)


@conversations.on(DirectOpened, key=lambda e: e.conversation_id)
def _(row: Conversation, _e: DirectOpened, at: Recorded) -> Conversation:
    return replace(row, created_at=at.occurred_at, members=2, position=at.position)


@conversations.on(GroupCreated, key=lambda e: e.conversation_id)
def _(row: Conversation, e: GroupCreated, at: Recorded) -> Conversation:
    return replace(row, name=e.name, owner_id=e.owner_id, created_at=at.occurred_at, position=at.position)


@conversations.on(GroupRenamed, key=lambda e: e.conversation_id)
def _(row: Conversation, e: GroupRenamed) -> Conversation:
    return replace(row, name=e.name)


@conversations.on(GroupHandedOver, key=lambda e: e.conversation_id)
def _(row: Conversation, e: GroupHandedOver) -> Conversation:
    return replace(row, owner_id=e.account_id)


@conversations.on(GroupJoined, key=lambda e: e.conversation_id)
def _(row: Conversation, _e: GroupJoined) -> Conversation:
    return replace(row, members=row.members + 1)


@conversations.on(GroupLeft, GroupMemberRemoved, key=lambda e: e.conversation_id)
def _(row: Conversation, _e: GroupLeft | GroupMemberRemoved) -> Conversation | None:
    return replace(row, members=row.members - 1) if row.members > 1 else None
