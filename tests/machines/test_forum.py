"""A forum at random: real commands over a real log, beside a model that knows nothing of events.

Every wish must be granted or refused as the model says, retries and lost answers must change nothing, what
happens at once must be explained by some order, and the streams and scores of the log must be the model.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import permutations
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from commands.handling import Commands, Outcome
from commands.ports import Append, StoreUnavailable
from domain import account, ballot, comment, community, membership, moderators, post, relation, save, stickies
from domain.account import Register
from domain.ballot import CastVote, VoteCast
from domain.command import Command
from domain.comment import SubmitComment
from domain.community import CreateCommunity
from domain.event import Event, Id
from domain.ids import ballot_id, derived, membership_id, moderators_id, relation_id, save_id, stickies_id
from domain.limits import Limits
from domain.membership import AppointModerator, InviteMember, JoinCommunity
from domain.post import SubmitPost
from domain.refusal import Code, Refusal
from infra.event_store import memory_store
from schemas.envelope import Metadata, Recorded
from tests.domain.world import NAME_KEY, NOW, caller, messaging
from tests.machines.model import DEPTH_MAX, MODERATORS_MAX, STICKIES_MAX, Model, No
from tests.machines.wishes import CHANGING, KINDS, RELATING, STANDING, Whim, Wish, fitted, whims

LIMITS = Limits(comment_depth_max=DEPTH_MAX, moderators_max=MODERATORS_MAX, stickies_max=STICKIES_MAX)


AT_ONCE = st.one_of(
    st.lists(whims(*kinds), min_size=2, max_size=3) for kinds in (KINDS, (CastVote,), RELATING, STANDING, CHANGING)
)


class Store:
    """The log in memory, which loses answers and lets others go first when told to."""

    def __init__(self) -> None:
        self.log = memory_store(clock=lambda: NOW)
        self.lose_answer = False
        self.pauses: list[int] = []

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """As the log does, sooner or later."""
        await self._pause()
        return await self.log.load(stream_ids)

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """As the log does, sooner or later."""
        await self._pause()
        position = await self.log.append(appends, meta)
        if self.lose_answer:
            self.lose_answer = False
            raise StoreUnavailable("the answer was lost")
        return position

    async def _pause(self) -> None:
        for _ in range(self.pauses.pop() if self.pauses else 0):
            await asyncio.sleep(0)


class Forum(RuleBasedStateMachine):
    """The machine. ``asked`` are the commands that changed something, with what they led to."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.commands = Commands(self.store, lambda: NOW, NAME_KEY, LIMITS, **messaging())
        self.model = Model()
        self.asked: list[tuple[Command, Id | None, str, Outcome]] = []
        self.keys = 0
        self.seen = 0
        self.streams: dict[Id, list[Event]] = defaultdict(list)
        self.scores: dict[Id, int] = defaultdict(int)
        self.karma: dict[Id | None, int] = defaultdict(int)
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        """The streams, folded from the start, are the model."""
        self.runner.close()
        self.catch_up()
        assert self.difference(self.model) is None, self.difference(self.model)

    @initialize()
    def founding(self) -> None:
        """Three people, a community of each kind with a post and a comment, a guest and a second moderator."""
        for name in ("Ann", "Ben", "Cid"):
            self.ask(Register(name), None)
        founder_id = next(iter(self.model.accounts))
        for visibility in ("public", "restricted", "private"):
            self.ask(CreateCommunity(visibility, visibility=visibility, anonymous_allowed=True), founder_id)
        ben, cid = list(self.model.accounts)[1:]
        _, restricted, private = self.model.communities
        for place_id, guest_id in ((restricted, cid), (private, ben)):
            self.ask(InviteMember(place_id, guest_id), founder_id)
            self.ask(JoinCommunity(place_id), guest_id)
        self.ask(AppointModerator(private, ben), founder_id)
        for place_id in self.model.communities:
            self.ask(SubmitPost(place_id, "text", "First"), founder_id)
        for post_id in self.model.posts:
            self.ask(SubmitComment(post_id, None, "First"), founder_id)

    @rule(asked=st.lists(whims(*KINDS), min_size=8, max_size=24))
    def people_wish(self, asked: list[Whim]) -> None:
        """Several things, one after the other."""
        for whim in asked:
            self.ask(*fitted(whim, self.model))

    @rule(whim=whims(*KINDS))
    def an_answer_is_lost(self, whim: Whim) -> None:
        """What was recorded is asked for again, for nobody heard that it was."""
        self.ask(*fitted(whim, self.model), lost=True)

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 99))
    def a_late_retry(self, which: int) -> None:
        """Of anything that ever succeeded: nothing happens, and the answer is the first one."""
        command, by, key, outcome = self.asked[which % len(self.asked)]
        head = self.store.log.head_sync()
        assert self.execute(command, by, key) == outcome
        assert self.store.log.head_sync() == head

    @rule(asked=AT_ONCE, pauses=st.lists(st.integers(0, 3), max_size=12))
    def several_at_once(self, asked: list[Whim], pauses: list[int]) -> None:
        """Different wishes at the same moment: as if one had come after the other."""
        together = [fitted(whim, self.model) for whim in asked]
        self.at_once(together, [self.new_key() for _ in together], pauses)

    @rule(whim=whims(*KINDS), pauses=st.lists(st.integers(0, 3), max_size=12), times=st.integers(2, 3))
    def an_impatient_client(self, whim: Whim, pauses: list[int], times: int) -> None:
        """The same wish several times at the same moment, under one key: it happens once."""
        wish, key = fitted(whim, self.model), self.new_key()
        results = self.at_once([wish] * times, [key] * times, pauses)
        assert len(set(results)) == 1

    @invariant()
    def karma_of_the_log_is_that_of_the_model(self) -> None:
        """Nobody earns anything from his own votes, nor from anonymous posts."""
        self.catch_up()
        people = self.model.accounts
        assert {one: self.karma[one] for one in people} == {one: self.model.karma(one) for one in people}

    @invariant()
    def scores_of_the_log_are_those_of_the_model(self) -> None:
        """Folded from deltas, event by event."""
        self.catch_up()
        targets = [*self.model.posts, *self.model.comments]
        assert {target: self.scores[target] for target in targets} == {
            target: self.model.score(target) for target in targets
        }

    # -- the log -----------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Read what is new in the log: positions have no gaps, and versions of a stream neither."""
        for recorded in self.store.log.read_sync(self.seen, 100_000):
            event, stream = recorded.event, self.streams[recorded.stream_id]
            stream.append(event)
            assert (recorded.position, recorded.version) == (self.seen + 1, len(stream))
            self.seen = recorded.position
            if isinstance(event, VoteCast):
                self.scores[event.target_id] += event.value - event.previous
                self.karma[event.author_id] += event.value - event.previous

    def difference(self, model: Model) -> str | None:
        """The first thing of which the log says something else than the model; ``None`` if they say the same."""
        for aggregate, stream_id, expected in expectations(model):
            state = reduce(aggregate.evolve, self.streams[stream_id], aggregate.START)
            if state != expected:
                return f"{aggregate.__name__} {stream_id}: the log says {state}, the model {expected}"
        return None

    # -- asking ------------------------------------------------------------------------------------------------

    def new_key(self) -> str:
        """An idempotency key that nobody had."""
        self.keys += 1
        return str(self.keys)

    def execute(self, command: Command, by: Id | None, key: str) -> Outcome | Code:
        """What the real commands say."""
        return self.runner.run(self._execute(command, by, key))

    async def _execute(self, command: Command, by: Id | None, key: str) -> Outcome | Code:
        try:
            return await self.commands.execute(command, caller(by, key))
        except Refusal as refusal:
            return refusal.code

    def ask(self, command: Command, by: Id | None, *, lost: bool = False) -> None:
        """One command, which must do what the model does."""
        head, before, key = self.store.log.head_sync(), self.model.copy(), self.new_key()
        self.store.lose_answer = lost
        try:
            result = self.execute(command, by, key)
        except StoreUnavailable:
            result = self.execute(command, by, key)
        self.store.lose_answer = False
        assert result_of(self.model, command, by, result) == (None if isinstance(result, Outcome) else result)
        after = self.store.log.head_sync()
        assert (after > head) == (self.model != before), "it changed something just if the model changed"
        if isinstance(result, Outcome) and after > head:
            assert result.position == after
            self.asked.append((command, by, key, result))

    def recorded(self, wish: Wish, key: str, outcome: Outcome) -> bool:
        """Whether the outcome is of events of the wish's own, rather than of another's with the same effect."""
        command, by = wish
        command_id = derived("command", type(command).__name__, *((by, key) if by else (outcome.subject_id,)))
        return self.store.log.read_sync(outcome.position - 1, 1)[0].meta.command_id == command_id

    def at_once(self, together: list[Wish], keys: list[str], pauses: list[int]) -> list[Outcome | Code]:
        """All of them at once, under these keys; some order of them must explain what came of it."""

        async def run() -> list[Outcome | Code]:
            return await asyncio.gather(*(self._execute(*wish, key) for wish, key in zip(together, keys, strict=True)))

        head = self.store.log.head_sync()
        self.store.pauses = pauses
        results = self.runner.run(run())
        self.store.pauses = []
        wanted = dict(zip(keys, zip(together, results, strict=True), strict=True))
        explained = [
            model for order in permutations(wanted.values()) if (model := replayed(self.model, order)) is not None
        ]
        self.catch_up()
        fitting = (model for model in explained if self.difference(model) is None)
        found = next(fitting, None)
        assert found is not None, f"no order of these explains it: {list(wanted.values())}"
        self.model = found
        self.asked += [
            (*wish, key, result)
            for key, (wish, result) in wanted.items()
            if isinstance(result, Outcome) and result.position > head and self.recorded(wish, key, result)
        ]
        return results


