"""What commands record beside the events, and what they do when something is amiss."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from commands.handling import Commands, NotSignedIn, Outcome
from commands.ports import Append, StoreUnavailable
from commands.use_case import Streams, UnreadableStream
from domain import post
from domain.account import Register
from domain.ballot import CastVote, VoteCast
from domain.command import Command
from domain.community import CreateCommunity
from domain.event import Id
from domain.ids import derived
from domain.post import EditPost, SubmitPost
from domain.refusal import Code
from infra.event_store import GroupCommitStore, memory_store
from schemas.envelope import Metadata, Recorded, Undecodable
from tests.domain.world import (
    ACCOUNTS,
    ALICE,
    BOB,
    NAME_KEY,
    NOW,
    PLACE,
    POST,
    caller,
    commands_over,
    given,
    log_of,
    messaging,
    place,
    posted,
    put,
)


def test_events_say_who_asked_and_when() -> None:
    recorded = given(*place(), posted()).when(CastVote(POST, 1), by=BOB).recorded[0]
    assert recorded.meta.actor_id == BOB
    assert recorded.meta.correlation_id == derived("test", "request")
    assert recorded.meta.causation_id is None
    assert recorded.meta.command_id == derived("command", "CastVote", BOB, "key")
    assert recorded.meta.occurred_at == NOW


def test_all_events_of_a_command_are_of_one_time() -> None:
    ticks = iter(range(100))
    store = memory_store()
    put(store, ACCOUNTS)
    before = store.head_sync()
    commands = Commands(store, lambda: NOW + timedelta(seconds=next(ticks)), NAME_KEY, **messaging())
    asyncio.run(commands.execute(CreateCommunity(name="python"), caller(ALICE)))
    recorded = log_of(store, before)
    assert len(recorded) == 5
    assert {one.meta.occurred_at for one in recorded} == {NOW}
    assert len({one.meta.command_id for one in recorded}) == 1


@pytest.mark.parametrize("command", [CastVote(POST, 1), CreateCommunity(name="python"), EditPost(POST, "x")])
def test_only_people_who_are_signed_in(command: CastVote | CreateCommunity | EditPost) -> None:
    store = given(*place(), posted()).store
    before = store.head_sync()
    with pytest.raises(NotSignedIn, match=type(command).__name__):
        asyncio.run(commands_over(store).execute(command, caller(None)))
    assert store.head_sync() == before


def test_without_a_key_ids_are_new_and_ordered_by_time() -> None:
    store = memory_store()
    times = iter([NOW, NOW + timedelta(milliseconds=1)])
    commands = Commands(store, lambda: next(times), NAME_KEY, **messaging())
    made = [
        asyncio.run(commands.execute(Register(name=called), caller(None, None))).subject_id
        for called in ("dora", "eve")
    ]
    assert made == sorted(made)
    assert all(one[14] == "7" for one in made)


def test_another_name_key_is_another_account() -> None:
    store = memory_store()
    ids = {Commands(store, lambda: NOW, key, **messaging()).account_id("dora", "key") for key in (NAME_KEY, bytes(32))}
    assert len(ids) == 2


class AnswerLost:
    """A store that records, and whose first answer is lost on the way back."""

    def __init__(self, store: GroupCommitStore) -> None:
        self._store = store
        self.lost = False

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """As the store does."""
        return await self._store.load(stream_ids)

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """Record it, and say so only from the second time on."""
        position = await self._store.append(appends, meta)
        if not self.lost:
            self.lost = True
            raise StoreUnavailable("the answer was lost")
        return position


def test_a_retry_after_a_lost_answer_gets_the_outcome_of_what_was_recorded() -> None:
    store = given(*place()).store
    commands = commands_over(AnswerLost(store))
    ask = SubmitPost(PLACE, kind="text", title="A")
    with pytest.raises(StoreUnavailable):
        asyncio.run(commands.execute(ask, caller(ALICE)))
    head = store.head_sync()
    outcome = asyncio.run(commands.execute(ask, caller(ALICE)))
    assert outcome == Outcome(derived("post", derived("command", "SubmitPost", ALICE, "key")), head)
    assert store.head_sync() == head


def test_nothing_is_decided_from_a_stream_that_cannot_be_read() -> None:
    unreadable = Recorded(1, POST, 1, Undecodable(wire="post.moved@9", reason="unknown"), b"")

    async def load(_: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        return {POST: [unreadable]}

    with pytest.raises(UnreadableStream, match=POST):
        asyncio.run(Streams(load).fetch(POST))


def test_streams_are_loaded_once() -> None:
    store = given(*place(), posted()).store
    asked: list[Id] = []

    async def load(stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        asked.extend(stream_ids)
        return await store.load(stream_ids)

    async def run() -> None:
        streams = Streams(load)
        await streams.fetch(POST, None, POST)
        await streams.fetch(POST, PLACE)
        await streams.fetch(POST)
        assert streams.version(POST) == 1
        assert streams.state(post, POST) is not None
        assert streams.state(post, PLACE) is None
        assert streams.state(post, None) is None

    asyncio.run(run())
    assert sorted(asked) == sorted([POST, PLACE])


def test_a_vote_takes_two_loads() -> None:
    store = given(*place(), posted()).store
    loads = 0

    class Counted:
        async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
            nonlocal loads
            loads += 1
            return await store.load(stream_ids)

        async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
            return await store.append(appends, meta)

    asyncio.run(commands_over(Counted()).execute(CastVote(POST, 1), caller(BOB)))
    assert loads == 2
    assert isinstance(log_of(store)[-1].event, VoteCast)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (CastVote(POST, True), "value"),
        (CastVote(POST, 2), "value"),
        (CastVote(POST, "1"), "value"),
        (CastVote(None, 1), "target_id"),
        (SubmitPost(PLACE, kind="text", title=5), "title"),
        (SubmitPost(PLACE, kind="poll", title="A"), "kind"),
        (SubmitPost(PLACE, kind="link", title="A", url=7), "url"),
        (EditPost(POST, None), "body"),
        (CreateCommunity(name="python", anonymous_allowed="no"), "anonymous_allowed"),
        (Register(name=["dora"]), "name"),
    ],
)
def test_values_of_other_types_are_refused(command: Command, field: str) -> None:
    given(*place(), posted()).when(command, by=ALICE).then_refused(Code.INVALID_VALUE, field)


def test_the_clock_is_asked_for_utc() -> None:
    recorded = given(*place()).when(SubmitPost(PLACE, kind="text", title="A")).recorded[0]
    assert recorded.meta.occurred_at.utcoffset() == timedelta(0)
    assert isinstance(recorded.occurred_at, datetime)
