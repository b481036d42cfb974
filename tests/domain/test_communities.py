"""Communities, and who belongs to them."""

from typing import Any

import pytest

from domain.community import CommunityCreated, CommunityEdited, CommunityImported, CreateCommunity, EditCommunity
from domain.event import Id
from domain.limits import Limits
from domain.membership import (
    AppointModerator,
    InvitationDeclined,
    InviteMember,
    JoinCommunity,
    LeaveCommunity,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    ModeratorAppointed,
)
from domain.moderators import ModeratorDelisted, ModeratorListed
from domain.name import NameClaimed
from domain.refusal import Code
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    NOBODY,
    PLACE,
    Claimed,
    given,
    invited,
    joined,
    made,
    moderating,
    place,
)

CREATE = CreateCommunity(
    name="Python",
    title=" Snakes ",
    description="Rules:\r\n\n1. Be kind\n",
    visibility="restricted",
    anonymous_allowed=True,
)


def test_create_community_makes_the_creator_its_first_moderator() -> None:
    new = made("community", CreateCommunity, ALICE)
    then = given().when(CREATE)
    then.then(
        NameClaimed(kind="community", holder_id=new),
        ModeratorListed(community_id=new, account_id=ALICE),
        MemberJoined(community_id=new, account_id=ALICE),
        ModeratorAppointed(community_id=new, account_id=ALICE, appointer_id=ALICE),
        CommunityCreated(
            community_id=new,
            creator_id=ALICE,
            name="Python",
            title="Snakes",
            description="Rules:\n\n1. Be kind",
            visibility="restricted",
            anonymous_allowed=True,
        ),
    )
    assert then.outcome is not None
    assert then.outcome.subject_id == new


def test_a_name_is_one_communitys_whatever_its_case() -> None:
    given(Claimed("community", "python", PLACE)).when(CREATE).then_refused(Code.NAME_TAKEN, "name")
    assert given(Claimed("account", "python", BOB)).when(CREATE).refusal is None


@pytest.mark.parametrize(
    ("called", "code"),
    [
        ("py", Code.TOO_SHORT),
        ("p" * 22, Code.TOO_LONG),
        ("py-thon", Code.NAME_INVALID),
        ("p\u0443thon", Code.NAME_INVALID),  # a Cyrillic y
        ("All", Code.NAME_RESERVED),
    ],
)
def test_names_that_no_community_can_have(called: str, code: Code) -> None:
    refusal = given().when(CreateCommunity(name=called)).then_refused(code, "name")
    assert "display name" not in refusal.message


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"title": "x" * 101}, Code.TOO_LONG),
        ({"title": " "}, Code.TOO_SHORT),
        ({"description": "x" * 5_001}, Code.TOO_LONG),
        ({"description": "x\x00"}, Code.INVALID_CHARACTERS),
        ({"visibility": "secret"}, Code.INVALID_VALUE),
    ],
)
def test_what_a_community_cannot_say_of_itself(changed: dict[str, str], code: Code) -> None:
    field = next(iter(changed))
    given().when(CreateCommunity(name="python", **changed)).then_refused(code, field)
    given(*place()).when(EditCommunity(PLACE, **changed), by=CAROL).then_refused(code, field)


def edited(**changed: object) -> CommunityEdited:
    """The place as Carol changed it."""
    fields = {"title": "The place", "description": "", "visibility": "public", "anonymous_allowed": False} | changed
    return CommunityEdited(community_id=PLACE, editor_id=CAROL, **fields)


@pytest.mark.parametrize(
    "changed", [{"title": "New"}, {"description": "d"}, {"visibility": "private"}, {"anonymous_allowed": True}]
)
def test_edit_community_changes_what_is_given(changed: dict[str, object]) -> None:
    given(*place()).when(EditCommunity(PLACE, **changed), by=CAROL).then(edited(**changed))
    given(*place(), edited(**changed)).when(EditCommunity(PLACE, **changed), by=CAROL).then_nothing()


