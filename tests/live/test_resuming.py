"""No gap and no duplicate, wherever the connection breaks while things happen."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest

from commands.handling import Caller
from domain.ballot import CastVote
from domain.comment import SubmitComment
from domain.event import Id
from read_api.cursors import Sealer, open_position
from read_api.ids import parse_id
from tests.api.stack import Client, Stack
from tests.live.forum import a_community, submit_post
from tests.live.socket import opened
from tests.live.watching import COMMENTS, SCORE, idle

PEOPLE = 8
HAPPENINGS = 120


class Writers:
    """People who comment and vote as fast as they can, and what the log says of it."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.random = random.Random(seed)
        with Client(stack) as owner:
            owner.appear()
            self.post = submit_post(owner, a_community(owner))
            assert owner.position
            self.begin = owner.position
            people = [Client(stack).appear() for _ in range(PEOPLE)]
        self.ids = [parse_id(who.id)[1] for who in people]
        for who in people:
            who.http.close()
        self.comments: list[tuple[int, str]] = []
        self.votes: list[tuple[int, Id, int]] = []

    async def write(self) -> None:
        """Run on the server's loop."""
        post = parse_id(self.post)[1]
        values = dict.fromkeys(self.ids, 0)
        for number in range(HAPPENINGS):
            who = self.random.choice(self.ids)
            caller = Caller(who, Id(str(uuid4())), str(uuid4()))
            if self.random.random() < 0.5:
                body = f"number {number}"
                outcome = await self.stack.moot.commands.execute(
                    SubmitComment(post_id=post, parent_id=None, body=body), caller
                )
                self.comments.append((outcome.position, body))
            else:
                value = self.random.choice([v for v in (-1, 0, 1) if v != values[who]])
                outcome = await self.stack.moot.commands.execute(CastVote(target_id=post, value=value), caller)
                values[who] = value
                self.votes.append((outcome.position, who, value))

    def score_at(self, position: int) -> dict[str, int]:
        """The score as the log has it at that position."""
        latest = {who: value for at, who, value in self.votes if at <= position}
        return {"up": sum(v > 0 for v in latest.values()), "down": sum(v < 0 for v in latest.values())}


class Watcher:
    """A client whose connection breaks after every so many messages, and who goes on from its last cursor."""

    def __init__(self, stack: Stack, query: str, post: str, begin: str, breaks: Any) -> None:
        self.stack = stack
        self.query = query
        self.post = post
        self.after = begin
        self.breaks = breaks
        self.events: list[Any] = []
        self.connections = 0

    async def watch(self, writing: "asyncio.Future[None]", done: Any) -> None:
        while not (writing.done() and done(self.events)):
            await self._connect(writing, done)

    async def _connect(self, writing: "asyncio.Future[None]", done: Any) -> None:
        self.connections += 1
        patience = self.breaks()
        async with opened(self.stack) as socket:
            await socket.init()
            await socket.subscribe("w", self.query, variables={"id": self.post, "after": self.after})
            for _ in range(patience):
                receiving = asyncio.ensure_future(socket.next("w"))
                if not writing.done():
                    await asyncio.wait([receiving, writing], return_when=asyncio.FIRST_COMPLETED)
                if writing.done() and not receiving.done() and done(self.events):
                    receiving.cancel()
                    return
                (event,) = (await receiving).values()
                self.events.append(event)
                self.after = event["cursor"]
                if writing.done() and done(self.events):
                    return
            socket.raw.transport.abort()  # no closing handshake: what is under way is lost


@pytest.mark.parametrize("seed", range(3))
def test_comments_and_scores_across_dropped_connections(stack: Stack, seed: int) -> None:
    writers = Writers(stack, seed)
    sealer = Sealer(stack.moot.secrets.cursor_key)
    chance = random.Random(seed)

    async def scene() -> None:
        writing = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(writers.write(), stack.loop))

        def all_comments(events: list[Any]) -> bool:
            return len(events) >= len(writers.comments)

        def last_score(events: list[Any]) -> bool:
            last = max((at for at, _, _ in writers.votes), default=0)
            return bool(events) and open_position(sealer, events[-1]["cursor"]) >= last

        steady = Watcher(stack, COMMENTS, writers.post, writers.begin, lambda: 10**9)
        every = Watcher(stack, COMMENTS, writers.post, writers.begin, lambda: 1)
        some = [Watcher(stack, COMMENTS, writers.post, writers.begin, lambda: chance.randint(0, 5)) for _ in range(3)]
        scores = [Watcher(stack, SCORE, writers.post, writers.begin, lambda: chance.randint(0, 4)) for _ in range(3)]
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(watcher.watch(writing, all_comments) for watcher in (steady, every, *some)),
                *(watcher.watch(writing, last_score) for watcher in scores),
                writing,
            )
        said = [body for _, body in sorted(writers.comments)]
        for watcher in (steady, every, *some):
            assert [event["comment"]["body"] for event in watcher.events] == said, watcher.connections
        assert every.connections >= len(said)
        for watcher in scores:
            positions = [open_position(sealer, event["cursor"]) for event in watcher.events]
            assert positions == sorted(set(positions)), "a score twice, or one before an older one"
            for position, event in zip(positions, watcher.events, strict=True):
                assert event["score"] == writers.score_at(position)
            assert watcher.events[-1]["score"] == writers.score_at(10**9)
        await asyncio.to_thread(stack.run, idle(stack))  # nothing is left of all those connections

    asyncio.run(scene())
