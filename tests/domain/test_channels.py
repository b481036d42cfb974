"""Channels: what they are, their order, and whom they treat otherwise than their server does."""

from random import Random
from typing import Any

import pytest

from domain import channel_list, ordering
from domain.channel import (
    ChannelCreated,
    ChannelDeleted,
    ChannelEdited,
    CreateChannel,
    DeleteChannel,
    EditChannel,
    OverrideSet,
    SeenOverride,
    SetOverride,
    WantedOverride,
)
from domain.channel_list import ChannelDelisted, ChannelListed, ChannelPlaced, MoveChannel
from domain.command import Command
from domain.event import Event, Id
from domain.ids import derived
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code
from domain.role import RoleDeleted, RoleEdited
from domain.server import Server, ServerDeleted
from domain.server_member import MemberKicked, ServerLeft, ServerMember, Standing
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    GENERAL,
    MODS,
    NEWS,
    NOBODY,
    SERVER,
    STAFF,
    chat,
    given,
    holds,
    made,
    opened,
    seated,
)

STAFFED = (*chat(ALICE, BOB), holds(ALICE, STAFF))
SEE, SEND = int(Permission.VIEW_CHANNELS), int(Permission.SEND_MESSAGES)


def override(target_id: Id, allow: int = 0, deny: int = 0, by: Id = ALICE, channel_id: Id = GENERAL) -> OverrideSet:
    return OverrideSet(
        server_id=SERVER,
        channel_id=channel_id,
        target_id=target_id,
        editor_id=by,
        allow=allow,
        deny=deny,
        membership=int(target_id in (ALICE, BOB, CAROL) and bool(allow or deny)),
    )


def test_a_new_channel_is_the_last() -> None:
    new = made("channel", CreateChannel, ALICE)
    given(*STAFFED).when(CreateChannel(SERVER, " News ", "announcement", "What's new\n", 5)).then(
        ChannelListed(server_id=SERVER, channel_id=new, place=100 + ordering.STEP),
        ChannelCreated(
            server_id=SERVER,
            channel_id=new,
            creator_id=ALICE,
            kind="announcement",
            name="News",
            topic="What's new",
            slow_mode_seconds=5,
        ),
    )


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": " "}, Code.TOO_SHORT),
        ({"name": "x" * 51}, Code.TOO_LONG),
        ({"topic": "x" * 1_001}, Code.TOO_LONG),
        ({"slow_mode_seconds": -1}, Code.INVALID_VALUE),
        ({"slow_mode_seconds": 21_601}, Code.INVALID_VALUE),
    ],
)
def test_channels_that_cannot_be(changed: dict[str, Any], code: Code) -> None:
    field = next(iter(changed))
    given(*STAFFED).when(CreateChannel(SERVER, **({"name": "x"} | changed))).then_refused(code, field)
    given(*STAFFED).when(EditChannel(GENERAL, **changed)).then_refused(code, field)
    given(*STAFFED).when(CreateChannel(SERVER, "x", "voice")).then_refused(Code.INVALID_VALUE, "kind")  # type: ignore[arg-type]


def test_edit_channel_changes_what_is_given() -> None:
    edited = ChannelEdited(
        server_id=SERVER, channel_id=GENERAL, editor_id=ALICE, name="general", topic="New", slow_mode_seconds=0
    )
    given(*STAFFED).when(EditChannel(GENERAL, topic="New")).then(edited)
    given(*STAFFED, edited).when(EditChannel(GENERAL, topic="New")).then_nothing()


ABOUT_A_CHANNEL: list[Command] = [
    EditChannel(GENERAL, "Mine"),
    DeleteChannel(GENERAL),
    SetOverride(GENERAL, ALICE, SEND),
]
HIDDEN = override(SERVER, deny=SEE, by=CAROL)


@pytest.mark.parametrize("command", ABOUT_A_CHANNEL, ids=lambda c: type(c).__name__)
def test_a_channel_does_not_exist_for_those_who_may_not_see_it(command: Command) -> None:
    given(*chat()).when(command).then_refused(Code.CHANNEL_NOT_FOUND)
    given().when(command).then_refused(Code.CHANNEL_NOT_FOUND)
    given(*STAFFED, HIDDEN).when(command).then_refused(Code.CHANNEL_NOT_FOUND)
    gone = ChannelDeleted(server_id=SERVER, channel_id=GENERAL, deleter_id=CAROL)
    given(*STAFFED, gone).when(command).then_refused(Code.CHANNEL_NOT_FOUND)
    given(*STAFFED, ServerDeleted(server_id=SERVER, owner_id=CAROL)).when(command, by=CAROL).then_refused(
        Code.CHANNEL_NOT_FOUND
    )


