"""What somebody may in a server and in a channel: every combination of what the answer depends on."""

from itertools import product

import pytest

from domain import permissions
from domain.event import Id
from domain.permissions import ALL, NONE, OF_CHANNELS, Override, Permission, allowed
from domain.refusal import Code, Refusal

EVERYONE, FIRST, SECOND, GONE, ME = (Id(name) for name in ("everyone", "first", "second", "gone", "me"))
SAYS = ("nothing", "allow", "deny")
ASKED = Permission.SEND_MESSAGES
SEES = Permission.VIEW_CHANNELS


def override(says: str, permission: Permission = ASKED) -> Override:
    return Override(
        allow=permission if says == "allow" else NONE, deny=permission if says == "deny" else NONE, membership=1
    )


def expected(base: dict[Id, bool], held: tuple[Id, ...], said: dict[Id, str]) -> bool:
    """One permission at a time, rule by rule, the last that says something being right."""
    answer = base[EVERYONE] or any(base[role_id] for role_id in held)
    if said[EVERYONE] != "nothing":
        answer = said[EVERYONE] == "allow"
    of_roles = {said[role_id] for role_id in held}
    if "deny" in of_roles:
        answer = False
    if "allow" in of_roles:
        answer = True
    if said[ME] != "nothing":
        answer = said[ME] == "allow"
    return answer


@pytest.mark.parametrize("held", [(), (FIRST,), (SECOND,), (FIRST, SECOND)])
def test_each_permission_in_a_channel_follows_the_rules_in_their_order(held: tuple[Id, ...]) -> None:
    for flags in product((False, True), repeat=3):
        base = dict(zip((EVERYONE, FIRST, SECOND), flags, strict=True))
        for says in product(SAYS, repeat=4):
            said = dict(zip((EVERYONE, FIRST, SECOND, ME), says, strict=True))
            found = allowed(
                everyone_id=EVERYONE,
                roles={id_: SEES | (ASKED if has else NONE) for id_, has in base.items()},
                held=(*held, GONE),
                member_id=ME,
                membership=1,
                is_member=True,
                is_owner=False,
                overrides={id_: override(one) for id_, one in said.items()},
            )
            assert (ASKED in found) == expected(base, held, said), (base, said)
            assert found == (SEES | ASKED if ASKED in found else SEES)


def test_who_may_not_see_a_channel_may_nothing_there() -> None:
    for says in product(SAYS, repeat=4):
        said = dict(zip((EVERYONE, FIRST, SECOND, ME), says, strict=True))
        found = allowed(
            everyone_id=EVERYONE,
            roles={EVERYONE: ALL & ~Permission.ADMINISTRATOR, FIRST: NONE, SECOND: NONE},
            held=(FIRST, SECOND),
            member_id=ME,
            membership=1,
            is_member=True,
            is_owner=False,
            overrides={id_: override(one, SEES) for id_, one in said.items()},
        )
        sees = expected({EVERYONE: True, FIRST: False, SECOND: False}, (FIRST, SECOND), said)
        assert found == (ALL & ~Permission.ADMINISTRATOR if sees else NONE)


@pytest.mark.parametrize("overrides", [None, {}, {EVERYONE: override("deny", OF_CHANNELS), ME: override("deny", SEES)}])
@pytest.mark.parametrize("is_owner", [False, True])
@pytest.mark.parametrize("admin", [None, EVERYONE, FIRST])
def test_owner_and_administrators_may_everything_and_who_is_no_member_nothing(
    overrides: dict[Id, Override] | None, is_owner: bool, admin: Id | None
) -> None:
    def found(is_member: bool) -> Permission:
        return allowed(
            everyone_id=EVERYONE,
            roles={id_: Permission.ADMINISTRATOR if id_ == admin else SEES for id_ in (EVERYONE, FIRST)},
            held=(FIRST,),
            member_id=ME,
            membership=1,
            is_member=is_member,
            is_owner=is_owner,
            overrides=overrides,
        )

    assert found(is_member=False) == NONE
    if is_owner or admin:
        assert found(is_member=True) == ALL
    else:
        assert found(is_member=True) == (NONE if overrides else SEES)


def test_in_the_server_roles_add_up_and_deleted_ones_count_for_nothing() -> None:
    for permission in Permission:
        if permission is Permission.ADMINISTRATOR:
            continue
        found = allowed(
            everyone_id=EVERYONE,
            roles={EVERYONE: SEES, FIRST: permission, SECOND: ALL},
            held=(FIRST, GONE),
            member_id=ME,
            membership=1,
            is_member=True,
            is_owner=False,
        )
        assert found == SEES | permission


def test_numbers_of_permissions_are_for_good() -> None:
    assert {permission.name: int(permission) for permission in Permission} == {
        "VIEW_CHANNELS": 1,
        "SEND_MESSAGES": 2,
        "ADD_REACTIONS": 4,
        "ATTACH_FILES": 8,
        "MENTION_EVERYONE": 16,
        "CREATE_INVITES": 32,
        "ANNOUNCE": 64,
        "MANAGE_MESSAGES": 128,
        "MANAGE_CHANNELS": 256,
        "MANAGE_ROLES": 512,
        "MANAGE_SERVER": 1024,
        "KICK_MEMBERS": 2048,
        "BAN_MEMBERS": 4096,
        "ADMINISTRATOR": 8192,
    }


@pytest.mark.parametrize("bits", [-1, 1 << 14, 1 << 70])
def test_numbers_that_are_no_permissions_are_refused(bits: int) -> None:
    with pytest.raises(Refusal) as caught:
        permissions.checked(bits, "permissions")
    assert (caught.value.code, caught.value.field) == (Code.INVALID_VALUE, "permissions")
