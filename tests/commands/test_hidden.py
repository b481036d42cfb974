"""What a stranger may not see is, to every command, what does not exist: same code, same words, same field."""

from typing import Any

import msgspec
import pytest

from commands.handling import USE_CASES
from domain.command import Command
from domain.event import Event, Id
from domain.ids import derived
from domain.limits import Limits
from domain.membership import MemberLeft
from domain.refusal import Code
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    NOBODY,
    PLACE,
    POST,
    commented,
    given,
    invited,
    joined,
    place,
    posted,
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


ABOUT_SOMETHING = [kind for kind in USE_CASES if NAMING.keys() & set(kind.__struct_fields__)]
TOLD = {"COMMUNITY_NOT_FOUND", "POST_NOT_FOUND", "COMMENT_NOT_FOUND", "TARGET_NOT_FOUND"}


def told(events: tuple[Event, ...], command: Command, limits: Limits) -> tuple[Code, str, str | None]:
    """How Bob is refused."""
    then = given(*events).when(command, by=BOB, limits=limits)
    assert then.refusal is not None, f"{command} was granted"
    return then.refusal.code, then.refusal.message, then.refusal.field


def test_every_command_that_names_something_is_here() -> None:
    assert len(ABOUT_SOMETHING) == 18
    without = {"Register", "ChangeDisplayName", "Follow", "Unfollow", "Block", "Unblock", "CreateCommunity"}
    assert {kind.__name__ for kind in USE_CASES} - {kind.__name__ for kind in ABOUT_SOMETHING} == without


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


def test_ids_of_people_are_ids_of_nothing_here() -> None:
    for kind in ABOUT_SOMETHING:
        for command in asking(kind, NOBODY):
            assert told(HIDDEN, command, Limits())[0].value in TOLD