ON_THE_LIST: list[Command] = [CreateChannel(SERVER, "Mine"), MoveChannel(SERVER, GENERAL, None)]


@pytest.mark.parametrize("command", [*ABOUT_A_CHANNEL, *ON_THE_LIST], ids=lambda c: type(c).__name__)
def test_a_member_without_permissions_changes_nothing(command: Command) -> None:
    given(*STAFFED).when(command, by=BOB).then_refused(Code.PERMISSION_DENIED)


@pytest.mark.parametrize("command", ON_THE_LIST, ids=lambda c: type(c).__name__)
def test_a_server_does_not_exist_for_those_who_are_not_in_it(command: Command) -> None:
    given(*chat()).when(command).then_refused(Code.SERVER_NOT_FOUND)
    given().when(command).then_refused(Code.SERVER_NOT_FOUND)


def test_channels_are_limited_in_number() -> None:
    given(*STAFFED).when(CreateChannel(SERVER, "x"), limits=Limits(channels_max=1)).then_refused(Code.TOO_MANY_CHANNELS)


def test_a_deleted_channel_is_off_the_list() -> None:
    given(*STAFFED).when(DeleteChannel(GENERAL)).then(
        ChannelDelisted(server_id=SERVER, channel_id=GENERAL),
        ChannelDeleted(server_id=SERVER, channel_id=GENERAL, deleter_id=ALICE),
    )


TWO: tuple[Event, ...] = (
    *STAFFED,
    opened(NEWS, "news"),
    ChannelListed(server_id=SERVER, channel_id=NEWS, place=200),
)


def placed(channel_id: Id, place: int) -> ChannelPlaced:
    return ChannelPlaced(server_id=SERVER, channel_id=channel_id, place=place)


def test_a_channel_is_put_behind_another_or_first() -> None:
    given(*TWO).when(MoveChannel(SERVER, GENERAL, NEWS)).then(placed(GENERAL, 200 + ordering.STEP))
    given(*TWO).when(MoveChannel(SERVER, NEWS, None)).then(placed(NEWS, 50))
    given(*TWO).when(MoveChannel(SERVER, NEWS, GENERAL)).then_nothing()
    given(*TWO).when(MoveChannel(SERVER, NEWS, NEWS)).then_nothing()
    given(*TWO).when(MoveChannel(SERVER, GENERAL, None)).then_nothing()
    given(*TWO).when(MoveChannel(SERVER, NOBODY, None)).then_refused(Code.CHANNEL_NOT_FOUND)
    given(*TWO).when(MoveChannel(SERVER, NEWS, NOBODY)).then_refused(Code.CHANNEL_NOT_FOUND, "after_id")
    given(*TWO, HIDDEN).when(MoveChannel(SERVER, GENERAL, NEWS)).then_refused(Code.CHANNEL_NOT_FOUND, "channel_id")
    given(*TWO, HIDDEN).when(MoveChannel(SERVER, NEWS, GENERAL)).then_refused(Code.CHANNEL_NOT_FOUND, "after_id")


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_moves_gives_the_order_that_was_asked_for(seed: int) -> None:
    """Also to one spot over and over, where the room between two places runs out."""
    random = Random(seed)
    order = [derived("test", "many", str(number)) for number in range(5)]
    places: channel_list.Places = {}
    for channel_id in order:
        for listed in channel_list.listed(places, server_id=SERVER, channel_id=channel_id, limits=Limits()):
            places = channel_list.evolve(places, listed)
    owner = Standing(ALICE, Server(SERVER, ALICE, "Server", ""), {}, ServerMember(joined=True))
    for turn in range(300):
        moved = order[random.randrange(5)]
        after = order[0] if turn % 3 else random.choice([None, *order])
        for event in channel_list.moved(MoveChannel(SERVER, moved, after), places, owner, seen=order):
            places = channel_list.evolve(places, event)
        if after != moved:
            order.remove(moved)
            order.insert(0 if after is None else order.index(after) + 1, moved)
        assert sorted(places, key=lambda one: places[one]) == order
        assert len(set(places.values())) == 5
        assert min(places.values()) > 0