def result_of(model: Model, command: Command, by: Id | None, result: Outcome | Code) -> Code | None:
    """What the model says to it, ``None`` for yes."""
    try:
        model.ask(command, by, result.subject_id if isinstance(result, Outcome) else None)
    except No as no:
        return no.code
    return None


def replayed(model: Model, order: Sequence[tuple[Wish, Outcome | Code]]) -> Model | None:
    """The model after these, one by one; ``None`` if they would not have had these results."""
    model = model.copy()
    for (command, by), result in order:
        if result_of(model, command, by, result) != (None if isinstance(result, Outcome) else result):
            return None
    return model


def expectations(model: Model) -> Iterator[tuple[Any, Id, Any]]:
    """What every stream of the model must fold into: the aggregate, the stream, the state."""
    for one, shown in model.accounts.items():
        yield account, one, account.Account(one, shown)
        for other in model.accounts:
            pairs = {(one, other), (other, one)}
            followers, blockers = ({who for who, _ in pairs & some} for some in (model.follows, model.blocks))
            yield relation, relation_id(one, other), relation.Relation(frozenset(followers), frozenset(blockers))
        for kind, items in (("post", model.posts), ("comment", model.comments)):
            for target in items:
                yield ballot, ballot_id(one, target), model.votes.get((one, target), 0)
                yield save, save_id(one, target), kind if (one, target) in model.saved else None
    for one, place in model.communities.items():
        about = place["title"], "", place["visibility"], place["anonymous_allowed"]
        yield community, one, community.Community(one, *about)
        yield moderators, moderators_id(one), place["moderators"]
        yield stickies, stickies_id(one), model.stickies(one)
        for who in model.accounts:
            standing = [who in place[role] for role in ("invited", "members", "moderators")]
            yield membership, membership_id(one, who), membership.Membership(*standing)
    for one, said in model.posts.items():
        fields = {field: said[field] for field in ("kind", "body", "anonymous", "locked", "sticky", "deleted")}
        yield post, one, post.Post(one, said["community"], said["author"], **fields)
    for one, said in model.comments.items():
        fields = {field: said[field] for field in ("depth", "body", "deleted")}
        path = path_of(model, one)
        yield comment, one, comment.Comment(one, said["post"], said["community"], said["author"], path, **fields)


def path_of(model: Model, comment_id: Id | None) -> bytes:
    """Where a comment stands: time and id of each of its ancestors and then its own."""
    if comment_id is None:
        return b""
    own = int(NOW.timestamp() * 1000).to_bytes(6, "big") + bytes.fromhex(comment_id[:8])
    return path_of(model, model.comments[comment_id]["parent"]) + own


LONG = os.environ.get("MOOT_TEST_LONG") == "1"
"""Set it to search for minutes, at random and somewhere else each time, rather than the same way every time."""

TestForum = Forum.TestCase
TestForum.settings = settings(
    max_examples=3_000 if LONG else 120,
    stateful_step_count=40 if LONG else 20,
    derandomize=not LONG,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
