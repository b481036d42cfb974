"""Conversations between two people, and groups: who may open, enter, change and leave them."""

import asyncio
from typing import Any

import pytest

from commands import standing
from commands.use_case import Streams
from domain import permissions
from domain.block import AccountUnblocked
from domain.command import Command
from domain.conversation import (
    WHERE_BLOCKED,
    WHERE_INSIDE,
    AddToGroup,
    Conversation,
    CreateGroup,
    DirectOpened,
    GroupCreated,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    GroupMemberRemoved,
    GroupRenamed,
    HandOverGroup,
    LeaveGroup,
    OpenDirect,
    Party,
    RemoveFromGroup,
    RenameGroup,
)
from domain.emoji_list import EmojiListed
from domain.event import Event, Id
from domain.ids import derived, direct_id, packed
from domain.limits import Limits
from domain.message import DeleteMessage, EditMessage, MessageSent, SendMessage
from domain.nonce import NonceUsed
from domain.permissions import Permission
from domain.reaction import AddReaction, ReactionAdded
from domain.read_marker import MarkerMoved, MarkRead
from domain.refusal import Code
from domain.relation import Blocks
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    DIRECT,
    GROUP,
    MESSAGE,
    NOBODY,
    SENT,
    SERVER,
    blocked,
    chat,
    given,
    group,
    grouped,
    made,
    named,
    talking,
)

LEFT_BY_BOB = GroupLeft(conversation_id=GROUP, account_id=BOB)
BLOCKS = [pytest.param(blocked(ALICE, BOB), id="blocks"), pytest.param(blocked(BOB, ALICE), id="blocked")]


# Between two people


def test_two_people_have_one_conversation_whoever_opens_it() -> None:
    given().when(OpenDirect(BOB)).then(talking())
    there = given(talking())
    for asks, other in ((ALICE, BOB), (BOB, ALICE)):
        then = there.when(OpenDirect(other), by=asks)
        then.then_nothing()
        assert then.outcome is not None
        assert then.outcome.subject_id == DIRECT == direct_id(BOB, ALICE)
    given(talking()).when(OpenDirect(CAROL)).then(
        DirectOpened(conversation_id=direct_id(ALICE, CAROL), opener_id=ALICE, other_id=CAROL)
    )


def test_nobody_talks_with_himself_nor_with_nobody() -> None:
    given().when(OpenDirect(ALICE)).then_refused(Code.NOT_YOURSELF, "account_id")
    given().when(OpenDirect(NOBODY)).then_refused(Code.ACCOUNT_NOT_FOUND, "account_id")


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_forbids_opening_what_is_not_open(block: Event) -> None:
    given(block).when(OpenDirect(BOB)).then_refused(Code.BLOCKED, "account_id")
    given(talking(), block).when(OpenDirect(BOB)).then_nothing()
    given(blocked(ALICE, BOB), AccountUnblocked(blocker_id=ALICE, blocked_id=BOB)).when(OpenDirect(BOB)).then(talking())


@pytest.mark.parametrize(
    "command",
    [
        AddToGroup(DIRECT, CAROL),
        RenameGroup(DIRECT, "Us"),
        HandOverGroup(DIRECT, BOB),
        RemoveFromGroup(DIRECT, BOB),
        LeaveGroup(DIRECT),
    ],
    ids=lambda c: type(c).__name__,
)
def test_two_people_stay_two(command: Command) -> None:
    given(talking()).when(command).then_refused(Code.NOT_A_GROUP, "conversation_id")
    given(talking()).when(command, by=CAROL).then_refused(Code.CONVERSATION_NOT_FOUND, "conversation_id")


# Groups


