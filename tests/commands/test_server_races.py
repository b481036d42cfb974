"""Commands about one chat server that meet: whichever is first, what was decided holds against what was recorded."""

from functools import reduce

import pytest

from commands.handling import Caller
from domain import server_member
from domain.channel import (
    ChannelCreated,
    ChannelEdited,
    CreateChannel,
    EditChannel,
    OverrideSet,
    SeenOverride,
    SetOverride,
)
from domain.command import Command
from domain.event import Event, Id
from domain.ids import server_member_id
from domain.invite import CreateInvite, InviteCreated, JoinServer, code_of
from domain.limits import Limits
from domain.name import keyed_id
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from domain.role import DeleteRole, RoleDeleted
from domain.server import DeleteServer, ServerDeleted, ServerTransferred, TransferServer
from domain.server_member import (
    BanMember,
    GrantRole,
    KickMember,
    LeaveServer,
    MemberKicked,
    RevokeRole,
    RoleGranted,
    RoleRevoked,
    ServerJoined,
    ServerLeft,
    ServerMember,
)
from infra.event_store import GroupCommitStore
from tests.commands.test_races import new, race, store  # noqa: F401 - a fixture
from tests.domain.world import (
    ACCOUNTS,
    ALICE,
    ALICE_IS_MOD,
    BOB,
    CAROL,
    GENERAL,
    MODS,
    SERVER,
    STAFF,
    caller,
    chat,
    holds,
    log_of,
    put,
)

INVITE = keyed_id(bytes(32), "invite", "races")
JOIN = JoinServer(code_of(INVITE))
Asked = tuple[Command, Caller]


def invited(uses_max: int | None = None) -> InviteCreated:
    return InviteCreated(invite_id=INVITE, server_id=SERVER, creator_id=CAROL, expires_at=None, uses_max=uses_max)


def at(store: GroupCommitStore, kind: type[Event]) -> int | None:  # noqa: F811
    """The position of the one event of that kind, if there is any."""
    found = [recorded.position for recorded in log_of(store) if type(recorded.event) is kind]
    return found[-1] if found else None


def member(store: GroupCommitStore, account_id: Id) -> ServerMember:  # noqa: F811
    stream_id = server_member_id(SERVER, account_id)
    events = [recorded.event for recorded in store.load_sync([stream_id])[stream_id]]
    return reduce(server_member.evolve, events, server_member.START)


def test_one_of_two_has_the_last_use_of_an_invite(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(), invited(uses_max=1)))
    outcomes = race(store, (JOIN, caller(ALICE)), (JOIN, caller(BOB)))
    assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.INVITE_NOT_FOUND]
    assert len([one for one in new(store, ServerJoined) if one.invite_id == INVITE]) == 1


def test_whoever_is_banned_is_out_whatever_came_first(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(), invited()))
    race(store, (JOIN, caller(BOB)), (BanMember(SERVER, BOB), caller(CAROL)))
    assert not member(store, BOB).joined
    assert member(store, BOB).ban is not None


def test_nobody_enters_by_the_invite_of_somebody_who_was_put_out_first(store: GroupCommitStore) -> None:  # noqa: F811
    theirs = InviteCreated(invite_id=INVITE, server_id=SERVER, creator_id=ALICE, expires_at=None, uses_max=None)
    put(store, (*ACCOUNTS, *chat(ALICE), theirs))
    race(store, (JOIN, caller(BOB)), (KickMember(SERVER, ALICE), caller(CAROL)), meeting=False)
    entered = [one.position for one in log_of(store) if isinstance(one.event, ServerJoined) and one.event.invite_id]
    kicked = at(store, MemberKicked)
    assert kicked is not None
    assert all(position < kicked for position in entered)


def test_the_owner_is_a_member_whatever_came_first(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(ALICE)))
    race(store, (TransferServer(SERVER, ALICE), caller(CAROL)), (LeaveServer(SERVER), caller(ALICE)))
    assert not (at(store, ServerTransferred) and at(store, ServerLeft))


SEE = int(Permission.VIEW_CHANNELS)


@pytest.mark.parametrize(
    ("before", "first", "then", "events"),
    [
        (
            (*chat(ALICE), holds(ALICE, STAFF)),
            (SetOverride(GENERAL, SERVER, 0, SEE), caller(CAROL)),
            (EditChannel(GENERAL, "Mine"), caller(ALICE)),
            (OverrideSet, ChannelEdited),
        ),
        (
            ALICE_IS_MOD,
            (RevokeRole(SERVER, ALICE, MODS), caller(CAROL)),
            (KickMember(SERVER, BOB), caller(ALICE)),
            (RoleRevoked, MemberKicked),
        ),
        (
            (*chat(ALICE), holds(ALICE, STAFF)),
            (DeleteServer(SERVER), caller(CAROL)),
            (CreateChannel(SERVER, "Mine"), caller(ALICE)),
            (ServerDeleted, ChannelCreated),
        ),
        (
            (*chat(), invited()),
            (DeleteServer(SERVER), caller(CAROL)),
            (JOIN, caller(ALICE)),
            (ServerDeleted, ServerJoined),
        ),
        (
            chat(ALICE),
            (KickMember(SERVER, ALICE), caller(CAROL)),
            (CreateInvite(SERVER), caller(ALICE)),
            (MemberKicked, InviteCreated),
        ),
        (
            chat(ALICE),
            (DeleteRole(SERVER, MODS), caller(CAROL, "1")),
            (GrantRole(SERVER, ALICE, MODS), caller(CAROL, "2")),
            (RoleDeleted, RoleGranted),
        ),
    ],
    ids=["hidden", "revoked", "deleted", "deleted for who joins", "kicked", "a role that is gone"],
)
def test_nothing_comes_after_what_forbids_it(
    store: GroupCommitStore,  # noqa: F811
    before: tuple[Event, ...],
    first: Asked,
    then: Asked,
    events: tuple[type[Event], type[Event]],
) -> None:
    put(store, (*ACCOUNTS, *before))
    head = store.head_sync()
    race(store, then, first, meeting=False)
    forbade, done = (at(store, kind) for kind in events)
    assert forbade is not None
    assert done is None or done <= head or done < forbade


def test_the_last_channel_is_one_of_two(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(ALICE), holds(ALICE, STAFF)))
    asked = ((CreateChannel(SERVER, "A"), caller(ALICE)), (CreateChannel(SERVER, "B"), caller(CAROL)))
    outcomes = race(store, *asked, limits=Limits(channels_max=2))
    assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.TOO_MANY_CHANNELS]
    assert len(new(store, ChannelCreated)) == 2


def test_of_two_who_saw_the_same_one_changes_it(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(ALICE), holds(ALICE, STAFF)))
    asked = (
        (SetOverride(GENERAL, SERVER, 0, deny, SeenOverride()), caller(who)) for deny, who in ((1, ALICE), (2, CAROL))
    )
    outcomes = race(store, *asked)
    assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.OVERRIDE_CHANGED]
    assert len(new(store, OverrideSet)) == 1
