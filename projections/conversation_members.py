"""Who is in each conversation. A row exists while somebody is in it; all its events are of one stream."""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.conversation import DirectOpened, GroupJoined, GroupLeft, GroupMemberRemoved
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ConversationMember(Row, frozen=True, gc=False):
    """Somebody in a conversation, whom ``adder_id`` put there. ``position`` is that of the joining.

    Two people who have a conversation came to it by one event, whose position both rows have.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("conversation_id", "account_id")
    conversation_id: Id
    account_id: Id
    adder_id: Id | None = None
    joined_at: datetime | None = None
    position: int = 0


conversation_members = Projection(
    "conversation_members",
    version=1,
    row=ConversationMember,
    signal=lambda row: (
        f"standing:{row.conversation_id}",
        f"conversations:{row.account_id}",
        f"company:{row.account_id}",
    ),
    local=True,
)


def _both(e: DirectOpened, _at: Recorded) -> list[tuple[Id, Id]]:
    return [(e.conversation_id, e.opener_id), (e.conversation_id, e.other_id)]


@conversation_members.on(DirectOpened, keys=_both)
def _(row: ConversationMember, e: DirectOpened, at: Recorded) -> ConversationMember:
    return replace(row, adder_id=e.opener_id, joined_at=at.occurred_at, position=at.position)


@conversation_members.on(GroupJoined, key=lambda e: (e.conversation_id, e.account_id))
def _(row: ConversationMember, e: GroupJoined, at: Recorded) -> ConversationMember:
    return replace(row, adder_id=e.adder_id, joined_at=at.occurred_at, position=at.position)


@conversation_members.on(GroupLeft, GroupMemberRemoved, key=lambda e: (e.conversation_id, e.account_id))
def _(_row: ConversationMember, _e: GroupLeft | GroupMemberRemoved) -> None:
    return None