def test_a_group_is_made_with_those_who_are_wanted() -> None:
    new = made("group", CreateGroup, ALICE)
    given().when(CreateGroup((BOB, ALICE, CAROL, BOB), "  Our  trip ")).then(
        GroupCreated(conversation_id=new, owner_id=ALICE, name="Our trip"),
        *(GroupJoined(conversation_id=new, account_id=one, adder_id=ALICE) for one in (ALICE, BOB, CAROL)),
    )
    given().when(CreateGroup()).then(
        GroupCreated(conversation_id=new, owner_id=ALICE, name=""),
        GroupJoined(conversation_id=new, account_id=ALICE, adder_id=ALICE),
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_nobody_is_added_across_a_block(block: Event) -> None:
    given(block).when(CreateGroup((CAROL, BOB))).then_refused(Code.BLOCKED, "account_ids")
    given(*group(ALICE), block).when(AddToGroup(GROUP, BOB)).then_refused(Code.BLOCKED, "account_id")
    given(*group(ALICE, BOB), block).when(AddToGroup(GROUP, BOB)).then_nothing()
    given(*group(ALICE, CAROL), block).when(AddToGroup(GROUP, BOB), by=CAROL).then(grouped(BOB, CAROL))


def test_a_group_is_of_people_and_of_so_many_at_most() -> None:
    given().when(CreateGroup((BOB, NOBODY))).then_refused(Code.ACCOUNT_NOT_FOUND, "account_ids")
    given(*group(ALICE)).when(AddToGroup(GROUP, NOBODY)).then_refused(Code.ACCOUNT_NOT_FOUND, "account_id")
    two = Limits(group_members_max=2)
    assert given().when(CreateGroup((BOB,)), limits=two).recorded
    given().when(CreateGroup((BOB, CAROL)), limits=two).then_refused(Code.TOO_MANY_MEMBERS, "account_ids")
    full = given(*group(ALICE, BOB))
    full.when(AddToGroup(GROUP, CAROL), limits=two).then_refused(Code.TOO_MANY_MEMBERS)
    full.when(AddToGroup(GROUP, BOB), limits=two, key="again").then_nothing()
    given(*group(ALICE, BOB), LEFT_BY_BOB).when(AddToGroup(GROUP, CAROL), limits=two).then(grouped(CAROL, ALICE))


def test_a_list_of_thousands_loads_nothing() -> None:
    """It is refused before anybody on it is looked up."""
    many = tuple(derived("test", "many", str(number)) for number in range(1_000))
    given().when(CreateGroup(many)).then_refused(Code.TOO_MANY_MEMBERS, "account_ids")
    fifty = many[:50]
    given().when(CreateGroup(fifty)).then_refused(Code.TOO_MANY_MEMBERS, "account_ids")
    given().when(CreateGroup(fifty[1:])).then_refused(Code.ACCOUNT_NOT_FOUND, "account_ids")


def test_whoever_is_in_a_group_names_it() -> None:
    renamed = GroupRenamed(conversation_id=GROUP, editor_id=BOB, name="Trip")
    given(*group(ALICE, BOB)).when(RenameGroup(GROUP, " Trip "), by=BOB).then(renamed)
    given(*group(ALICE, BOB), renamed).when(RenameGroup(GROUP, "Trip")).then_nothing()
    given(*group(ALICE, BOB), renamed).when(RenameGroup(GROUP, "  ")).then(
        GroupRenamed(conversation_id=GROUP, editor_id=ALICE, name="")
    )
    given(*group(ALICE)).when(RenameGroup(GROUP, "x" * 101)).then_refused(Code.TOO_LONG, "name")
    given(*group(ALICE)).when(RenameGroup(GROUP, "\x00")).then_refused(Code.INVALID_CHARACTERS, "name")


def test_a_group_is_given_to_somebody_in_it_by_its_owner() -> None:
    given_ = GroupHandedOver(conversation_id=GROUP, owner_id=ALICE, account_id=BOB)
    given(*group(ALICE, BOB)).when(HandOverGroup(GROUP, BOB)).then(given_)
    given(*group(ALICE, BOB), given_).when(HandOverGroup(GROUP, BOB)).then_nothing()
    given(*group(ALICE, BOB), given_).when(HandOverGroup(GROUP, ALICE)).then_refused(Code.PERMISSION_DENIED)
    given(*group(ALICE, BOB)).when(HandOverGroup(GROUP, CAROL)).then_refused(Code.NOT_A_MEMBER, "account_id")


def test_the_owner_puts_people_out() -> None:
    there = (*group(ALICE, BOB, CAROL),)
    gone = GroupMemberRemoved(conversation_id=GROUP, account_id=BOB, remover_id=ALICE)
    given(*there).when(RemoveFromGroup(GROUP, BOB)).then(gone)
    given(*there, gone).when(RemoveFromGroup(GROUP, BOB)).then_nothing()
    given(*there).when(RemoveFromGroup(GROUP, BOB), by=CAROL).then_refused(Code.PERMISSION_DENIED)
    given(*there).when(RemoveFromGroup(GROUP, ALICE)).then_refused(Code.NOT_YOURSELF, "account_id")
    given(*there, gone).when(RenameGroup(GROUP, "Mine"), by=BOB).then_refused(Code.CONVERSATION_NOT_FOUND)


def test_with_its_owner_gone_a_group_is_whose_is_in_it_for_longest() -> None:
    leave = LeaveGroup(GROUP)
    given(*group(ALICE, BOB)).when(leave, by=BOB).then(LEFT_BY_BOB)
    again = (*group(ALICE, BOB, CAROL), LEFT_BY_BOB, grouped(BOB, CAROL))
    given(*again).when(leave).then(
        GroupHandedOver(conversation_id=GROUP, owner_id=ALICE, account_id=CAROL),
        GroupLeft(conversation_id=GROUP, account_id=ALICE),
    )
    alone = given(*group(ALICE))
    alone.when(leave).then(GroupLeft(conversation_id=GROUP, account_id=ALICE))
    alone.when(RenameGroup(GROUP, "Mine")).then_refused(Code.CONVERSATION_NOT_FOUND)


ABOUT_A_GROUP: list[Command] = [
    AddToGroup(GROUP, BOB),
    RenameGroup(GROUP, "Mine"),
    HandOverGroup(GROUP, BOB),
    RemoveFromGroup(GROUP, BOB),
    LeaveGroup(GROUP),
]


@pytest.mark.parametrize("command", ABOUT_A_GROUP, ids=lambda c: type(c).__name__)
def test_a_group_does_not_exist_for_those_who_are_not_in_it(command: Command) -> None:
    given(*group(BOB, CAROL)).when(command).then_refused(Code.CONVERSATION_NOT_FOUND, "conversation_id")
    given().when(command).then_refused(Code.CONVERSATION_NOT_FOUND, "conversation_id")


def test_nobody_makes_a_group_long_and_everybody_gets_out_of_it() -> None:
    few = Limits(changes_max=2)
    there = given(*group(ALICE, BOB))
    there.when(RenameGroup(GROUP, "More"), limits=few).then_refused(Code.TOO_MANY_CHANGES)
    there.when(RenameGroup(GROUP, "More"), by=BOB, limits=few, key="his").then(
        GroupRenamed(conversation_id=GROUP, editor_id=BOB, name="More")
    )
    there.when(RemoveFromGroup(GROUP, BOB), limits=few).then(
        GroupMemberRemoved(conversation_id=GROUP, account_id=BOB, remover_id=ALICE)
    )
    there.when(LeaveGroup(GROUP), limits=few).then(GroupLeft(conversation_id=GROUP, account_id=ALICE))


# What somebody may there


PAIR = Conversation(DIRECT, (ALICE, BOB))
GANG = Conversation(GROUP, (ALICE, BOB), ALICE)


@pytest.mark.parametrize("conversation", [None, PAIR, GANG], ids=["none", "direct", "group"])
@pytest.mark.parametrize("who", [ALICE, BOB, CAROL], ids=["alice", "bob", "carol"])
@pytest.mark.parametrize("by_actor", [False, True])
@pytest.mark.parametrize("of_actor", [False, True])
def test_what_somebody_may(conversation: Conversation | None, who: Id, by_actor: bool, of_actor: bool) -> None:
    party = Party(who, conversation, Blocks(by_actor=by_actor, of_actor=of_actor))
    if conversation is None or who is CAROL:
        assert party.may() == permissions.NONE
    elif conversation is PAIR and (by_actor or of_actor):
        assert party.may() == WHERE_BLOCKED
    else:
        assert party.may() == WHERE_INSIDE


@pytest.mark.parametrize(
    ("events", "who", "may"),
    [
        ((talking(),), ALICE, WHERE_INSIDE),
        ((talking(), blocked(BOB, ALICE)), ALICE, WHERE_BLOCKED),
        ((talking(), blocked(ALICE, BOB)), ALICE, WHERE_BLOCKED),
        ((talking(), blocked(BOB, CAROL)), ALICE, WHERE_INSIDE),
        ((talking(),), CAROL, permissions.NONE),
    ],
)
def test_commands_ask_the_streams(events: tuple[Event, ...], who: Id, may: Permission) -> None:
    there = given(*events, *group(ALICE, BOB), *chat(ALICE))

    def asked(conversation_id: Id) -> Permission:
        return asyncio.run(standing.in_conversation(Streams(there.store.load), conversation_id, who)).may()

    assert asked(DIRECT) == may
    assert asked(GROUP) == (WHERE_INSIDE if who is ALICE else permissions.NONE)
    assert asked(SERVER) == permissions.NONE
    assert asked(NOBODY) == permissions.NONE


# What is said there


def wrote(body: str, by: Id, *, at: Id = DIRECT, mentions: tuple[Id, ...] = (), message_id: Id = SENT) -> MessageSent:
    return MessageSent(
        message_id=message_id,
        channel_id=at,
        server_id=None,
        author_id=by,
        reply_to_id=None,
        mentions=packed(mentions),
        body=body,
        attachments="",
    )


TALK = (talking(), wrote("Hi", BOB, message_id=MESSAGE))
GROUP_TALK = (*group(ALICE, BOB), wrote("Hi", BOB, at=GROUP, message_id=MESSAGE))
NAMED = (named(BOB, "bob"), named(CAROL, "carol"))
OUT = GroupMemberRemoved(conversation_id=GROUP, account_id=BOB, remover_id=ALICE)
SAYING: list[Command] = [
    SendMessage(DIRECT, "Hello", MESSAGE),
    EditMessage(MESSAGE, "Hello"),
    AddReaction(MESSAGE, "👍"),
    MarkRead(DIRECT, MESSAGE),
]


def test_those_who_are_in_a_conversation_talk_there() -> None:
    used = NonceUsed(message_id=SENT, channel_id=DIRECT, author_id=ALICE)
    given(talking(), *NAMED).when(SendMessage(DIRECT, "@bob and @carol")).then(
        wrote("@bob and @carol", ALICE, mentions=(BOB,)), used
    )
    used = NonceUsed(message_id=SENT, channel_id=GROUP, author_id=BOB)
    given(*group(ALICE, BOB, CAROL), *NAMED).when(SendMessage(GROUP, "@carol @everyone"), by=BOB).then(
        wrote("@carol @everyone", BOB, at=GROUP, mentions=(CAROL,)), used
    )
    thumb: dict[str, Any] = {"message_id": MESSAGE, "channel_id": DIRECT, "account_id": ALICE, "emoji": "👍"}
    given(*TALK).when(AddReaction(MESSAGE, "👍")).then(EmojiListed(**thumb), ReactionAdded(**thumb))
    given(*GROUP_TALK).when(DeleteMessage(MESSAGE)).then_refused(Code.PERMISSION_DENIED)


@pytest.mark.parametrize("command", SAYING, ids=lambda c: type(c).__name__)
def test_to_others_there_is_nothing_said(command: Command) -> None:
    codes = (Code.CHANNEL_NOT_FOUND, Code.MESSAGE_NOT_FOUND)
    nothing, something = (given(*events).when(command, by=CAROL).refusal for events in ((), TALK))
    assert nothing is not None
    assert something is not None
    assert nothing.code is something.code in codes
    assert (nothing.message, nothing.field) == (something.message, something.field)
    in_group = {SendMessage: SendMessage(GROUP, "Hello"), MarkRead: MarkRead(GROUP, MESSAGE)}.get(
        type(command), command
    )
    given(*GROUP_TALK, OUT).when(in_group, by=BOB).then_refused(nothing.code)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("who", [ALICE, BOB], ids=["alice", "bob"])
def test_across_a_block_what_was_said_is_read_and_nothing_added(block: Event, who: Id) -> None:
    there = given(*TALK, block)
    there.when(SendMessage(DIRECT, "Hello"), by=who).then_refused(Code.BLOCKED, "channel_id")
    there.when(AddReaction(MESSAGE, "👍"), by=who).then_refused(Code.BLOCKED, "message_id")
    there.when(MarkRead(DIRECT, MESSAGE), by=who).then(
        MarkerMoved(account_id=who, channel_id=DIRECT, message_id=MESSAGE)
    )
    there.when(EditMessage(MESSAGE, "Hello"), by=BOB).then_refused(Code.BLOCKED)
    assert there.when(DeleteMessage(MESSAGE), by=BOB).refusal is None
    assert given(*GROUP_TALK, block).when(SendMessage(GROUP, "Hello"), by=who).refusal is None
