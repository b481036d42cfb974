"""What a stranger may not see is, to every command, what does not exist: same code, same words, same field."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from commands import channels, conversations, messages, servers
from commands.handling import USE_CASES
from domain.channel import CreateChannel, DeleteChannel, EditChannel, SetOverride
from domain.channel_list import MoveChannel
from domain.command import Command
from domain.conversation import (
    AddToGroup,
    DirectOpened,
    GroupMemberRemoved,
    HandOverGroup,
    LeaveGroup,
    RemoveFromGroup,
    RenameGroup,
)
from domain.event import Event, Id
from domain.ids import derived, direct_id
from domain.invite import CreateInvite, InviteCreated, InviteRevoked, JoinServer, RevokeInvite, code_of
from domain.limits import Limits
from domain.membership import MemberLeft
from domain.message import DeleteMessage, EditMessage, SendMessage
from domain.name import keyed_id
from domain.reaction import AddReaction, RemoveReaction
from domain.read_marker import MarkRead
from domain.refusal import Code
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole
from domain.server import DeleteServer, EditServer, TransferServer
from domain.server_member import (
    BanMember,
    GrantRole,
    KickMember,
    LeaveServer,
    MemberBanned,
    RevokeRole,
    ServerLeft,
    UnbanMember,
)
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    GENERAL,
    GROUP,
    MESSAGE,
    MODS,
    NOBODY,
    PLACE,
    POST,
    SERVER,
    STAFF,
    chat,
    commented,
    given,
    group,
    grouped,
    invited,
    joined,
    place,
    posted,
    said,
    seated,
)

NAMING: dict[str, tuple[Id, ...]] = {
    "community_id": (PLACE,),
    "post_id": (POST,),
    "comment_id": (COMMENT,),
    "parent_id": (COMMENT,),
    "target_id": (POST, COMMENT),
}
"""The fields that name something of a community, and what they can name in this one."""
OTHERS: dict[str, Any] = {"account_id": CAROL, "kind": "text", "title": "T", "body": "B", "value": 1}
NOWHERE = derived("test", "nowhere")
HIDDEN: tuple[Event, ...] = (*place("private"), joined(ALICE), posted(), commented())
LEFT = (joined(BOB), MemberLeft(community_id=PLACE, account_id=BOB))
ABOUT_THE_PLACE = {"JoinCommunity", "LeaveCommunity"}


def asking(kind: type[Command], named: Id | None) -> list[Command]:
    """The command about each thing that is there, or about that one."""
    fields = [field.name for field in msgspec.structs.fields(kind)]
    values = {name: value for name, value in OTHERS.items() if name in fields}
    naming = [name for name in fields if name in NAMING]
    choices = max(len(NAMING[name]) for name in naming)
    return [
        kind(**values, **{name: named or NAMING[name][-1 - n % len(NAMING[name])] for name in naming})
        for n in range(choices)
    ]


CHAT = {**servers.cases, **channels.cases, **messages.cases, **conversations.cases}
ABOUT_SOMETHING = [kind for kind in USE_CASES if NAMING.keys() & set(kind.__struct_fields__) and kind not in CHAT]
TOLD = {"COMMUNITY_NOT_FOUND", "POST_NOT_FOUND", "COMMENT_NOT_FOUND", "TARGET_NOT_FOUND"}


def told(events: tuple[Event, ...], command: Command, limits: Limits) -> tuple[Code, str, str | None]:
    """How Bob is refused."""
    then = given(*events).when(command, by=BOB, limits=limits)
    assert then.refusal is not None, f"{command} was granted"
    return then.refusal.code, then.refusal.message, then.refusal.field


def test_every_command_that_names_something_is_here() -> None:
    assert len(ABOUT_SOMETHING) == 18
    without = {"Register", "ChangeDisplayName", "Follow", "Unfollow", "Block", "Unblock", "CreateCommunity"}
    assert {kind.__name__ for kind in USE_CASES if kind not in {*ABOUT_SOMETHING, *CHAT}} == without
    assert {kind.__name__ for kind in CHAT if kind not in {*IN_SERVERS, *IN_GROUPS}} == {
        "CreateServer",
        "OpenDirect",
        "CreateGroup",
    }


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in ABOUT_SOMETHING])
@pytest.mark.parametrize("standing", [pytest.param((), id="stranger"), pytest.param(LEFT, id="left"), "invited"])
@pytest.mark.parametrize("changes_max", [1, 500])
def test_what_is_hidden_is_what_does_not_exist(
    kind: type[Command], standing: tuple[Event, ...] | str, changes_max: int
) -> None:
    """Also when it was changed so often that it takes no more changes."""
    if standing == "invited":
        if kind.__name__ in ABOUT_THE_PLACE:
            return  # who is invited to a place knows that it is there
        standing = (invited(BOB),)
    assert isinstance(standing, tuple)
    limits = Limits(changes_max=changes_max)
    for command in asking(kind, None):
        (absent,) = {told((), one, limits) for one in asking(kind, NOWHERE)}
        assert absent[0].value in TOLD
        assert told((*HIDDEN, *standing), command, limits) == absent


MANY = " ".join(f"@name{n}" for n in range(99))
"""More than one message may mention."""
IN_SERVERS: dict[type[Command], Callable[[Id], Command]] = {
    EditServer: lambda nowhere: EditServer(nowhere or SERVER, "Mine"),
    TransferServer: lambda nowhere: TransferServer(nowhere or SERVER, ALICE),
    DeleteServer: lambda nowhere: DeleteServer(nowhere or SERVER),
    LeaveServer: lambda nowhere: LeaveServer(nowhere or SERVER),
    CreateRole: lambda nowhere: CreateRole(nowhere or SERVER, "Mine"),
    EditRole: lambda nowhere: EditRole(nowhere or SERVER, MODS, "Mine"),
    MoveRole: lambda nowhere: MoveRole(nowhere or SERVER, MODS, STAFF),
    DeleteRole: lambda nowhere: DeleteRole(nowhere or SERVER, MODS),
    KickMember: lambda nowhere: KickMember(nowhere or SERVER, ALICE),
    BanMember: lambda nowhere: BanMember(nowhere or SERVER, ALICE),
    UnbanMember: lambda nowhere: UnbanMember(nowhere or SERVER, ALICE),
    GrantRole: lambda nowhere: GrantRole(nowhere or SERVER, ALICE, MODS),
    RevokeRole: lambda nowhere: RevokeRole(nowhere or SERVER, ALICE, MODS),
    CreateInvite: lambda nowhere: CreateInvite(nowhere or SERVER),
    RevokeInvite: lambda nowhere: RevokeInvite(nowhere or INVITE),
    JoinServer: lambda nowhere: JoinServer(code_of((nowhere and keyed_id(bytes(32), "nowhere")) or REVOKED)),
    CreateChannel: lambda nowhere: CreateChannel(nowhere or SERVER, "Mine"),
    MoveChannel: lambda nowhere: MoveChannel(nowhere or SERVER, GENERAL),
    EditChannel: lambda nowhere: EditChannel(nowhere or GENERAL, "Mine"),
    DeleteChannel: lambda nowhere: DeleteChannel(nowhere or GENERAL),
    SendMessage: lambda nowhere: SendMessage(nowhere or GENERAL, MANY, MESSAGE),
    EditMessage: lambda nowhere: EditMessage(nowhere or MESSAGE, MANY),
    DeleteMessage: lambda nowhere: DeleteMessage(nowhere or MESSAGE),
    AddReaction: lambda nowhere: AddReaction(nowhere or MESSAGE, "👍"),
    RemoveReaction: lambda nowhere: RemoveReaction(nowhere or MESSAGE, "👍"),
    MarkRead: lambda nowhere: MarkRead(nowhere or GENERAL, MESSAGE),
    SetOverride: lambda nowhere: SetOverride(nowhere or GENERAL, ALICE, 2),
}
"""Every command of chat that names something: about what is there, or about that which is not."""
HERE = Id("")
INVITE, REVOKED = (keyed_id(bytes(32), what) for what in ("invite", "revoked"))
MADE = {"server_id": SERVER, "creator_id": ALICE, "expires_at": None, "uses_max": None}
SERVED: tuple[Event, ...] = (
    *chat(ALICE),
    InviteCreated(invite_id=INVITE, **MADE),  # type: ignore[arg-type]
    InviteCreated(invite_id=REVOKED, **MADE),  # type: ignore[arg-type]
    InviteRevoked(invite_id=REVOKED, server_id=SERVER, revoker_id=ALICE),
    said(),
)
LEFT_SERVER = (seated(BOB), ServerLeft(server_id=SERVER, account_id=BOB))
BANNED = (MemberBanned(server_id=SERVER, account_id=BOB, moderator_id=CAROL, reason="", until=None, was_member=False),)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in IN_SERVERS])
@pytest.mark.parametrize("standing", [(), LEFT_SERVER, BANNED], ids=["stranger", "left", "banned"])
@pytest.mark.parametrize("changes_max", [1, 500])
def test_what_is_hidden_in_servers_is_what_does_not_exist(
    kind: type[Command], standing: tuple[Event, ...], changes_max: int
) -> None:
    limits = Limits(changes_max=changes_max)
    absent = told((), IN_SERVERS[kind](NOWHERE), limits)
    assert absent[0].value in {"SERVER_NOT_FOUND", "CHANNEL_NOT_FOUND", "INVITE_NOT_FOUND", "MESSAGE_NOT_FOUND"}
    assert told((*SERVED, *standing), IN_SERVERS[kind](HERE), limits) == absent
    assert told((*SERVED, *standing), IN_SERVERS[kind](NOBODY), limits) == absent


IN_GROUPS: dict[type[Command], Callable[[Id], Command]] = {
    AddToGroup: lambda where: AddToGroup(where, ALICE),
    RenameGroup: lambda where: RenameGroup(where, "Mine"),
    HandOverGroup: lambda where: HandOverGroup(where, ALICE),
    RemoveFromGroup: lambda where: RemoveFromGroup(where, ALICE),
    LeaveGroup: LeaveGroup,
}
OUT = GroupMemberRemoved(conversation_id=GROUP, account_id=BOB, remover_id=ALICE)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in IN_GROUPS])
@pytest.mark.parametrize("standing", [(), (grouped(BOB, ALICE), OUT)], ids=["stranger", "put out"])
@pytest.mark.parametrize("changes_max", [1, 500])
def test_conversations_of_others_are_what_does_not_exist(
    kind: type[Command], standing: tuple[Event, ...], changes_max: int
) -> None:
    """The id of one between two people can be worked out from theirs: it tells nobody whether they talk."""
    limits, theirs = Limits(changes_max=changes_max), direct_id(ALICE, CAROL)
    there = (*group(ALICE, CAROL), DirectOpened(conversation_id=theirs, opener_id=ALICE, other_id=CAROL), *standing)
    absent = told((), IN_GROUPS[kind](NOWHERE), limits)
    assert absent[0] is Code.CONVERSATION_NOT_FOUND
    for where in (GROUP, theirs, NOBODY, SERVER):
        assert told((*SERVED, *there), IN_GROUPS[kind](where), limits) == absent


def test_ids_of_people_are_ids_of_nothing_here() -> None:
    for kind in ABOUT_SOMETHING:
        for command in asking(kind, NOBODY):
            assert told(HIDDEN, command, Limits())[0].value in TOLD
