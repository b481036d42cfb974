"""Clients of subscriptions who go from one API process to the next and on from their last cursor."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from domain.ballot import VoteCast
from domain.comment import CommentSubmitted
from infra.tasks import end
from read_api.cursors import open_position
from read_api.ids import Kind, global_id, parse_id
from tests.api.stack import Client
from tests.live.socket import signed_in
from tests.live.watching import COMMENTS, SCORE
from tests.stack.crowd import Forum
from tests.stack.roles import Role, until
from tests.stack.whole import Whole, at

RETRY_SECONDS = 0.2
STAYS_SECONDS = 2.0
"""For how long one who is restless stays at a process, on average."""
BEGIN_SECONDS_MAX = 10.0
TOLD_SECONDS_MAX = 120.0
"""Until followers have heard what is in the views; on a machine that is busy with other things."""


class Follower:
    """Hears ``messages`` at one process, is cut off without a word, and goes on at another; first at ``begins``.

    One who is ``restless`` is cut off at random moments, and goes on at any process.
    """

    def __init__(
        self,
        whole: Whole,
        query: str,
        who: Client,
        given: dict[str, Any],
        *,
        messages: int = 1,
        begins: int = 0,
        restless: Random | None = None,
    ) -> None:
        self._whole, self._query, self._who, self._given = whole, query, who, dict(given)
        self._restless = restless
        self._ways = (
            cycle([*whole.apis[begins:], *whole.apis[:begins]]) if restless is None else self._anywhere(restless)
        )
        self._messages = messages
        self.heard: list[Any] = []
        self.refusals: set[str] = set()
        """Codes of what ended the following while it persevered."""

    def _anywhere(self, random: Random) -> Iterator[Role]:
        while True:
            yield random.choice(self._whole.apis)

    async def follow(self, last: Callable[[Any], bool]) -> None:
        """Until it has heard the last that there is to hear."""
        while not (self.heard and last(self.heard[-1])):
            async with signed_in(at(next(self._ways)), self._who) as socket:
                await socket.subscribe("f", self._query, variables=self._given)
                for _ in range(self._messages):
                    (event,) = (await socket.next("f")).values()
                    assert event["cursor"] != self._given["after"], "the last one once more"
                    self.heard.append(event)
                    self._given["after"] = event["cursor"]
                    if last(event):
                        break
                socket.raw.transport.abort()  # no closing handshake: what is under way is lost

    async def persevere(self) -> None:
        """For ever: stays where it is for as long as it is told nothing else, and goes on elsewhere when it fails.

        Silence is no failure: who hears nothing does not know that there was anything to hear.
        """
        while True:
            try:
                async with signed_in(at(next(self._ways)), self._who) as socket:
                    await socket.subscribe("f", self._query, variables=self._given)
                    if self._restless is not None:
                        stays = self._restless.expovariate(1 / STAYS_SECONDS)
                        asyncio.get_running_loop().call_later(stays, socket.raw.transport.abort)
                    await self._listen(socket.raw)
            except (OSError, WebSocketException, AssertionError):
                # Not reached, cut off, or not let in: its session cannot be asked for, say.
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self, socket: ClientConnection) -> None:
        async for frame in socket:
            message = json.loads(frame)
            match message["type"]:
                case "next" if "errors" not in message["payload"]:
                    (event,) = message["payload"]["data"].values()
                    self.heard.append(event)
                    self._given["after"] = event["cursor"]
                case "ping":
                    await socket.send(json.dumps({"type": "pong"}))
                case _:
                    errors = message["payload"]
                    errors = errors["errors"] if isinstance(errors, dict) else errors
                    self.refusals |= {error["extensions"]["code"] for error in errors}
                    await asyncio.sleep(RETRY_SECONDS)
                    return

    def places(self, last: int = 0) -> list[int]:
        """The positions of what it heard, or of so many that came last."""
        return [open_position(self._whole.sealer, event["cursor"]) for event in self.heard[-last:]]


class Following:
    """Followers who persevere while other things are done. A context manager: on leaving it they listen no more."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers
        self._begun = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._follow()), name="followers", daemon=True)
        self._ended: list[Any] = []

    async def _follow(self) -> None:
        self._loop, self._enough = asyncio.get_running_loop(), asyncio.Event()
        following = [asyncio.create_task(one.persevere()) for one in self._followers]
        self._begun.set()
        await self._enough.wait()
        await end(*following)  # a cancellation can get lost
        self._ended = await asyncio.gather(*following, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(BEGIN_SECONDS_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._enough.set)
        self._thread.join()
        assert [type(one) for one in self._ended] == [asyncio.CancelledError] * len(self._followers), self._ended


class Audience:
    """Those who follow what the crowd does to two of its posts: what they hear is what happened, once and in order."""

    def __init__(self, whole: Whole, crowd: Forum) -> None:
        self._whole = whole
        self._talked, self._voted = crowd.posts[:2]
        ada = whole.people[0]
        self._comments, self._scores = (
            [
                Follower(whole, query, ada, {"id": post, "after": ada.position}, begins=begins)
                for begins in range(len(whole.apis))
            ]
            for query, post in ((COMMENTS, self._talked), (SCORE, self._voted))
        )
        self.following = Following([*self._comments, *self._scores])

    def assert_told(self) -> None:
        """Without anything else that happens, and without asking once more."""
        log, talked, voted = self._whole.log(), parse_id(self._talked)[1], parse_id(self._voted)[1]
        said = [r for r in log if isinstance(r.event, CommentSubmitted) and r.event.post_id == talked]
        votes = [r for r in log if isinstance(r.event, VoteCast) and r.event.target_id == voted]
        assert said
        assert votes
        ids = [global_id(Kind.COMMENT, r.event.comment_id) for r in said]
        for one in self._comments:
            until(lambda one=one: len(one.heard) >= len(ids), TOLD_SECONDS_MAX)  # type: ignore[misc]
            assert [event["comment"]["id"] for event in one.heard] == ids
        values = [*{r.event.voter_id: r.event.value for r in votes}.values()]
        for one in self._scores:
            until(lambda one=one: one.places()[-1:] == [votes[-1].position], TOLD_SECONDS_MAX)  # type: ignore[misc]
            assert one.places() == sorted(set(one.places())), "a score twice, or an older one after a newer"
            assert one.heard[-1]["score"] == {"up": values.count(1), "down": values.count(-1)}
