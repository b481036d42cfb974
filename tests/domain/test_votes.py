"""Votes and saved things."""

import pytest
from msgspec.structs import replace

from domain.ballot import CastVote, Value, VoteCast
from domain.community import CommunityImported
from domain.event import Event, Id
from domain.limits import Limits
from domain.post import PostLocked
from domain.refusal import Code
from domain.save import ItemSaved, ItemUnsaved, SaveItem, UnsaveItem
from tests.domain.test_comments import imported as imported_comment
from tests.domain.test_posts import imported as imported_post
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    NOBODY,
    PLACE,
    POST,
    blocked,
    comment_deleted,
    commented,
    given,
    invited,
    joined,
    place,
    post_deleted,
    posted,
    voted,
)

OLD = CommunityImported(community_id=PLACE, name="old", source="reddit")


def voted_comment(by: Id, value: Value, *, author_id: Id | None = ALICE) -> VoteCast:
    """A first vote on the comment."""
    return VoteCast(
        voter_id=by,
        target_id=COMMENT,
        target="comment",
        post_id=POST,
        community_id=PLACE,
        author_id=author_id,
        previous=0,
        value=value,
    )


@pytest.mark.parametrize("value", [1, -1])
def test_vote_on_post_and_comment(value: Value) -> None:
    here = given(*place(), posted(), commented())
    here.when(CastVote(POST, value), by=BOB).then(voted(BOB, value))
    here.when(CastVote(COMMENT, value), by=BOB).then(voted_comment(BOB, value))


@pytest.mark.parametrize("previous", [-1, 0, 1])
@pytest.mark.parametrize("value", [-1, 0, 1])
def test_a_vote_tells_what_it_was_before(previous: Value, value: Value) -> None:
    before = (voted(BOB, previous),) if previous else ()
    then = given(*place(), posted(), *before).when(CastVote(POST, value), by=BOB)
    if value == previous:
        then.then_nothing()
    else:
        then.then(voted(BOB, value, previous=previous))


def test_votes_of_others_are_theirs() -> None:
    given(*place(), posted(), voted(CAROL, 1)).when(CastVote(POST, 1), by=BOB).then(voted(BOB, 1))


@pytest.mark.parametrize(("value", "previous"), [(1, 0), (-1, 0), (0, 1), (-1, 1)])
def test_a_vote_on_what_one_wrote_counts_but_earns_no_karma(value: Value, previous: Value) -> None:
    before = (replace(voted(ALICE, previous), author_id=None),) if previous else ()
    own = replace(voted(ALICE, value, previous=previous), author_id=None)
    given(*place(), posted(), *before).when(CastVote(POST, value), by=ALICE).then(own)
    given(*place(), posted(), commented()).when(CastVote(COMMENT, 1)).then(voted_comment(ALICE, 1, author_id=None))


@pytest.mark.parametrize("value", [2, -2, 100])
def test_other_values_are_no_votes(value: int) -> None:
    given(*place(), posted()).when(CastVote(POST, value), by=BOB).then_refused(Code.INVALID_VALUE, "value")


def test_karma_of_an_anonymous_post_is_nobodys() -> None:
    vote = given(*place(anonymous_allowed=True), posted(anonymous=True)).when(CastVote(POST, 1), by=BOB)
    vote.then(VoteCast(BOB, POST, "post", POST, PLACE, None, 0, 1))


def test_voting_on_history() -> None:
    given(OLD, imported_post()).when(CastVote(POST, 1), by=BOB).then(
        VoteCast(BOB, POST, "post", POST, PLACE, None, 0, 1)
    )
    given(OLD, imported_post(author_id=ALICE)).when(CastVote(POST, 1), by=BOB).then(voted(BOB, 1))
    given(OLD, imported_comment()).when(CastVote(COMMENT, 1), by=BOB).then(voted_comment(BOB, 1, author_id=None))
    given(OLD, imported_post(removed=True)).when(CastVote(POST, 1), by=BOB).then_refused(Code.POST_DELETED)


@pytest.mark.parametrize("command", [CastVote, SaveItem])
def test_nothing_is_done_with_what_is_deleted(command: type[CastVote | SaveItem]) -> None:
    more = (1,) if command is CastVote else ()
    given(*place(), posted(), post_deleted()).when(command(POST, *more), by=BOB).then_refused(Code.POST_DELETED)
    gone = given(*place(), posted(), commented(), comment_deleted())
    gone.when(command(COMMENT, *more), by=BOB).then_refused(Code.COMMENT_DELETED)


def test_a_comment_outlives_its_post() -> None:
    given(*place(), posted(), commented(), post_deleted()).when(CastVote(COMMENT, 1), by=BOB).then(
        voted_comment(BOB, 1)
    )


