"""Reactions to one message that meet."""

from domain.emoji_list import EmojiListed
from domain.limits import Limits
from domain.reaction import AddReaction, ReactionAdded
from domain.refusal import Code, Refusal
from infra.event_store import GroupCommitStore
from tests.commands.test_races import new, race, store  # noqa: F401 - a fixture
from tests.domain.world import ACCOUNTS, ALICE, BOB, MESSAGE, caller, chat, put, said


def test_the_last_new_emoji_is_one_of_two(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(ALICE, BOB), said()))
    asked = ((AddReaction(MESSAGE, emoji), caller(who)) for who, emoji in ((ALICE, "🐘"), (BOB, "🐇")))
    outcomes = race(store, *asked, limits=Limits(emoji_max=1))
    assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.TOO_MANY_EMOJI]
    assert len(new(store, EmojiListed)) == len(new(store, ReactionAdded)) == 1


def test_two_who_bring_the_same_emoji_both_react(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *chat(ALICE, BOB), said()))
    asked = ((AddReaction(MESSAGE, "🐘"), caller(who)) for who in (ALICE, BOB))
    race(store, *asked, limits=Limits(emoji_max=1))
    assert len(new(store, EmojiListed)) == 1
    assert len(new(store, ReactionAdded)) == 2