def test_only_moderators_edit() -> None:
    given(*place(), joined(ALICE)).when(EditCommunity(PLACE, title="Mine")).then_refused(Code.NOT_MODERATOR)
    given(*place("private")).when(EditCommunity(PLACE, title="Mine")).then_refused(Code.COMMUNITY_NOT_FOUND)
    given().when(EditCommunity(PLACE, title="Mine")).then_refused(Code.COMMUNITY_NOT_FOUND, "community_id")


@pytest.mark.parametrize("more", [{"title": "x"}, {"visibility": "public"}, {"anonymous_allowed": True}])
def test_a_community_that_was_edited_too_often_can_only_be_closed(more: dict[str, Any]) -> None:
    limits = Limits(changes_max=3)
    often = given(*place(anonymous_allowed=True))
    for number in range(3):
        often.when(EditCommunity(PLACE, title=str(number)), by=CAROL, key=str(number))
    often.when(EditCommunity(PLACE, title="3"), by=CAROL, limits=limits).then_refused(Code.TOO_MANY_CHANGES)
    closed = EditCommunity(PLACE, visibility="private", anonymous_allowed=False)
    assert often.when(closed, by=CAROL, limits=limits).refusal is None
    often.when(EditCommunity(PLACE, **more), by=CAROL, key="more", limits=limits).then_refused(Code.TOO_MANY_CHANGES)


def test_an_imported_community_is_public_and_has_no_moderator() -> None:
    old = CommunityImported(community_id=PLACE, name="old", source="reddit")
    given(old).when(JoinCommunity(PLACE)).then(joined(ALICE))
    given(old, joined(ALICE)).when(EditCommunity(PLACE, title="x")).then_refused(Code.NOT_MODERATOR)


@pytest.mark.parametrize("visibility", ["public", "restricted"])
def test_join_and_leave(visibility: str) -> None:
    left = MemberLeft(community_id=PLACE, account_id=ALICE)
    given(*place(visibility)).when(JoinCommunity(PLACE)).then(joined(ALICE))
    given(*place(visibility), joined(ALICE)).when(JoinCommunity(PLACE)).then_nothing()
    given(*place(visibility), joined(ALICE)).when(LeaveCommunity(PLACE)).then(left)
    given(*place(visibility), joined(ALICE), left).when(LeaveCommunity(PLACE)).then_nothing()
    given(*place(visibility), joined(ALICE), left).when(JoinCommunity(PLACE)).then(joined(ALICE))


def test_a_private_community_takes_only_the_invited() -> None:
    left = MemberLeft(community_id=PLACE, account_id=ALICE)
    given(*place("private")).when(JoinCommunity(PLACE)).then_refused(Code.COMMUNITY_NOT_FOUND, "community_id")
    given(*place("private"), invited(ALICE)).when(JoinCommunity(PLACE)).then(joined(ALICE))
    again = given(*place("private"), invited(ALICE), joined(ALICE), left)
    again.when(JoinCommunity(PLACE)).then_refused(Code.COMMUNITY_NOT_FOUND)
    again.when(LeaveCommunity(PLACE)).then_refused(Code.COMMUNITY_NOT_FOUND)


@pytest.mark.parametrize("visibility", ["public", "restricted", "private"])
def test_an_invitation_can_be_declined(visibility: str) -> None:
    declined = InvitationDeclined(community_id=PLACE, account_id=ALICE)
    given(*place(visibility), invited(ALICE)).when(LeaveCommunity(PLACE)).then(declined)
    again = given(*place(visibility), invited(ALICE), declined)
    if visibility == "private":
        again.when(JoinCommunity(PLACE)).then_refused(Code.COMMUNITY_NOT_FOUND)
    else:
        again.when(LeaveCommunity(PLACE)).then_nothing()
    again.when(InviteMember(PLACE, ALICE), by=CAROL).then(invited(ALICE))


def test_who_leaves_is_not_invited_any_more() -> None:
    left = MemberLeft(community_id=PLACE, account_id=ALICE)
    given(*place("private"), invited(ALICE), joined(ALICE)).when(LeaveCommunity(PLACE)).then(left)


@pytest.mark.parametrize("command", [JoinCommunity(PLACE), LeaveCommunity(PLACE), JoinCommunity(Id("x"))])
def test_what_does_not_exist_has_no_members(command: JoinCommunity | LeaveCommunity) -> None:
    given().when(command).then_refused(Code.COMMUNITY_NOT_FOUND, "community_id")