def test_a_channel_treats_roles_and_members_otherwise() -> None:
    given(*STAFFED).when(SetOverride(GENERAL, SERVER, deny=SEND)).then(override(SERVER, deny=SEND))
    given(*STAFFED).when(SetOverride(GENERAL, BOB, SEND)).then(override(BOB, SEND))
    given(*STAFFED).when(SetOverride(GENERAL, MODS, SEE, SEND)).then(override(MODS, SEE, SEND))
    given(*STAFFED, override(BOB, SEND)).when(SetOverride(GENERAL, BOB, SEND)).then_nothing()
    given(*STAFFED, override(BOB, SEND)).when(SetOverride(GENERAL, BOB)).then(override(BOB))
    given(*STAFFED).when(SetOverride(GENERAL, BOB)).then_nothing()
    given(*STAFFED).when(SetOverride(GENERAL, NOBODY, SEND)).then_refused(Code.ROLE_NOT_FOUND, "target_id")


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (SetOverride(GENERAL, BOB, SEND, SEND), Code.INVALID_VALUE, "deny"),
        (SetOverride(GENERAL, BOB, int(Permission.BAN_MEMBERS)), Code.INVALID_VALUE, "allow"),
        (SetOverride(GENERAL, BOB, 0, -1), Code.INVALID_VALUE, "deny"),
        (SetOverride(GENERAL, BOB, int(Permission.MENTION_EVERYONE)), Code.PERMISSION_DENIED, None),
    ],
)
def test_overrides_that_cannot_be(command: Command, code: Code, field: str | None) -> None:
    given(*STAFFED).when(command).then_refused(code, field)


def test_overrides_are_limited_in_number() -> None:
    there = given(*STAFFED, override(MODS, deny=SEND))
    one = Limits(overrides_max=1)
    there.when(SetOverride(GENERAL, BOB, SEND), limits=one).then_refused(Code.TOO_MANY_OVERRIDES)
    there.when(SetOverride(GENERAL, MODS, SEND), limits=one).then(override(MODS, SEND))


def test_whoever_manages_channels_by_an_override_does_so_in_that_channel_alone() -> None:
    manager = override(BOB, int(Permission.MANAGE_CHANNELS), by=CAROL)
    given(*TWO, manager).when(DeleteChannel(NEWS), by=BOB).then_refused(Code.PERMISSION_DENIED)
    assert given(*TWO, manager).when(DeleteChannel(GENERAL), by=BOB).refusal is None
    nothing = RoleEdited(server_id=SERVER, role_id=SERVER, editor_id=CAROL, name="everyone", permissions=0)
    given(*TWO, manager, nothing).when(DeleteChannel(GENERAL), by=BOB).then_refused(Code.CHANNEL_NOT_FOUND)


def test_overrides_reach_only_below_ones_own_highest_role() -> None:
    manager = override(BOB, int(Permission.MANAGE_CHANNELS), by=CAROL)
    there = (*STAFFED, manager)
    for target_id in (STAFF, MODS, ALICE, CAROL):
        given(*there).when(SetOverride(GENERAL, target_id, deny=SEE), by=BOB).then_refused(Code.ROLE_TOO_HIGH)
    given(*there).when(SetOverride(GENERAL, SERVER, deny=SEND), by=BOB).then(override(SERVER, deny=SEND, by=BOB))
    assert given(*there).when(SetOverride(GENERAL, BOB, SEE), by=BOB).refusal is None
    high = override(STAFF, deny=SEND, by=CAROL)
    given(*there, high).when(SetOverride(GENERAL, STAFF), by=BOB).then_refused(Code.ROLE_TOO_HIGH)


def test_what_was_allowed_to_a_member_is_not_allowed_when_they_come_back() -> None:
    kicked = MemberKicked(server_id=SERVER, account_id=BOB, moderator_id=CAROL, reason="")
    manager = override(BOB, int(Permission.MANAGE_CHANNELS), SEND, by=CAROL)
    edit = EditChannel(GENERAL, "Mine")
    assert given(*STAFFED, manager).when(edit, by=BOB).refusal is None
    back = (*STAFFED, manager, kicked, seated(BOB, 2))
    given(*back).when(edit, by=BOB).then_refused(Code.PERMISSION_DENIED)
    # What was denied is denied still, and allowing it again is another override.
    again = SetOverride(GENERAL, BOB, int(Permission.MANAGE_CHANNELS), SEND)
    (recorded,) = given(*back).when(again, by=CAROL).recorded
    assert isinstance(recorded.event, OverrideSet)
    assert recorded.event.membership == 2


def test_what_a_channel_says_of_what_is_gone_can_be_taken_back() -> None:
    gone = RoleDeleted(server_id=SERVER, role_id=MODS, deleter_id=CAROL)
    left = ServerLeft(server_id=SERVER, account_id=BOB)
    there = given(*STAFFED, override(MODS, deny=SEND), override(BOB, deny=SEND), gone, left)
    there.when(SetOverride(GENERAL, MODS), key="1").then(override(MODS))
    there.when(SetOverride(GENERAL, BOB), key="2").then(override(BOB))
    there.when(SetOverride(GENERAL, BOB, SEND), key="3").then_refused(Code.ROLE_NOT_FOUND, "target_id")
    there.when(SetOverride(GENERAL, NOBODY), key="4").then_nothing()


