"""Signing up, names, following and blocking."""

import pytest

from domain.account import AccountImported, AccountRegistered, ChangeDisplayName, DisplayNameChanged, Register
from domain.block import AccountBlocked, AccountUnblocked, Block, Unblock
from domain.event import Id
from domain.follow import AccountFollowed, AccountUnfollowed, Follow, Unfollow
from domain.limits import Limits
from domain.name import NameClaimed, claim_id
from domain.refusal import Code
from tests.domain.world import ALICE, BOB, NAME_KEY, NOBODY, Claimed, blocked, commands_over, given


def new_account_id(name: str, key: str = "key") -> Id:
    """The account that signing up with that name and key makes."""
    return commands_over(given().store).account_id(name, key)


def test_register_claims_the_name_and_opens_the_account() -> None:
    dora = new_account_id("Dora")
    then = given().when(Register(name="Dora", display_name=" Dora  the\u0301 Explorer "), by=None)
    then.then(
        NameClaimed(kind="account", holder_id=dora),
        AccountRegistered(account_id=dora, name="Dora", display_name="Dora th\xe9 Explorer"),
    )
    assert then.outcome is not None
    assert then.outcome.subject_id == dora
    assert then.recorded[0].stream_id == claim_id("account", "dORA", NAME_KEY)
    assert then.recorded[-1].meta.actor_id == dora


def test_without_a_display_name_the_name_is_shown() -> None:
    dora = new_account_id("Dora")
    given().when(Register(name="Dora"), by=None).then(
        NameClaimed(kind="account", holder_id=dora),
        AccountRegistered(account_id=dora, name="Dora", display_name="Dora"),
    )


@pytest.mark.parametrize("called", ["bob", "Bob", "BOB"])
def test_a_name_is_somebodys_whatever_its_case(called: str) -> None:
    given(Claimed("account", "bob", BOB)).when(Register(name=called), by=None).then_refused(Code.NAME_TAKEN, "name")


def test_a_community_of_that_name_is_no_obstacle() -> None:
    dora = new_account_id("dora")
    given(Claimed("community", "dora", BOB)).when(Register(name="dora"), by=None).then(
        NameClaimed(kind="account", holder_id=dora),
        AccountRegistered(account_id=dora, name="dora", display_name="dora"),
    )


@pytest.mark.parametrize(
    ("called", "code"),
    [
        ("", Code.TOO_SHORT),
        ("ab", Code.TOO_SHORT),
        ("a" * 21, Code.TOO_LONG),
        ("two words", Code.NAME_INVALID),
        ("dora!", Code.NAME_INVALID),
        ("dora\n", Code.NAME_INVALID),
        ("do\x00ra", Code.NAME_INVALID),
        ("d\u043era", Code.NAME_INVALID),  # a Cyrillic o
        ("d\uff4fra", Code.NAME_INVALID),  # a fullwidth o
        ("do\u200bra", Code.NAME_INVALID),
        ("dor\ud800", Code.NAME_INVALID),
        ("admin", Code.NAME_RESERVED),
        ("Moderator", Code.NAME_RESERVED),
    ],
)
def test_names_that_nobody_can_have(called: str, code: Code) -> None:
    given().when(Register(name=called), by=None).then_refused(code, "name")


def test_a_look_alike_is_told_why() -> None:
    refusal = given().when(Register(name="d\u043era"), by=None).then_refused(Code.NAME_INVALID)
    assert "look just like" in refusal.message


@pytest.mark.parametrize("called", ["abc", "a" * 20, "a-b_c", "007", "Test"])
def test_names_that_anybody_can_have(called: str) -> None:
    assert given().when(Register(name=called), by=None).refusal is None


def test_limits_of_names_are_settings() -> None:
    limits = Limits(account_name_length_min=5, account_name_length_max=6)
    given().when(Register(name="dora"), by=None, limits=limits).then_refused(Code.TOO_SHORT)
    given().when(Register(name="doradora"), by=None, limits=limits).then_refused(Code.TOO_LONG)


def test_change_display_name() -> None:
    shown = "A. L\u0131ce"
    given().when(ChangeDisplayName(shown)).then(DisplayNameChanged(account_id=ALICE, display_name=shown))


