"""How many messages a second one API process acknowledges, and how long each takes; its views are kept beside it.

Clients send over HTTP and never pause, as many people as there are clients. A message is acknowledged when it is in the
log durably, decided from six streams that still stood so. For the baseline the same process is asked for a post in a
community, which is decided from two and paced by nobody.
"""

import asyncio
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from commands.handling import Caller
from domain.account import Register
from domain.community import CreateCommunity
from domain.event import Id
from infra.composition import open_moot
from infra.embedded import start_engines
from infra.migrate import migrate
from infra.secrets import load_or_create_secrets
from infra.settings import Settings, load_settings
from read_api.ids import Kind, global_id
from tests.bench.append import Latencies
from tests.bench.chat import BODY, SEND, Room, fill, said, served
from tests.bench.live import Asking

CLIENTS = 32
SECONDS, SECONDS_LONG = 8.0, 30.0
GOAL_P99_MS = 250.0
POST = "mutation($input: SubmitPostInput!) { submitPost(input: $input) { position errors { code } } }"


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate`` and ``p99``."""
    seconds = SECONDS_LONG if long else SECONDS
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        settings = load_settings({}, data_dir=Path(folder))
        with start_engines(settings) as engines:
            migrate(engines.database_url)
            load_or_create_secrets(Path(folder), has_data=False)
            settings = engines.settings
            (room,) = uvloop.run(fill(settings, [(100, 0)]))
            community = uvloop.run(_community(settings))
            with served(settings) as views, served(settings, "gateway") as api:
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
        caller = Caller(None, Id(str(uuid4())), str(uuid4()))
        owner = (await moot.commands.execute(Register(name="holder"), caller)).subject_id
        caller = Caller(owner, Id(str(uuid4())), str(uuid4()))
        made = await moot.commands.execute(CreateCommunity(name="place", title="A place"), caller)
        return global_id(Kind.COMMUNITY, made.subject_id)


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
