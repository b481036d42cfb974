"""Servers, their roles and members, and the invites that lead there."""

from datetime import timedelta
from typing import Any

import pytest

from domain import permissions
from domain.command import Command
from domain.event import Event, Id
from domain.invite import (
    CreateInvite,
    InviteCounted,
    InviteCreated,
    InviteRevoked,
    InviteUsed,
    JoinServer,
    RevokeInvite,
    code_of,
    id_of,
)
from domain.limits import Limits
from domain.name import keyed_id
from domain.refusal import Code, Refusal
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole, RoleCreated, RoleEdited
from domain.server import (
    CreateServer,
    DeleteServer,
    EditServer,
    ServerCreated,
    ServerDeleted,
    ServerEdited,
    ServerTransferred,
    TransferServer,
)
from domain.server_member import (
    BanMember,
    GrantRole,
    KickMember,
    LeaveServer,
    MemberBanned,
    MemberKicked,
    MemberUnbanned,
    RevokeRole,
    RoleGranted,
    ServerJoined,
    ServerLeft,
    UnbanMember,
)
from tests.domain.world import (
    ALICE,
    ALICE_IS_MOD,
    BOB,
    CAROL,
    EARLIER,
    MODS,
    NOBODY,
    NOW,
    SERVER,
    STAFF,
    chat,
    given,
    holds,
    made,
    seated,
)

INVITE = keyed_id(bytes(32), "invite", "test")
DELETED = ServerDeleted(server_id=SERVER, owner_id=CAROL)


def test_create_server_makes_its_creator_the_owner_and_first_member() -> None:
    new = made("server", CreateServer, ALICE)
    then = given().when(CreateServer(name="  The  place ", description="Hi\r\n"))
    then.then(
        RoleCreated(
            server_id=new,
            role_id=new,
            creator_id=ALICE,
            name="everyone",
            permissions=int(permissions.EVERYONE),
            rank=0,
        ),
        ServerJoined(server_id=new, account_id=ALICE, invite_id=None, membership=1),
        ServerCreated(server_id=new, owner_id=ALICE, name="The place", description="Hi"),
    )


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": ""}, Code.TOO_SHORT),
        ({"name": "x" * 101}, Code.TOO_LONG),
        ({"description": "x" * 1_001}, Code.TOO_LONG),
        ({"description": "\x00"}, Code.INVALID_CHARACTERS),
    ],
)
def test_what_a_server_cannot_say_of_itself(changed: dict[str, str], code: Code) -> None:
    field = next(iter(changed))
    given().when(CreateServer(**({"name": "Server"} | changed))).then_refused(code, field)
    given(*chat()).when(EditServer(SERVER, **changed), by=CAROL).then_refused(code, field)


def test_edit_server_changes_what_is_given() -> None:
    edited = ServerEdited(server_id=SERVER, editor_id=CAROL, name="Server", description="New")
    given(*chat()).when(EditServer(SERVER, description="New"), by=CAROL).then(edited)
    given(*chat(), edited).when(EditServer(SERVER, description="New"), by=CAROL).then_nothing()


ABOUT_A_SERVER: list[Command] = [
    EditServer(SERVER, name="Mine"),
    TransferServer(SERVER, BOB),
    DeleteServer(SERVER),
    CreateRole(SERVER, "Mine"),
    EditRole(SERVER, MODS, "Mine"),
    MoveRole(SERVER, MODS, STAFF),
    DeleteRole(SERVER, MODS),
    KickMember(SERVER, BOB),
    BanMember(SERVER, BOB),
    UnbanMember(SERVER, BOB),
    GrantRole(SERVER, BOB, MODS),
    RevokeRole(SERVER, BOB, MODS),
    CreateInvite(SERVER),
]


@pytest.mark.parametrize("command", ABOUT_A_SERVER, ids=lambda c: type(c).__name__)
def test_a_server_does_not_exist_for_those_who_are_not_in_it(command: Command) -> None:
    given(*chat(BOB)).when(command).then_refused(Code.SERVER_NOT_FOUND)
    given().when(command).then_refused(Code.SERVER_NOT_FOUND)
    given(*chat(ALICE, BOB), DELETED).when(command, by=CAROL).then_refused(Code.SERVER_NOT_FOUND)