def test_the_same_display_name_is_no_change() -> None:
    given().when(ChangeDisplayName(" Alice ")).then_nothing()


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("", Code.TOO_SHORT),
        (" \u3000 ", Code.TOO_SHORT),
        ("\u200d", Code.TOO_SHORT),
        ("x" * 51, Code.TOO_LONG),
        ("a\nb", Code.INVALID_CHARACTERS),
        ("a\u202eb", Code.INVALID_CHARACTERS),
        ("a\u200bb", Code.INVALID_CHARACTERS),
    ],
)
def test_display_names_that_do_not_show(shown: str, code: Code) -> None:
    given().when(ChangeDisplayName(shown)).then_refused(code, "display_name")


def test_only_an_account_has_a_display_name() -> None:
    given().when(ChangeDisplayName("Ghost"), by=NOBODY).then_refused(Code.ACCOUNT_NOT_FOUND)


def test_follow_and_unfollow() -> None:
    followed = AccountFollowed(follower_id=ALICE, followed_id=BOB)
    unfollowed = AccountUnfollowed(follower_id=ALICE, followed_id=BOB)
    given().when(Follow(BOB)).then(followed)
    given(followed).when(Follow(BOB)).then_nothing()
    given(followed).when(Unfollow(BOB)).then(unfollowed)
    given(followed, unfollowed).when(Unfollow(BOB)).then_nothing()
    given(followed, unfollowed).when(Follow(BOB)).then(followed)


def test_an_imported_account_can_be_followed() -> None:
    old = AccountImported(account_id=NOBODY, name="old.timer", source="reddit")
    given(old).when(Follow(NOBODY)).then(AccountFollowed(follower_id=ALICE, followed_id=NOBODY))


@pytest.mark.parametrize("command", [Follow(NOBODY), Unfollow(NOBODY), Block(NOBODY), Unblock(NOBODY), Follow(Id("x"))])
def test_nobody_is_no_account(command: Follow | Unfollow | Block | Unblock) -> None:
    given().when(command).then_refused(Code.ACCOUNT_NOT_FOUND, "account_id")


@pytest.mark.parametrize("command", [Follow(ALICE), Block(ALICE)])
def test_not_oneself(command: Follow | Block) -> None:
    given().when(command).then_refused(Code.NOT_YOURSELF, "account_id")


def test_no_following_where_there_is_a_block() -> None:
    given(blocked(ALICE, BOB)).when(Follow(BOB)).then_refused(Code.BLOCKED, "account_id")
    given(blocked(BOB, ALICE)).when(Follow(BOB)).then_refused(Code.BLOCKED, "account_id")


def test_block_and_unblock() -> None:
    unblocked = AccountUnblocked(blocker_id=ALICE, blocked_id=BOB)
    given().when(Block(BOB)).then(blocked(ALICE, BOB))
    given(blocked(ALICE, BOB)).when(Block(BOB)).then_nothing()
    given(blocked(ALICE, BOB)).when(Unblock(BOB)).then(unblocked)
    given(blocked(BOB, ALICE)).when(Unblock(BOB)).then_nothing()
    given(blocked(ALICE, BOB), unblocked).when(Follow(BOB)).then(AccountFollowed(follower_id=ALICE, followed_id=BOB))


def test_a_block_ends_the_following_in_both_directions() -> None:
    there, back = (
        AccountFollowed(follower_id=ALICE, followed_id=BOB),
        AccountFollowed(follower_id=BOB, followed_id=ALICE),
    )
    given(there, back).when(Block(BOB)).then(
        AccountUnfollowed(follower_id=ALICE, followed_id=BOB),
        AccountUnfollowed(follower_id=BOB, followed_id=ALICE),
        AccountBlocked(blocker_id=ALICE, blocked_id=BOB),
    )


def test_changes_by_one_do_not_count_against_the_other() -> None:
    """Who follows and unfollows somebody again and again takes nothing from them."""
    there = AccountFollowed(follower_id=BOB, followed_id=ALICE)
    ended = AccountUnfollowed(follower_id=BOB, followed_id=ALICE)
    limits = Limits(changes_max=4)
    pestered = given(*[there, ended] * 4)
    for number, command in enumerate((Block(BOB), Unblock(BOB), Follow(BOB))):
        assert pestered.when(command, by=ALICE, key=str(number), limits=limits).refusal is None
    pestered.when(Follow(ALICE), by=BOB, limits=limits).then_refused(Code.TOO_MANY_CHANGES)


def test_one_can_always_block() -> None:
    often = given(*[blocked(ALICE, BOB), AccountUnblocked(blocker_id=ALICE, blocked_id=BOB)] * 2)
    often.when(Block(BOB), limits=Limits(changes_max=4)).then(blocked(ALICE, BOB))
    often.when(Unblock(BOB), limits=Limits(changes_max=4)).then_refused(Code.TOO_MANY_CHANGES)
