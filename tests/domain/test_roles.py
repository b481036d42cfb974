"""The roles of a server: their order, what they allow, and who may change which."""

import pytest

from domain.command import Command
from domain.event import Id
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole, RoleCreated, RoleDeleted, RoleEdited, RoleRanked
from domain.server_member import (
    GrantRole,
    KickMember,
    RevokeRole,
    RoleRevoked,
)
from tests.domain.world import (
    ALICE,
    ALICE_IS_MOD,
    BOB,
    CAROL,
    MODS,
    NOBODY,
    SERVER,
    STAFF,
    chat,
    given,
    holds,
    made,
    ranked,
)


def created(name: str, allows: int, rank: int, by: Id = CAROL) -> RoleCreated:
    return RoleCreated(
        server_id=SERVER,
        role_id=made("role", CreateRole, by),
        creator_id=by,
        name=name,
        permissions=int(allows),
        rank=rank,
    )


def test_a_new_role_is_the_lowest() -> None:
    given(*chat()).when(CreateRole(SERVER, "New", 3), by=CAROL).then(created("New", 3, 5))
    given(*chat(ALICE), holds(ALICE, MODS)).when(CreateRole(SERVER, "New")).then(created("New", 0, 5, by=ALICE))


def test_when_no_room_is_left_all_roles_get_new_ranks() -> None:
    there = given(*chat(), ranked(made("role", CreateRole, BOB), "Low", 1, 0))
    then = there.when(CreateRole(SERVER, "Lowest"), by=CAROL)
    assert [type(one.event) for one in then.recorded] == [RoleRanked] * 3 + [RoleCreated]
    ranks = [one.event.rank for one in then.recorded if isinstance(one.event, RoleRanked | RoleCreated)]
    assert ranks[-1] < ranks[0] < ranks[1] < ranks[2]


def test_a_role_is_put_above_another() -> None:
    given(*chat()).when(MoveRole(SERVER, MODS, STAFF), by=CAROL).then(
        RoleRanked(server_id=SERVER, role_id=MODS, rank=20 + (1 << 32))
    )
    given(*chat()).when(MoveRole(SERVER, STAFF, SERVER), by=CAROL).then(
        RoleRanked(server_id=SERVER, role_id=STAFF, rank=5)
    )
    given(*chat()).when(MoveRole(SERVER, STAFF, MODS), by=CAROL).then_nothing()
    given(*chat()).when(MoveRole(SERVER, MODS, SERVER), by=CAROL).then_nothing()
    given(*chat()).when(MoveRole(SERVER, MODS, MODS), by=CAROL).then_nothing()
    given(*chat()).when(MoveRole(SERVER, MODS, NOBODY), by=CAROL).then_refused(Code.ROLE_NOT_FOUND)
    given(*chat()).when(MoveRole(SERVER, SERVER, MODS), by=CAROL).then_refused(Code.INVALID_VALUE, "role_id")


@pytest.mark.parametrize(
    "command",
    [
        EditRole(SERVER, MODS, "Mine"),
        EditRole(SERVER, STAFF, permissions=0),
        DeleteRole(SERVER, STAFF),
        MoveRole(SERVER, MODS, STAFF),
        MoveRole(SERVER, STAFF, SERVER),
        GrantRole(SERVER, BOB, STAFF),
        GrantRole(SERVER, BOB, MODS),
        RevokeRole(SERVER, ALICE, MODS),
    ],
    ids=lambda c: f"{type(c).__name__}",
)
def test_nobody_reaches_up_to_his_own_highest_role(command: Command) -> None:
    given(*ALICE_IS_MOD).when(command).then_refused(Code.ROLE_TOO_HIGH)


def test_a_role_that_is_moved_stays_below_those_of_who_moves_it() -> None:
    low = ranked(made("role", CreateRole, CAROL), "Low", 4, 0)
    lower = ranked(made("role", CreateRole, BOB), "Lower", 2, 0)
    there = (*ALICE_IS_MOD, low, lower)
    given(*there).when(MoveRole(SERVER, lower.role_id, MODS)).then_refused(Code.ROLE_TOO_HIGH)
    given(*there).when(MoveRole(SERVER, lower.role_id, low.role_id)).then(
        RoleRanked(server_id=SERVER, role_id=lower.role_id, rank=7)
    )