@pytest.mark.parametrize("command", [CastVote(POST, 1), CastVote(COMMENT, 0), SaveItem(COMMENT), UnsaveItem(POST)])
@pytest.mark.parametrize("standing", [(), (invited(BOB),)])
def test_what_one_may_not_see_does_not_exist(
    command: CastVote | SaveItem | UnsaveItem, standing: tuple[Event, ...]
) -> None:
    hidden = given(*place("private"), posted(), commented(), *standing).when(command, by=BOB)
    absent = given(*place("private")).when(command, by=BOB)
    refusals = {str(then.then_refused(Code.TARGET_NOT_FOUND, "target_id")) for then in (hidden, absent)}
    assert len(refusals) == 1


def test_members_of_a_private_community_vote() -> None:
    given(*place("private"), joined(BOB), posted()).when(CastVote(POST, 1), by=BOB).then(voted(BOB, 1))


@pytest.mark.parametrize("target_id", [NOBODY, PLACE, ALICE, Id("x"), Id("")])
def test_ids_of_other_things_are_no_targets(target_id: Id) -> None:
    here = given(*place())
    for command in (CastVote(target_id, 1), SaveItem(target_id), UnsaveItem(target_id)):
        here.when(command, by=BOB).then_refused(Code.TARGET_NOT_FOUND, "target_id")


def test_a_locked_post_takes_votes() -> None:
    locked = PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL)
    given(*place(), posted(), locked).when(CastVote(POST, 1), by=BOB).then(voted(BOB, 1))


def test_below_a_locked_post_votes_go_on() -> None:
    locked = PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL)
    given(*place(), posted(), commented(), locked).when(CastVote(COMMENT, 1), by=BOB).then(voted_comment(BOB, 1))


@pytest.mark.parametrize("standing", [(), (joined(BOB),)])
def test_who_may_not_post_in_a_restricted_community_votes_in_it(standing: tuple[Event, ...]) -> None:
    here = given(*place("restricted"), posted(), commented(), *standing)
    here.when(CastVote(POST, 1), by=BOB).then(voted(BOB, 1))
    here.when(CastVote(COMMENT, -1), by=BOB).then(voted_comment(BOB, -1))


def test_no_votes_on_those_one_blocks() -> None:
    given(*place(), posted(), blocked(BOB, ALICE)).when(CastVote(POST, -1), by=BOB).then_refused(Code.BLOCKED)
    given(*place(), posted(), blocked(ALICE, BOB)).when(CastVote(POST, -1), by=BOB).then(voted(BOB, -1))


def test_a_vote_on_somebody_blocked_since_can_be_withdrawn() -> None:
    given(*place(), posted(), voted(BOB, 1), blocked(BOB, ALICE)).when(CastVote(POST, 0), by=BOB).then(
        voted(BOB, 0, previous=1)
    )


def test_a_block_does_not_tell_who_wrote_an_anonymous_post() -> None:
    hidden = given(*place(anonymous_allowed=True), posted(anonymous=True), blocked(BOB, ALICE))
    assert hidden.when(CastVote(POST, 1), by=BOB).refusal is None


def test_a_vote_that_was_changed_too_often_can_only_be_withdrawn() -> None:
    limits = Limits(changes_max=2)
    fickle = given(*place(), posted(), voted(BOB, 1), voted(BOB, -1, previous=1))
    fickle.when(CastVote(POST, 1), by=BOB, limits=limits).then_refused(Code.TOO_MANY_CHANGES)
    fickle.when(CastVote(POST, 0), by=BOB, limits=limits).then(voted(BOB, 0, previous=-1))
    fickle.when(CastVote(POST, 1), by=BOB, key="again", limits=limits).then_refused(Code.TOO_MANY_CHANGES)


def saved(target_id: Id = POST) -> ItemSaved:
    """Bob saved it."""
    return ItemSaved(account_id=BOB, target_id=target_id, target="post" if target_id == POST else "comment")


def test_save_and_unsave() -> None:
    unsaved = ItemUnsaved(account_id=BOB, target_id=POST, target="post")
    given(*place(), posted()).when(SaveItem(POST), by=BOB).then(saved())
    given(*place(), posted(), commented()).when(SaveItem(COMMENT), by=BOB).then(saved(COMMENT))
    given(*place(), posted(), saved()).when(SaveItem(POST), by=BOB).then_nothing()
    given(*place(), posted(), saved()).when(UnsaveItem(POST), by=BOB).then(unsaved)
    given(*place(), posted(), saved(), unsaved).when(UnsaveItem(POST), by=BOB).then_nothing()


def test_the_list_is_ones_own() -> None:
    unsaved = ItemUnsaved(account_id=BOB, target_id=POST, target="post")
    given(*place(), posted(), saved(), post_deleted()).when(UnsaveItem(POST), by=BOB).then(unsaved)
    given(*place("private"), posted(), saved()).when(UnsaveItem(POST), by=BOB).then(unsaved)