@pytest.mark.parametrize(
    "command",
    [one for one in ABOUT_A_SERVER if not isinstance(one, CreateInvite)],
    ids=lambda c: type(c).__name__,
)
def test_a_member_without_permissions_changes_nothing(command: Command) -> None:
    given(*chat(ALICE, BOB), holds(BOB, MODS)).when(command).then_refused(Code.PERMISSION_DENIED)


def test_a_server_is_given_to_a_member_and_only_by_its_owner() -> None:
    given(*chat()).when(TransferServer(SERVER, ALICE), by=CAROL).then_refused(Code.NOT_A_MEMBER, "account_id")
    moved = ServerTransferred(server_id=SERVER, owner_id=CAROL, account_id=ALICE)
    given(*chat(ALICE)).when(TransferServer(SERVER, ALICE), by=CAROL).then(moved)
    there = given(*chat(ALICE, BOB), moved)
    there.when(EditServer(SERVER, name="Hers"), by=CAROL).then_refused(Code.PERMISSION_DENIED)
    there.when(DeleteServer(SERVER), by=ALICE).then(ServerDeleted(server_id=SERVER, owner_id=ALICE))


def test_the_owner_stays_until_the_server_is_somebody_elses() -> None:
    given(*chat(ALICE)).when(LeaveServer(SERVER), by=CAROL).then_refused(Code.OWNER_STAYS)
    given(*chat(ALICE)).when(LeaveServer(SERVER)).then(ServerLeft(server_id=SERVER, account_id=ALICE))
    given(*chat()).when(LeaveServer(SERVER)).then_refused(Code.SERVER_NOT_FOUND)


# Kicks and bans


def banned(until: Any = None, *, was_member: bool = True, reason: str = "") -> MemberBanned:
    return MemberBanned(
        server_id=SERVER, account_id=BOB, moderator_id=ALICE, reason=reason, until=until, was_member=was_member
    )


def test_a_kick_ends_the_membership_and_takes_the_roles() -> None:
    kicked = MemberKicked(server_id=SERVER, account_id=BOB, moderator_id=ALICE, reason="Why")
    given(*ALICE_IS_MOD).when(KickMember(SERVER, BOB, "Why\n")).then(kicked)
    given(*ALICE_IS_MOD, kicked).when(KickMember(SERVER, BOB)).then_nothing()
    there = (*ALICE_IS_MOD, holds(BOB, STAFF), kicked, seated(BOB))
    given(*there).when(KickMember(SERVER, BOB)).then(
        MemberKicked(server_id=SERVER, account_id=BOB, moderator_id=ALICE, reason="")
    )


@pytest.mark.parametrize("command", [KickMember(SERVER, BOB), BanMember(SERVER, BOB)])
def test_nobody_puts_out_who_stands_as_high(command: Command) -> None:
    given(*ALICE_IS_MOD, holds(BOB, MODS)).when(command).then_refused(Code.ROLE_TOO_HIGH)
    given(*ALICE_IS_MOD, holds(BOB, STAFF)).when(command).then_refused(Code.ROLE_TOO_HIGH)
    given(*ALICE_IS_MOD).when(type(command)(SERVER, CAROL)).then_refused(Code.ROLE_TOO_HIGH)  # type: ignore[call-arg]
    given(*ALICE_IS_MOD).when(type(command)(SERVER, ALICE)).then_refused(Code.NOT_YOURSELF, "account_id")  # type: ignore[call-arg]
    given(*ALICE_IS_MOD).when(type(command)(SERVER, NOBODY)).then_refused(Code.ACCOUNT_NOT_FOUND)  # type: ignore[call-arg]


def test_a_ban_keeps_out_until_its_end() -> None:
    until = NOW + timedelta(hours=1)
    given(*ALICE_IS_MOD).when(BanMember(SERVER, BOB, "Why", until)).then(banned(until, reason="Why"))
    given(*chat(ALICE), holds(ALICE, MODS)).when(BanMember(SERVER, BOB)).then(banned(was_member=False))
    given(*ALICE_IS_MOD, banned(until)).when(BanMember(SERVER, BOB, "", until)).then_nothing()
    given(*ALICE_IS_MOD).when(BanMember(SERVER, BOB, "", NOW)).then_refused(Code.INVALID_VALUE, "until")
    given(*ALICE_IS_MOD).when(BanMember(SERVER, BOB, "x" * 501)).then_refused(Code.TOO_LONG, "reason")
    join = JoinServer(code_of(INVITE))
    given(*ALICE_IS_MOD, invited(), banned(until)).when(join, by=BOB).then_refused(Code.BANNED)
    given(*ALICE_IS_MOD, invited(), banned()).when(join, by=BOB).then_refused(Code.BANNED)
    over = given(*ALICE_IS_MOD, invited(), banned(NOW)).when(join, by=BOB)
    over.then(entered(BOB, 2), used(BOB))
    again = given(*ALICE_IS_MOD, banned(until)).when(BanMember(SERVER, BOB, "Why", until))
    again.then(banned(until, was_member=False, reason="Why"))


