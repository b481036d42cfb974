"""Redis dies and comes back: what is followed goes on, and nothing is missed."""

import asyncio
from collections.abc import Iterator

import pytest

from infra.embedded import Engines
from tests.api.stack import Client, Stack
from tests.live.conftest import served
from tests.live.forum import a_community, comment, submit_post, vote
from tests.live.redis_server import RedisServer
from tests.live.socket import signed_in
from tests.live.watching import COMMENTS, SCORE, told


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def own(engines: Engines, redis: RedisServer) -> Iterator[Stack]:
    with served(engines, redis, redis_publish_seconds_max=0.2) as running:
        yield running


def test_what_happens_without_redis_is_told_in_the_end_and_once(own: Stack, redis: RedisServer) -> None:
    async def scene(ada: Client) -> None:
        post = await told(lambda: submit_post(ada, a_community(ada)))
        async with signed_in(own, ada) as socket:
            await socket.subscribe("s", SCORE, variables={"id": post})
            await socket.next("s")
            await socket.subscribe("c", COMMENTS, variables={"id": post, "after": ada.position})
            await told(comment, ada, post, "with")
            assert (await socket.next("c"))["commentAdded"]["comment"]["body"] == "with"
            redis.kill()
            for body in ("without", "still without"):
                await told(comment, ada, post, body)
            await told(vote, ada, post)
            redis.start()
            await told(comment, ada, post, "with again")
            scores, bodies = [], []
            while len(bodies) < 3 or not scores:
                message = await socket.receive()
                data = message["payload"]["data"]
                if message["id"] == "s":
                    scores.append(data["scoreChanged"]["score"])
                else:
                    bodies.append(data["commentAdded"]["comment"]["body"])
            assert scores == [{"up": 1, "down": 0}]
            assert bodies == ["without", "still without", "with again"]
            await socket.alive()

    with Client(own) as ada:
        asyncio.run(scene(ada.appear()))


def test_who_signs_out_without_redis_is_closed_when_it_is_back(own: Stack, redis: RedisServer) -> None:
    async def scene(ada: Client, ben: Client) -> None:
        async with signed_in(own, ada) as hers, signed_in(own, ben) as his:
            token = ada.http.headers["Authorization"].removeprefix("Bearer ")
            viewer = await told(own.run, own.moot.sessions.authenticate(token))
            redis.kill()
            await told(own.run, own.moot.sessions.end(viewer.session_id, viewer.account_id))
            redis.start()
            code, reason = await hers.closed()
            assert code == 4403
            assert "ended" in reason
            await his.alive()

    with Client(own) as ada, Client(own) as ben:
        asyncio.run(scene(ada.appear(), ben.appear()))
