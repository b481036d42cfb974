"""A page of 25 posts with author, community, score and my vote: what it costs the server.

The server is a process of its own; requests a second are counted against the processor time that it used, so what
the clients and PostgreSQL take does not matter. For the baseline the same page is asked of Strawberry used as its
documentation has it, over the same rows by the same statements (and without checking who asks, which ours does).
"""

import asyncio
import json
import time
from random import Random
from typing import Any

import uvloop
from msgspec import Struct

from domain.account import Register
from domain.ballot import CastVote
from domain.comment import SubmitComment
from domain.community import CreateCommunity
from domain.event import Id
from domain.post import SubmitPost
from infra.composition import Moot, open_moot
from infra.settings import Settings
from projections.catalogue import ALL
from streams.runner import Runner
from tests.bench.serving import Served, act, empty_site, said, served

ACCOUNTS, COMMUNITIES, POSTS, VOTES, COMMENTS = 300, 40, 2_000, 6_000, 1_000
CLIENTS = 4
SECONDS, SECONDS_LONG = 6.0, 20.0
WARM_UP_SECONDS = 1.5
GOAL_RATIO = 3.0
GOAL_QUERIES = 4
GOAL_P99_MS = 100.0

FIELDS = """edges { cursor node { id title author { id name } community { id name }
  score { up down total } commentCount myVote } } pageInfo { endCursor hasNextPage }"""
OURS = f"query Page {{ feed(sort: HOT, first: 25) {{ {FIELDS} }} }}"
STOCK = f'query Page {{ feed(sort: "HOT", first: 25) {{ {FIELDS} }} }}'


class Measured(Struct):
    """What a server did: requests a second of its processor time, statements a request, seconds at p99."""

    rate: float
    queries: float
    p99: float


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rps_per_core``, ``queries_per_request`` and ``p99``."""
    seconds = SECONDS_LONG if long else SECONDS
    with empty_site(durable=False) as settings:
        viewer_id, token = uvloop.run(_fill(settings))
        stock = _measure("stock", settings, viewer_id, token, seconds)
        ours = _measure("ours", settings, viewer_id, token, seconds)
    return [
        {
            "name": "rps_per_core",
            "value": round(ours.rate),
            "unit": "requests/s",
            "baseline": round(stock.rate),
            "ratio": round(ours.rate / stock.rate, 2),
            "goal": f"at least {GOAL_RATIO:.0f} times stock Strawberry",
            "holds": ours.rate >= GOAL_RATIO * stock.rate,
        },
        {
            "name": "queries_per_request",
            "value": round(ours.queries, 2),
            "unit": "statements",
            "baseline": round(stock.queries, 2),
            "ratio": round(stock.queries / ours.queries, 2),
            "goal": f"at most {GOAL_QUERIES}",
            "holds": ours.queries <= GOAL_QUERIES,
        },
        {
            "name": "p99",
            "value": round(ours.p99 * 1000, 1),
            "unit": "ms",
            "baseline": round(stock.p99 * 1000, 1),
            "ratio": round(stock.p99 / ours.p99, 2),
            "goal": f"at most {GOAL_P99_MS:.0f} ms with {CLIENTS} clients that never pause",
            "holds": ours.p99 * 1000 <= GOAL_P99_MS,
        },
    ]


async def _fill(settings: Settings) -> tuple[Id, str]:
    """A small site by commands, its views caught up; somebody with a session there."""
    async with open_moot(settings) as moot:
        random = Random(3)
        people = await _all(
            moot, [(Register(name=f"person_{n}", display_name=f"Person {n}"), None) for n in range(ACCOUNTS)]
        )
        places = await _all(
            moot, [(CreateCommunity(name=f"place_{n}", title=f"Place {n}"), people[n]) for n in range(COMMUNITIES)]
        )
        posts = await _all(
            moot,
            [
                (
                    SubmitPost(
                        community_id=random.choice(places),
                        kind="text",
                        title=f"Post number {n}",
                        body="Some text. " * 20,
                    ),
                    random.choice(people),
                )
                for n in range(POSTS)
            ],
        )
        await _all(
            moot,
            [
                (CastVote(target_id=posts[int(random.paretovariate(0.7)) % POSTS], value=1), random.choice(people))
                for _ in range(VOTES)
            ],
        )
        await _all(
            moot,
            [
                (SubmitComment(post_id=random.choice(posts), parent_id=None, body="A comment."), random.choice(people))
                for _ in range(COMMENTS)
            ],
        )
        for post in posts:
            await act(moot, CastVote(target_id=post, value=1), people[0])
        runner = Runner(moot.database_url, moot.store, ALL.values(), moot.publisher)
        runner.start()
        caught_up = await asyncio.to_thread(runner.wait, await moot.store.head(), 120.0)
        await asyncio.to_thread(runner.stop)
        if not caught_up:
            raise RuntimeError("the views did not catch up")
        async with moot.pool.connection() as connection:
            await connection.execute("ANALYZE")
        grant = await moot.sessions.begin(people[0], "bench")
        return people[0], grant.access_token


async def _all(moot: Moot, commands: list[tuple[Any, Id | None]], at_once: int = 100) -> list[Id]:
    found: list[Id] = []
    for start in range(0, len(commands), at_once):
        some = commands[start : start + at_once]
        found.extend(await asyncio.gather(*(act(moot, command, account_id) for command, account_id in some)))
    return found


def _measure(which: str, settings: Settings, viewer_id: Id, token: str, seconds: float) -> Measured:
    path, query = ("/graphql", OURS) if which == "ours" else ("/", STOCK)
    body = json.dumps({"query": query}).encode()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    with served(settings, "api_server", which, viewer_id, MOOT_ACCESS_TOKEN_SECONDS="900") as server:
        found = uvloop.run(_ask(server, request, seconds))
    said(
        f"{which}: {found.rate:,.0f} requests/s a core, {found.queries:.2f} statements each, "
        f"p99 {found.p99 * 1000:.1f} ms"
    )
    return found


async def _ask(server: Served, request: bytes, seconds: float) -> Measured:
    port = server.port
    await _client(port, request, time.perf_counter() + WARM_UP_SECONDS)
    before, sent = server.processor_seconds, await _count(port)
    taken = [
        latency
        for latencies in await asyncio.gather(
            *(_client(port, request, time.perf_counter() + seconds) for _ in range(CLIENTS))
        )
        for latency in latencies
    ]
    used, statements = server.processor_seconds - before, await _count(port) - sent
    taken.sort()
    return Measured(len(taken) / used, statements / len(taken), taken[int(len(taken) * 0.99)])


async def _client(port: int, request: bytes, until: float) -> list[float]:
    """Ask again and again on one connection; the seconds that each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    while (asked := time.perf_counter()) < until:
        writer.write(request)
        body = await _answer(reader)
        taken.append(time.perf_counter() - asked)
        if b'"errors"' in body or body.count(b'"myVote":') != 25:
            raise RuntimeError(f"a wrong answer: {body[:500]!r}")
    writer.close()
    await writer.wait_closed()
    return taken


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def _count(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /count HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.rsplit(b"\r\n", 1)[-1] if b"chunked" not in answer else answer.split(b"\r\n")[-4])
