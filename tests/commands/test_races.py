"""Two at the same moment: both have decided before either is recorded, in memory and in PostgreSQL."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import pytest

from commands.handling import Caller, Contended, Outcome
from commands.ports import Append, Conflict
from domain import moderators, name, relation, stickies
from domain.account import Register
from domain.ballot import CastVote, VoteCast
from domain.block import Block
from domain.command import Command
from domain.comment import SubmitComment
from domain.community import CommunityEdited, CreateCommunity, EditCommunity
from domain.event import Event, Id
from domain.follow import Follow
from domain.ids import moderators_id, relation_id
from domain.limits import Limits
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity, MemberLeft
from domain.post import EditPost, LockPost, PostEdited, PostLocked, StickyPost, SubmitPost
from domain.refusal import Code, Refusal
from domain.save import SaveItem
from infra.event_store import GroupCommitStore, memory_store, postgres_store
from infra.migrate import migrate
from schemas.envelope import Metadata, Recorded
from tests.domain.world import (
    ACCOUNTS,
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    NOW,
    OTHER_POST,
    PLACE,
    POST,
    REPLY,
    blocked,
    caller,
    commands_over,
    comment_deleted,
    commented,
    joined,
    log_of,
    moderating,
    place,
    post_deleted,
    posted,
    put,
    stream_of,
    voted,
)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[GroupCommitStore]:
    """An empty log of either kind."""
    if request.param == "memory":
        yield memory_store(clock=lambda: NOW)
        return
    database = request.getfixturevalue("database")
    migrate(database)
    opened = postgres_store(database, bytes(32), clock=lambda: NOW)
    yield opened
    opened.close()


class Together:
    """A store whose first appends wait for one another: so many commands have decided before one is recorded."""

    def __init__(self, store: GroupCommitStore, parties: int) -> None:
        self._store = store
        self._missing = parties
        self._all_here = asyncio.Event()
        self.conflicts = 0

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """As the store does."""
        return await self._store.load(stream_ids)

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """As the store does, once all are here."""
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        await self._all_here.wait()
        try:
            return await self._store.append(appends, meta)
        except Conflict:
            self.conflicts += 1
            raise


def race(
    store: GroupCommitStore, *asked: tuple[Command, Caller], limits: Limits | None = None, meeting: bool = True
) -> list[Outcome | Refusal]:
    """What became of each command. All decided on what was there before; which was recorded first is not said.

    ``meeting``: whichever that was, it kept the others from being recorded as they were decided.
    """

    async def run() -> tuple[list[Outcome | BaseException], int]:
        together = Together(store, len(asked))
        commands = commands_over(together, limits)
        outcomes = await asyncio.gather(*(commands.execute(*one) for one in asked), return_exceptions=True)
        return outcomes, together.conflicts

    outcomes, conflicts = asyncio.run(run())
    assert conflicts >= len(asked) - 1 or not meeting, "they did not meet"
    for outcome in outcomes:
        assert isinstance(outcome, Outcome | Refusal), repr(outcome)
    return outcomes


def new(store: GroupCommitStore, kind: type[Event]) -> list[Event]:
    """The events of that kind, in order."""
    return [recorded.event for recorded in log_of(store) if isinstance(recorded.event, kind)]


def test_two_votes_of_one_voter_leave_one_vote(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted()))
    up, down = (CastVote(POST, 1), caller(BOB, "up")), (CastVote(POST, -1), caller(BOB, "down"))
    outcomes = race(store, up, down)
    votes = [(vote.previous, vote.value) for vote in new(store, VoteCast)]
    assert votes in ([(0, 1), (1, -1)], [(0, -1), (-1, 1)])
    assert len({outcome.position for outcome in outcomes}) == 2


def test_the_same_vote_twice_at_once_counts_once(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted()))
    outcomes = race(store, *((CastVote(POST, 1), caller(BOB, key)) for key in ("a", "b", None, None)))
    assert [vote.value for vote in new(store, VoteCast)] == [1]
    assert len({outcome.position for outcome in outcomes}) == 1


def test_a_retry_that_overtakes_the_first_try_gets_its_outcome(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place()))
    again = (SubmitPost(PLACE, kind="text", title="A"), caller(ALICE))
    first, second = race(store, again, again)
    assert first == second
    assert len(log_of(store, first.position - 1)) == 1


@pytest.mark.parametrize("command", [Register, CreateCommunity])
def test_one_of_two_gets_the_name(store: GroupCommitStore, command: type[Register | CreateCommunity]) -> None:
    put(store, ACCOUNTS)
    first, second = (None, None) if command is Register else (ALICE, BOB)
    outcomes = race(store, (command(name="Python"), caller(first, "1")), (command(name="python"), caller(second, "2")))
    winners = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert [refusal.code for refusal in losers] == [Code.NAME_TAKEN]
    assert [claim.holder_id for claim in new(store, name.NameClaimed)] == [winners[0].subject_id]
    assert log_of(store)[-1].position == winners[0].position


def test_the_last_two_moderators_cannot_both_leave(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), *moderating(BOB)))
    outcomes = race(store, (LeaveCommunity(PLACE), caller(BOB)), (LeaveCommunity(PLACE), caller(CAROL)))
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)] == [Code.LAST_MODERATOR]
    assert len(new(store, moderators.ModeratorDelisted)) == 1


def test_the_last_sticky_post_is_one_of_two(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted(), posted(post_id=OTHER_POST)))
    limits = Limits(stickies_max=1)
    asked = ((StickyPost(POST), caller(CAROL)), (StickyPost(OTHER_POST), caller(CAROL, "another")))
    outcomes = race(store, *asked, limits=limits)
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)] == [Code.TOO_MANY_STICKIES]
    assert len(new(store, stickies.StickyListed)) == 1


def test_nobody_is_appointed_by_somebody_who_leaves(store: GroupCommitStore) -> None:
    """Whichever comes first, whoever is on the list has the standing, and the list is not empty."""
    put(store, (*ACCOUNTS, *place(), *moderating(BOB), joined(ALICE)))
    race(store, (LeaveCommunity(PLACE), caller(BOB)), (AppointModerator(PLACE, ALICE), caller(BOB)))
    listed = moderators.START
    for recorded in store.load_sync([moderators_id(PLACE)])[moderators_id(PLACE)]:
        listed = moderators.evolve(listed, recorded.event)
    assert listed in ({CAROL}, {CAROL, ALICE})


def test_nobody_follows_where_there_is_a_block(store: GroupCommitStore) -> None:
    put(store, ACCOUNTS)
    race(store, (Follow(ALICE), caller(BOB)), (Block(BOB), caller(ALICE)))
    stream_id = relation_id(ALICE, BOB)
    events = [recorded.event for recorded in store.load_sync([stream_id])[stream_id]]
    between = reduce(relation.evolve, events, relation.START)
    assert between == relation.Relation(followers=frozenset(), blockers=frozenset({ALICE}))


def test_two_edits_are_both_recorded_the_later_one_last(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted()))
    outcomes = race(store, *((EditPost(POST, text), caller(ALICE, text)) for text in ("A", "B")))
    last = store.load_sync([POST])[POST][-1]
    assert last.position == max(outcome.position for outcome in outcomes)
    assert {recorded.event.body for recorded in store.load_sync([POST])[POST]} == {"The text", "A", "B"}


def test_joining_twice_at_once_makes_one_member(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place()))
    race(store, *((JoinCommunity(PLACE), caller(ALICE, key)) for key in ("a", "b")))
    assert sum(event == joined(ALICE) for event in new(store, type(joined(ALICE)))) == 1


def test_as_many_as_there_are_attempts_may_meet(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted()))
    many = Limits().attempts_max
    race(store, *((EditPost(POST, str(number)), caller(ALICE, str(number))) for number in range(many)))
    assert len(store.load_sync([POST])[POST]) == 1 + many


def test_many_more_than_there_are_attempts_make_room_for_each_other(store: GroupCommitStore) -> None:
    put(store, (*ACCOUNTS, *place(), posted()))
    many = 4 * Limits().attempts_max
    race(store, *((EditPost(POST, str(number)), caller(ALICE, str(number))) for number in range(many)))
    assert len(store.load_sync([POST])[POST]) == 1 + many


LOCKED = PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL)
CLOSED = CommunityEdited(
    community_id=PLACE, editor_id=CAROL, title="", description="", visibility="private", anonymous_allowed=False
)
LEFT = MemberLeft(community_id=PLACE, account_id=CAROL)


class Meanwhile:
    """A store in which something happens between the first decision and its append."""

    def __init__(self, store: GroupCommitStore, *events: Event) -> None:
        self._store = store
        self._events: tuple[Event, ...] = events
        self.decisions = 0

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """As the store does."""
        return await self._store.load(stream_ids)

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """As the store does, too late."""
        self.decisions += 1
        events, self._events = self._events, ()
        put(self._store, events)
        return await self._store.append(appends, meta)


@pytest.mark.parametrize(
    ("command", "by", "meanwhile", "code"),
    [
        (SubmitComment(POST, None, "Hi"), BOB, LOCKED, Code.POST_LOCKED),
        (SubmitComment(POST, None, "Hi"), BOB, post_deleted(), Code.POST_DELETED),
        (SubmitComment(POST, None, "Hi"), BOB, blocked(ALICE, BOB), Code.BLOCKED),
        (SubmitComment(POST, None, "Hi"), BOB, CLOSED, Code.POST_NOT_FOUND),
        (SubmitComment(POST, COMMENT, "Hi"), BOB, comment_deleted(), Code.COMMENT_DELETED),
        (CastVote(POST, 1), BOB, post_deleted(), Code.POST_DELETED),
        (CastVote(POST, 1), BOB, blocked(BOB, ALICE), Code.BLOCKED),
        (CastVote(COMMENT, 1), BOB, CLOSED, Code.TARGET_NOT_FOUND),
        (SaveItem(POST), BOB, post_deleted(), Code.POST_DELETED),
        (SubmitPost(PLACE, kind="text", title="A"), BOB, CLOSED, Code.COMMUNITY_NOT_FOUND),
        (JoinCommunity(PLACE), BOB, CLOSED, Code.COMMUNITY_NOT_FOUND),
        (LockPost(POST), CAROL, LEFT, Code.NOT_MODERATOR),
        (EditCommunity(PLACE, title="New"), CAROL, LEFT, Code.NOT_MODERATOR),
        (InviteMember(PLACE, BOB), CAROL, LEFT, Code.NOT_MODERATOR),
    ],
)
def test_a_decision_holds_against_what_it_only_read(
    store: GroupCommitStore, command: Command, by: Id, meanwhile: Event, code: Code
) -> None:
    put(store, (*ACCOUNTS, *place(), posted(), commented()))
    late = Meanwhile(store, meanwhile)
    with pytest.raises(Refusal) as refusal:
        asyncio.run(commands_over(late).execute(command, caller(by)))
    assert refusal.value.code is code
    assert log_of(store)[-1].event == meanwhile
    assert late.decisions == 1


@pytest.mark.parametrize(
    "command",
    [CastVote(POST, 1), CastVote(COMMENT, 1), SubmitComment(POST, None, "Hi"), SubmitComment(POST, COMMENT, "Hi")],
)
def test_what_many_do_with_one_post_is_not_decided_again_for_one_another(
    store: GroupCommitStore, command: Command
) -> None:
    put(store, (*ACCOUNTS, *place(), posted(), commented()))
    busy = Meanwhile(
        store,
        voted(CAROL, 1),
        voted(ALICE, -1),
        commented(CAROL, comment_id=REPLY),
        joined(ALICE),
        posted(post_id=OTHER_POST),
        blocked(ALICE, CAROL),
    )
    asyncio.run(commands_over(busy).execute(command, caller(BOB)))
    assert busy.decisions == 1


class AlwaysLate:
    """A store in which somebody else is always first."""

    def __init__(self, store: GroupCommitStore) -> None:
        self._store = store
        self.attempts = 0

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """As the store does."""
        return await self._store.load(stream_ids)

    async def append(self, appends: Sequence[Append], _meta: Metadata) -> int:
        """Somebody else's edit comes before."""
        self.attempts += 1
        text = f"somebody else's {self.attempts}"
        put(self._store, [PostEdited(post_id=POST, community_id=PLACE, author_id=ALICE, body=text)])
        raise Conflict([append.stream_id for append in appends])


def test_who_is_always_late_gives_up_and_says_so() -> None:
    store = memory_store(clock=lambda: NOW)
    put(store, (*ACCOUNTS, *place(), posted()))
    late = AlwaysLate(store)
    with pytest.raises(Contended, match="EditPost"):
        asyncio.run(commands_over(late, Limits(attempts_max=3)).execute(EditPost(POST, "mine"), caller(ALICE)))
    assert late.attempts == 3
    assert "mine" not in str(store.load_sync([stream_of(posted())]))