def test_a_ban_is_taken_back() -> None:
    back = MemberUnbanned(server_id=SERVER, account_id=BOB, moderator_id=ALICE)
    given(*ALICE_IS_MOD, banned()).when(UnbanMember(SERVER, BOB)).then(back)
    given(*ALICE_IS_MOD, banned(), back).when(UnbanMember(SERVER, BOB)).then_nothing()
    given(*ALICE_IS_MOD, invited(), banned(), back).when(JoinServer(code_of(INVITE)), by=BOB).then(
        entered(BOB, 2), used(BOB)
    )


# Invites


def invited(*, seconds: float | None = None, uses_max: int | None = None) -> InviteCreated:
    expires = None if seconds is None else EARLIER + timedelta(seconds=seconds)
    return InviteCreated(invite_id=INVITE, server_id=SERVER, creator_id=ALICE, expires_at=expires, uses_max=uses_max)


def entered(account_id: Id, membership: int = 1) -> ServerJoined:
    return ServerJoined(server_id=SERVER, account_id=account_id, invite_id=INVITE, membership=membership)


def used(account_id: Id) -> InviteUsed:
    return InviteUsed(invite_id=INVITE, server_id=SERVER, account_id=account_id)


def counted(account_id: Id) -> InviteCounted:
    return InviteCounted(invite_id=INVITE, server_id=SERVER, account_id=account_id)


def test_an_invite_is_made_by_who_may() -> None:
    then = given(*chat(ALICE)).when(CreateInvite(SERVER, 3_600, 5))
    (recorded,) = then.recorded
    event = recorded.event
    assert isinstance(event, InviteCreated)
    assert event.expires_at == NOW + timedelta(hours=1)
    assert (event.creator_id, event.uses_max, event.invite_id) == (ALICE, 5, recorded.stream_id)
    forever = given(*chat(ALICE)).when(CreateInvite(SERVER, None)).recorded[0].event
    assert isinstance(forever, InviteCreated)
    assert forever.expires_at is None
    nobody = RoleEdited(server_id=SERVER, role_id=SERVER, editor_id=CAROL, name="everyone", permissions=1)
    given(*chat(ALICE), nobody).when(CreateInvite(SERVER)).then_refused(Code.PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (CreateInvite(SERVER, 0), "expires_seconds"),
        (CreateInvite(SERVER, 10**10), "expires_seconds"),
        (CreateInvite(SERVER, 60, 0), "uses_max"),
        (CreateInvite(SERVER, 60, 101), "uses_max"),
    ],
)
def test_invites_that_cannot_be(command: Command, field: str) -> None:
    given(*chat(ALICE)).when(command).then_refused(Code.INVALID_VALUE, field)


def test_a_code_is_the_id_in_other_letters() -> None:
    code = code_of(INVITE)
    assert len(code) == 26
    assert id_of(code) == id_of(f" {code.lower()} ") == INVITE


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x",
        "AA",
        "A" * 10,
        "AAAAAAAAACAABAAAAA",
        "A" * 26,
        "A" * 25,
        "é" * 26,
        code_of(SERVER),
        "\ud800" * 26,
        "1" * 26,
    ],
)
def test_what_is_no_code_lets_nobody_in(code: str) -> None:
    with pytest.raises(Refusal):
        id_of(code)
    given(*chat(ALICE), invited()).when(JoinServer(code), by=BOB).then_refused(Code.INVITE_NOT_FOUND, "code")


def test_an_invite_lets_in() -> None:
    join = JoinServer(code_of(INVITE))
    given(*chat(ALICE), invited()).when(join, by=BOB).then(entered(BOB), used(BOB))
    given(*chat(ALICE), invited(uses_max=2), counted(CAROL)).when(join, by=BOB).then(
        counted(BOB), entered(BOB), used(BOB)
    )
    given(*chat(ALICE, BOB), invited(uses_max=1), counted(CAROL)).when(join, by=BOB).then_nothing()


