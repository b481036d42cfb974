"""Conversations and who is in them, row by row."""

from domain.conversation import (
    DirectOpened,
    GroupCreated,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    GroupMemberRemoved,
    GroupRenamed,
)
from domain.event import Event
from projections.conversation_members import ConversationMember
from projections.conversations import Conversation
from tests.projections.folds import NOW, ident, recorded, rows

ADA, BOB, PAIR, GANG = (ident(name) for name in ("ada", "bob", "pair", "gang"))
MADE: tuple[Event, ...] = (
    GroupCreated(conversation_id=GANG, owner_id=ADA, name="Trip"),
    GroupJoined(conversation_id=GANG, account_id=ADA, adder_id=ADA),
    GroupJoined(conversation_id=GANG, account_id=BOB, adder_id=ADA),
)


def test_two_people_come_to_a_conversation_by_one_event() -> None:
    log = recorded(DirectOpened(conversation_id=PAIR, opener_id=ADA, other_id=BOB))
    assert rows("conversations", log) == {PAIR: Conversation(PAIR, "", None, NOW, 2, 1)}
    assert rows("conversation_members", log) == {
        (PAIR, one): ConversationMember(PAIR, one, ADA, NOW, 1) for one in (ADA, BOB)
    }


def test_a_group_changes_and_its_place_in_lists_stays() -> None:
    log = recorded(
        *MADE,
        GroupRenamed(conversation_id=GANG, editor_id=BOB, name="Trips"),
        GroupHandedOver(conversation_id=GANG, owner_id=ADA, account_id=BOB),
    )
    assert rows("conversations", log) == {GANG: Conversation(GANG, "Trips", BOB, NOW, 2, 1)}
    assert rows("conversation_members", log) == {
        (GANG, ADA): ConversationMember(GANG, ADA, ADA, NOW, 2),
        (GANG, BOB): ConversationMember(GANG, BOB, ADA, NOW, 3),
    }


def test_a_group_without_anybody_leaves_nothing() -> None:
    out = GroupMemberRemoved(conversation_id=GANG, account_id=BOB, remover_id=ADA)
    assert rows("conversations", recorded(*MADE, out))[GANG].members == 1
    gone = recorded(*MADE, out, GroupLeft(conversation_id=GANG, account_id=ADA))
    assert rows("conversations", gone) == rows("conversation_members", gone) == {}