def test_nobody_makes_the_list_of_channels_long_by_making_and_deleting() -> None:
    there = given(*STAFFED)
    few = Limits(structure_changes_max=1)
    assert there.when(CreateChannel(SERVER, "x"), by=CAROL, key="1", limits=few).refusal is None
    there.when(CreateChannel(SERVER, "x"), by=CAROL, key="2", limits=few).then_refused(Code.TOO_MANY_CHANGES)
    assert there.when(CreateChannel(SERVER, "x"), limits=few).refusal is None


# Two who change one thing each


def test_whoever_says_what_he_saw_undoes_nobodys_change() -> None:
    there = given(*STAFFED, override(BOB, SEND))
    stale, seen = SeenOverride(SEE), SeenOverride(SEND)
    there.when(SetOverride(GENERAL, BOB, SEE, saw=stale)).then_refused(Code.OVERRIDE_CHANGED, "saw")
    there.when(SetOverride(GENERAL, BOB, saw=SeenOverride())).then_refused(Code.OVERRIDE_CHANGED, "saw")
    there.when(SetOverride(GENERAL, BOB, SEND, saw=stale)).then_nothing()
    there.when(SetOverride(GENERAL, BOB, SEND | SEE, saw=seen)).then(override(BOB, SEND | SEE))
    there.when(SetOverride(GENERAL, BOB, deny=SEND, saw=seen), key="late").then_refused(Code.OVERRIDE_CHANGED, "saw")
    there.when(SetOverride(GENERAL, BOB, deny=SEND), key="last").then(override(BOB, deny=SEND))
    there.when(SetOverride(GENERAL, SERVER, deny=SEND, saw=SeenOverride()), key="new").then(override(SERVER, deny=SEND))
    there.when(SetOverride(GENERAL, BOB, SEE, saw=stale), by=BOB).then_refused(Code.PERMISSION_DENIED)


# From the beginning on


def test_a_channel_is_private_from_its_beginning_on() -> None:
    new = made("channel", CreateChannel, ALICE)
    secret = CreateChannel(
        SERVER, "x", overrides=(WantedOverride(SERVER, deny=SEE), WantedOverride(ALICE, SEE), WantedOverride(MODS, SEE))
    )
    there = given(*STAFFED, holds(BOB, MODS))
    then = there.when(secret)
    *overrides, last = [recorded.event for recorded in then.recorded if recorded.stream_id == new]
    assert overrides == [
        override(SERVER, deny=SEE, channel_id=new),
        override(ALICE, SEE, channel_id=new),
        override(MODS, SEE, channel_id=new),
    ]
    assert isinstance(last, ChannelCreated)
    there.when(EditChannel(new, topic="Ours")).then(
        ChannelEdited(server_id=SERVER, channel_id=new, editor_id=ALICE, name="x", topic="Ours", slow_mode_seconds=0)
    )
    there.when(EditChannel(new, "Mine"), by=BOB).then_refused(Code.PERMISSION_DENIED)
    hidden = CreateChannel(SERVER, "y", overrides=(WantedOverride(SERVER, deny=SEE),))
    assert there.when(hidden, by=CAROL).refusal is None
    there.when(EditChannel(made("channel", CreateChannel, CAROL), "Mine")).then_refused(Code.CHANNEL_NOT_FOUND)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ((WantedOverride(BOB, SEND), WantedOverride(BOB, deny=SEND)), Code.INVALID_VALUE),
        ((WantedOverride(BOB, SEND, SEND),), Code.INVALID_VALUE),
        ((WantedOverride(BOB, int(Permission.MENTION_EVERYONE)),), Code.PERMISSION_DENIED),
        ((WantedOverride(CAROL, deny=SEE),), Code.ROLE_TOO_HIGH),
        ((WantedOverride(STAFF, deny=SEE),), Code.ROLE_TOO_HIGH),
        ((WantedOverride(NOBODY, deny=SEE),), Code.ROLE_NOT_FOUND),
    ],
)
def test_overrides_that_a_channel_cannot_begin_with(wanted: tuple[WantedOverride, ...], code: Code) -> None:
    given(*STAFFED).when(CreateChannel(SERVER, "x", overrides=wanted)).then_refused(code, "overrides")


def test_a_channel_begins_with_so_many_overrides_at_most() -> None:
    two = CreateChannel(SERVER, "x", overrides=(WantedOverride(SERVER, deny=SEE), WantedOverride(BOB, SEE)))
    given(*STAFFED).when(two, limits=Limits(overrides_max=1)).then_refused(Code.TOO_MANY_OVERRIDES)
    given(*STAFFED).when(two, by=BOB, limits=Limits(overrides_max=1)).then_refused(Code.PERMISSION_DENIED)
    assert given(*STAFFED).when(two, limits=Limits(overrides_max=2)).refusal is None