def test_nobody_gives_a_role_what_he_may_not_do_himself() -> None:
    given(*ALICE_IS_MOD).when(CreateRole(SERVER, "X", int(Permission.MANAGE_SERVER))).then_refused(
        Code.PERMISSION_DENIED
    )
    low = ranked(made("role", CreateRole, CAROL), "Low", 4, Permission.MANAGE_SERVER)
    there = (*ALICE_IS_MOD, low)
    given(*there).when(EditRole(SERVER, low.role_id, permissions=0)).then_refused(Code.PERMISSION_DENIED)
    both = int(Permission.MANAGE_SERVER | Permission.KICK_MEMBERS)
    given(*there).when(EditRole(SERVER, low.role_id, permissions=both)).then(
        RoleEdited(server_id=SERVER, role_id=low.role_id, editor_id=ALICE, name="Low", permissions=both)
    )
    given(*there).when(EditRole(SERVER, low.role_id, permissions=1 << 20)).then_refused(
        Code.INVALID_VALUE, "permissions"
    )


def test_the_role_of_everyone_changes_what_it_allows_and_nothing_else() -> None:
    then = given(*chat()).when(EditRole(SERVER, SERVER, permissions=1), by=CAROL)
    then.then(RoleEdited(server_id=SERVER, role_id=SERVER, editor_id=CAROL, name="everyone", permissions=1))
    given(*chat()).when(EditRole(SERVER, SERVER, "All"), by=CAROL).then_refused(Code.INVALID_VALUE)
    given(*chat()).when(DeleteRole(SERVER, SERVER), by=CAROL).then_refused(Code.INVALID_VALUE)
    given(*chat(ALICE)).when(GrantRole(SERVER, ALICE, SERVER), by=CAROL).then_refused(Code.ROLE_NOT_FOUND)


def test_whoever_manages_roles_by_the_role_of_everyone_has_no_role_below() -> None:
    everyone = RoleEdited(server_id=SERVER, role_id=SERVER, editor_id=CAROL, name="everyone", permissions=512)
    given(*chat(ALICE), everyone).when(CreateRole(SERVER, "Mine")).then_refused(Code.ROLE_TOO_HIGH)


def test_roles_are_limited_in_number() -> None:
    there = given(*chat())
    there.when(CreateRole(SERVER, "One more"), by=CAROL, limits=Limits(roles_max=2)).then_refused(Code.TOO_MANY_ROLES)


def test_a_deleted_role_is_gone_for_who_held_it() -> None:
    gone = RoleDeleted(server_id=SERVER, role_id=MODS, deleter_id=CAROL)
    given(*chat()).when(DeleteRole(SERVER, MODS), by=CAROL).then(gone)
    given(*ALICE_IS_MOD, gone).when(KickMember(SERVER, BOB)).then_refused(Code.PERMISSION_DENIED)
    given(*chat(), gone).when(DeleteRole(SERVER, MODS), by=CAROL, key="2").then_refused(Code.ROLE_NOT_FOUND)


def test_a_role_is_granted_and_revoked() -> None:
    given(*chat(BOB)).when(GrantRole(SERVER, BOB, MODS), by=CAROL).then(holds(BOB, MODS))
    mighty = ranked(made("role", CreateRole, CAROL), "Mighty", 4, Permission.ADMINISTRATOR)
    for who in (ALICE, BOB):  # who gave it to himself would have what he may not give
        given(*ALICE_IS_MOD, mighty).when(GrantRole(SERVER, who, mighty.role_id)).then_refused(Code.PERMISSION_DENIED)
    given(*chat()).when(GrantRole(SERVER, BOB, MODS), by=CAROL).then_refused(Code.NOT_A_MEMBER, "account_id")
    revoked = RoleRevoked(server_id=SERVER, account_id=ALICE, role_id=MODS, revoker_id=CAROL)
    given(*ALICE_IS_MOD).when(RevokeRole(SERVER, ALICE, MODS), by=CAROL).then(revoked)
    given(*ALICE_IS_MOD, revoked).when(RevokeRole(SERVER, ALICE, MODS), by=CAROL).then_nothing()
    given(*ALICE_IS_MOD, revoked).when(KickMember(SERVER, BOB)).then_refused(Code.PERMISSION_DENIED)
