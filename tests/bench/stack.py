"""From a mutation acknowledged by one API process to its effect pushed by another, through a whole fleet.

Real servers of Kafka, PostgreSQL and Redis, two API processes, a relay and a worker that keeps all views, each with its
defaults and all on this machine, with whoever votes and whoever listens. Votes come at a steady pace, however long each
takes, on posts in turn; every post has a subscriber on the other process. A vote has arrived with the first score that
counts it. The baseline is the same load on the embedded default, one process that keeps the views itself: what is on
top of that is the way through relay, Kafka, worker and a second process.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct

from domain.account import Register
from domain.community import CreateCommunity
from domain.post import SubmitPost
from infra.composition import open_moot
from infra.postgres import connect
from infra.settings import Settings, load_settings
from infra.stack import start_stack
from projections.catalogue import ALL
from read_api.ids import Kind, global_id
from tests.bench.live import QUERY, VOTE, Asking, Subscriber
from tests.bench.relay import quantile
from tests.bench.serving import act, empty_site, said, served
from tests.stack.roles import Roles, until

PACE = 50
"""Mutations a second."""
SECONDS, SECONDS_LONG = 16.0, 60.0
WARM_UP_SECONDS = 4.0
POSTS = 50
"""Each is voted on once a second, so that it is clear which vote a score is the first to count."""
VOTERS = 70
"""More than there are rounds of votes: nobody votes twice on anything."""
CONNECTIONS = 16
GOAL_MS = 400.0
SECONDS_MAX = 30.0


class Site(Struct):
    """Posts to vote on, the access tokens of those who vote, and the position that the views must have reached."""

    posts: list[str]
    tokens: list[str]
    position: int


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``p50_push`` and ``p99_push``."""
    seconds = SECONDS_LONG if long else SECONDS
    embedded = _embedded(seconds)
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        fleet = _fleet(Path(folder), seconds)
    return [
        _result("p50_push", quantile(fleet, 0.5), quantile(embedded, 0.5)),
        _result("p99_push", quantile(fleet, 0.99), quantile(embedded, 0.99)),
    ]


def _embedded(seconds: float) -> list[float]:
    with empty_site() as settings:
        site = uvloop.run(_fill(settings))
        with served(settings, "live_server") as server:
            return _told("one process", uvloop.run(_paced(server.port, server.port, site, seconds)))


def _fleet(folder: Path, seconds: float) -> list[float]:
    with start_stack(folder / "stack", ("kafka", "postgres", "redis")) as stack:
        url = stack.postgres.url
        with Roles(stack, url, folder).set_up() as fleet:
            variables = {name: value for name, value in fleet.variables.items() if name.startswith("MOOT_")}
            site = uvloop.run(_fill(load_settings(variables, data_dir=folder / "fill")))
            here, there, _, _ = fleet.api(), fleet.api(), fleet.relay(), fleet.worker()
            with connect(url) as connection:
                reached = "SELECT views.reached(%s) >= %s"
                until(lambda: connection.execute(reached, (list(ALL), site.position)).fetchone() == (True,))
            ports = [int(role.url.rsplit(":", 1)[1]) for role in (here, there)]
            return _told("a fleet", uvloop.run(_paced(ports[0], ports[1], site, seconds)))


async def _fill(settings: Settings) -> Site:
    async with open_moot(settings) as moot:
        voters = [await act(moot, Register(name=f"voter_{n}", display_name=f"Voter {n}")) for n in range(VOTERS)]
        author = await act(moot, Register(name="author", display_name="Author"))
        place = await act(moot, CreateCommunity(name="place", title="A place"), author)
        posts = [
            await act(moot, SubmitPost(community_id=place, kind="text", title=f"Number {n}", body=""), author)
            for n in range(POSTS)
        ]
        tokens = [(await moot.sessions.begin(voter, "bench")).access_token for voter in voters]
        return Site([global_id(Kind.POST, post) for post in posts], tokens, await moot.store.head())


class Following:
    """One post: when each of its votes was acknowledged, and when a score came that counted it."""

    def __init__(self) -> None:
        self.asked = 0
        self.acknowledged: list[float] = []
        self.arrived: list[float] = []
        self.follows = asyncio.Event()
        self._begins: int | None = None
        self._all = asyncio.Event()

    def take(self, payload: bytes) -> None:
        """A score was pushed."""
        now = time.perf_counter()
        up = json.loads(payload)["payload"]["data"]["scoreChanged"]["score"]["up"]
        if self._begins is None:
            self._begins = up
            self.follows.set()
        self.arrived.extend([now] * (up - self._begins - len(self.arrived)))
        if len(self.arrived) >= self.asked:
            self._all.set()

    async def complete(self) -> None:
        """Wait until every vote has arrived."""
        if len(self.arrived) < self.asked:
            self._all.clear()
            await asyncio.wait_for(self._all.wait(), SECONDS_MAX)

    def taken(self, after: float) -> list[float]:
        """Seconds from each acknowledgement after that moment to the arrival."""
        pairs = zip(self.acknowledged, self.arrived, strict=True)
        return [max(0.0, arrived - acknowledged) for acknowledged, arrived in pairs if acknowledged > after]


async def _paced(here: int, there: int, site: Site, seconds: float) -> list[float]:
    """Vote here, listen there."""
    loop = asyncio.get_running_loop()
    followings = [Following() for _ in site.posts]
    for post, following in zip(site.posts, followings, strict=True):
        await loop.create_connection(
            lambda p=post, f=following: Subscriber("/graphql", QUERY, {"id": p}, f.take), "127.0.0.1", there
        )  # type: ignore[misc]
    for following in followings:
        await asyncio.wait_for(following.follows.wait(), SECONDS_MAX)
    free: asyncio.Queue[Asking] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        asking = Asking(here)
        await asking.open()
        free.put_nowait(asking)

    async def vote(number: int) -> None:
        round_, at = divmod(number, len(site.posts))
        # Everybody votes once a round or less, and on other posts each time.
        token = site.tokens[(round_ + at) % len(site.tokens)]
        asking = await free.get()
        following = followings[at]
        following.asked += 1
        following.acknowledged.append(await asking.ask(token, VOTE, {"targetId": site.posts[at], "value": "UP"}))
        free.put_nowait(asking)

    began, number = time.perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        while (now := time.perf_counter() - began) < seconds + WARM_UP_SECONDS:
            while number < now * PACE:
                tasks.create_task(vote(number))
                number += 1
            await asyncio.sleep(0.002)
    for following in followings:
        await following.complete()
    return [taken for following in followings for taken in following.taken(began + WARM_UP_SECONDS)]


def _told(what: str, taken: list[float]) -> list[float]:
    said(
        f"{what}: {len(taken)} votes at {PACE}/s, p50 {quantile(taken, 0.5):.1f} ms, p99 {quantile(taken, 0.99):.1f} ms"
    )
    return taken


def _result(name: str, value: float, baseline: float) -> dict[str, Any]:
    baseline = max(baseline, 0.1)
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "ms",
        "baseline": round(baseline, 1),
        "ratio": round(baseline / max(value, 0.1), 2),
        "goal": f"p99 under {GOAL_MS:.0f} ms; the baseline is one embedded process",
        "holds": value < GOAL_MS,
    }