def test_whoever_comes_back_takes_an_invite_from_nobody() -> None:
    left = ServerLeft(server_id=SERVER, account_id=BOB)
    there = (*chat(ALICE), invited(uses_max=1), counted(BOB), used(BOB), entered(BOB), left)
    given(*there).when(JoinServer(code_of(INVITE)), by=BOB).then(entered(BOB, 2), used(BOB))
    given(*there).when(JoinServer(code_of(INVITE)), by=CAROL).then_nothing()


def test_nobody_makes_his_own_standing_long_by_coming_and_going() -> None:
    left = ServerLeft(server_id=SERVER, account_id=BOB)
    there = given(*chat(ALICE, BOB), left, invited())
    few = Limits(changes_max=2)
    there.when(JoinServer(code_of(INVITE)), by=BOB, limits=few).then_refused(Code.TOO_MANY_CHANGES)


REVOKED = InviteRevoked(invite_id=INVITE, server_id=SERVER, revoker_id=CAROL)


@pytest.mark.parametrize(
    "events",
    [
        (),
        (invited(seconds=60),),
        (invited(uses_max=1), counted(CAROL)),
        (invited(), REVOKED),
        (invited(), DELETED),
    ],
    ids=["none", "expired", "used up", "revoked", "deleted"],
)
def test_an_invite_that_is_none_any_more(events: tuple[Event, ...]) -> None:
    given(*chat(ALICE), *events).when(JoinServer(code_of(INVITE)), by=BOB).then_refused(Code.INVITE_NOT_FOUND)


def test_an_invite_is_revoked_by_who_made_it_or_manages_the_server() -> None:
    revoke = RevokeInvite(INVITE)
    own = InviteRevoked(invite_id=INVITE, server_id=SERVER, revoker_id=ALICE)
    given(*chat(ALICE, BOB), invited()).when(revoke).then(own)
    given(*chat(ALICE, BOB), invited()).when(revoke, by=CAROL).then(REVOKED)
    given(*chat(ALICE, BOB), invited(), own).when(revoke, by=CAROL).then_nothing()
    given(*chat(ALICE, BOB), invited()).when(revoke, by=BOB).then_refused(Code.PERMISSION_DENIED)
    given(*chat(ALICE), invited()).when(revoke, by=BOB).then_refused(Code.INVITE_NOT_FOUND)
    given(*chat(ALICE)).when(revoke).then_refused(Code.INVITE_NOT_FOUND)


def test_who_comes_back_has_the_roles_of_nobody() -> None:
    left = ServerLeft(server_id=SERVER, account_id=ALICE)
    given(*ALICE_IS_MOD, left, seated(ALICE)).when(KickMember(SERVER, BOB)).then_refused(Code.PERMISSION_DENIED)
    given(*ALICE_IS_MOD, left, seated(ALICE)).when(GrantRole(SERVER, ALICE, MODS), by=CAROL).then(
        RoleGranted(server_id=SERVER, account_id=ALICE, role_id=MODS, granter_id=CAROL)
    )


OUT = {"server_id": SERVER, "account_id": ALICE, "moderator_id": CAROL}
KICKED = MemberKicked(**OUT, reason="")
LATER_BANNED = MemberBanned(**OUT, reason="", until=None, was_member=False)
ENDED = MemberBanned(**OUT, reason="", until=EARLIER, was_member=True)
UNBANNED = MemberUnbanned(**OUT)
LEFT = ServerLeft(server_id=SERVER, account_id=ALICE)


@pytest.mark.parametrize(
    ("since", "good"),
    [
        ((), True),
        ((LEFT,), True),
        ((KICKED,), False),
        ((ENDED,), False),
        ((KICKED, LATER_BANNED), False),
        ((KICKED, seated(ALICE, 2)), True),
        ((KICKED, seated(ALICE, 2), LEFT), True),
        ((ENDED, UNBANNED), True),
        ((LEFT, LATER_BANNED), False),
    ],
    ids=["there", "left", "kicked", "ban ended", "banned, too", "back", "back and left", "taken back", "left first"],
)
def test_the_invites_of_somebody_who_is_put_out_let_nobody_in(since: tuple[Event, ...], good: bool) -> None:
    then = given(*chat(ALICE), invited(), *since).when(JoinServer(code_of(INVITE)), by=BOB)
    if good:
        then.then(entered(BOB), used(BOB))
    else:
        then.then_refused(Code.INVITE_NOT_FOUND)
