"""How many messages a second one API process acknowledges, and how long each takes; its views are kept beside it.

Clients send over HTTP and never pause, as many people as there are clients. A message is acknowledged when it is in the
log durably, decided from six streams that still stood so. For the baseline the same process is asked for a post in a
community, which is decided from two and paced by nobody.
"""

import asyncio
import time
from itertools import count
from typing import Any

import uvloop

from domain.account import Register
from domain.community import CreateCommunity
from infra.composition import open_moot
from infra.settings import Settings
from read_api.ids import Kind, global_id
from tests.bench.append import Latencies
from tests.bench.chat import BODY, SEND, Room, chat_server, fill
from tests.bench.live import Asking
from tests.bench.serving import act, empty_site, said

CLIENTS = 32
SECONDS, SECONDS_LONG = 8.0, 30.0
GOAL_P99_MS = 250.0
POST = "mutation($input: SubmitPostInput!) { submitPost(input: $input) { position errors { code } } }"


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate`` and ``p99``."""
    seconds = SECONDS_LONG if long else SECONDS
    with empty_site() as settings:
        (room,) = uvloop.run(fill(settings, [(100, 0)]))
        community = uvloop.run(_community(settings))
        with chat_server(settings) as views, chat_server(settings, "gateway") as api:
            assert views.port != api.port
            message = {"channelId": room.channel_id, "body": BODY}
            post = {"communityId": community, "title": "A title", "body": BODY}
            posts = uvloop.run(_ask(api.port, room, POST, post, seconds / 2))
            sent = uvloop.run(_ask(api.port, room, SEND, message, seconds))
    return [
        {
            "name": "rate",
            "value": round(sent.rate),
            "unit": "messages/s",
            "baseline": round(posts.rate),
            "ratio": round(sent.rate / posts.rate, 2),
            "goal": "printed, beside posts",
            "holds": True,
        },
        {
            "name": "p99",
            "value": round(sent.quantile(0.99), 1),
            "unit": "ms",
            "baseline": round(posts.quantile(0.99), 1),
            "ratio": round(posts.quantile(0.99) / sent.quantile(0.99), 2),
            "goal": f"under {GOAL_P99_MS:.0f} ms with {CLIENTS} clients that never pause",
            "holds": sent.quantile(0.99) < GOAL_P99_MS,
        },
    ]


async def _community(settings: Settings) -> str:
    async with open_moot(settings) as moot:
        owner = await act(moot, Register(name="holder"))
        return global_id(Kind.COMMUNITY, await act(moot, CreateCommunity(name="place", title="A place"), owner))


async def _ask(port: int, room: Room, mutation: str, fields: dict[str, Any], seconds: float) -> Latencies:
    found, numbers = Latencies(seconds), count()

    async def client(token: str) -> None:
        asking, more = Asking(port), True
        await asking.open()
        while more:
            asked = time.perf_counter()
            await asking.ask(token, mutation, {**fields, "idempotencyKey": f"{seconds} {next(numbers)}"})
            more = found.timed(asked)
        asking.close()

    await asyncio.gather(*(client(token) for token in room.senders[:CLIENTS]))
    said(
        f"{mutation[28:45]}…: {found.rate:,.0f}/s, p50 {found.quantile(0.5):.1f} ms, p99 {found.quantile(0.99):.1f} ms"
    )
    return found