def test_an_account_is_no_community() -> None:
    given().when(JoinCommunity(BOB)).then_refused(Code.COMMUNITY_NOT_FOUND)


def test_the_last_moderator_stays() -> None:
    given(*place()).when(LeaveCommunity(PLACE), by=CAROL).then_refused(Code.LAST_MODERATOR)
    two = given(*place(), *moderating(BOB), joined(ALICE))
    two.when(LeaveCommunity(PLACE), by=CAROL).then(
        ModeratorDelisted(community_id=PLACE, account_id=CAROL), MemberLeft(community_id=PLACE, account_id=CAROL)
    )
    two.when(LeaveCommunity(PLACE), by=BOB).then_refused(Code.LAST_MODERATOR)


def test_who_left_moderates_no_more() -> None:
    then = given(*place(), *moderating(BOB)).when(LeaveCommunity(PLACE), by=BOB)
    then.then(ModeratorDelisted(community_id=PLACE, account_id=BOB), MemberLeft(community_id=PLACE, account_id=BOB))
    left = (ModeratorDelisted(community_id=PLACE, account_id=BOB), MemberLeft(community_id=PLACE, account_id=BOB))
    given(*place(), *moderating(BOB), *left).when(EditCommunity(PLACE, title="x"), by=BOB).then_refused(
        Code.NOT_MODERATOR
    )


@pytest.mark.parametrize("visibility", ["public", "restricted", "private"])
def test_moderators_invite(visibility: str) -> None:
    given(*place(visibility)).when(InviteMember(PLACE, ALICE), by=CAROL).then(invited(ALICE))
    given(*place(visibility), invited(ALICE)).when(InviteMember(PLACE, ALICE), by=CAROL).then_nothing()
    given(*place(visibility), joined(ALICE)).when(InviteMember(PLACE, ALICE), by=CAROL).then(
        MemberInvited(community_id=PLACE, account_id=ALICE, inviter_id=CAROL)
    )
    given(*place(visibility)).when(InviteMember(PLACE, CAROL), by=CAROL).then_nothing()


def test_moderators_appoint_members() -> None:
    appointed = ModeratorAppointed(community_id=PLACE, account_id=ALICE, appointer_id=CAROL)
    given(*place(), joined(ALICE)).when(AppointModerator(PLACE, ALICE), by=CAROL).then(
        ModeratorListed(community_id=PLACE, account_id=ALICE), appointed
    )
    given(*place(), *moderating(ALICE)).when(AppointModerator(PLACE, ALICE), by=CAROL).then_nothing()
    given(*place(), invited(ALICE)).when(AppointModerator(PLACE, ALICE), by=CAROL).then_refused(
        Code.NOT_A_MEMBER, "account_id"
    )


def test_moderators_are_few() -> None:
    crowd = given(*place(), *moderating(BOB), joined(ALICE))
    limits = Limits(moderators_max=2)
    crowd.when(AppointModerator(PLACE, ALICE), by=CAROL, limits=limits).then_refused(Code.TOO_MANY_MODERATORS)


@pytest.mark.parametrize("command", [InviteMember(PLACE, BOB), AppointModerator(PLACE, BOB)])
def test_only_moderators_invite_and_appoint(command: InviteMember | AppointModerator) -> None:
    given(*place(), joined(ALICE), joined(BOB)).when(command).then_refused(Code.NOT_MODERATOR)
    given(*place("private"), joined(ALICE)).when(command).then_refused(Code.NOT_MODERATOR)
    given(*place("private")).when(command).then_refused(Code.COMMUNITY_NOT_FOUND)
    given().when(command).then_refused(Code.COMMUNITY_NOT_FOUND)


@pytest.mark.parametrize("command", [InviteMember(PLACE, NOBODY), AppointModerator(PLACE, NOBODY)])
def test_nobody_can_be_invited_or_appointed(command: InviteMember | AppointModerator) -> None:
    given(*place()).when(command, by=CAROL).then_refused(Code.ACCOUNT_NOT_FOUND, "account_id")
