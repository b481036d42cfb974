"""From a vote acknowledged to its score pushed, with 1, 100 and 1,000 subscribers of that score.

The server is a process of its own. Somebody votes over HTTP; each subscriber notes when the new score arrives. For the
baseline the same subscribers come over Strawberry's own handler in the same server, so that only the last step
differs: one execution and one serialisation for each client.
"""

import asyncio
import base64
import json
import os
import struct
import time
from collections.abc import Callable
from random import Random
from typing import Any, cast

import uvloop
from msgspec import Struct

from domain.account import Register
from domain.community import CreateCommunity
from domain.post import SubmitPost
from infra.composition import open_moot
from infra.settings import Settings
from read_api.ids import Kind, global_id
from tests.bench.serving import act, empty_site, percentile, said, served

VOTES = {1: 120, 100: 50, 1000: 20}
LONG = 4
"""Times as many votes in a long run."""
VOTERS = 25
WARM_UP_VOTES = 5
PAUSE_SECONDS_MAX = 0.05
GOAL_MS = 100.0
SECONDS_MAX = 30.0

PING, PONG = 0x9, 0xA
"""Opcodes of RFC 6455, section 5.2."""

QUERY = "subscription($id: ID!) { scoreChanged(targetId: $id) { cursor score { up down total } } }"
VOTE = "mutation($input: CastVoteInput!) { castVote(input: $input) { position errors { code } } }"


class Site(Struct):
    """A post to vote on, and the access tokens of those who vote."""

    post: str
    tokens: list[str]


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``p50_1``, ``p99_1``, ``p99_100`` and ``p99_1000``."""
    with empty_site() as settings:
        site = uvloop.run(_fill(settings))
        with served(settings, "live_server") as api:
            ours, stock = uvloop.run(_measure(api.port, site, LONG if long else 1))
    wanted = (("p50_1", 1, 50), ("p99_1", 1, 99), ("p99_100", 100, 99), ("p99_1000", 1000, 99))
    return [
        {
            "name": name,
            "value": round(percentile(ours[subscribers], percent), 1),
            "unit": "ms",
            "baseline": round(percentile(stock[subscribers], percent), 1),
            "ratio": round(percentile(stock[subscribers], percent) / percentile(ours[subscribers], percent), 2),
            "goal": f"under {GOAL_MS:.0f} ms at 100 subscribers",
            "holds": subscribers > 100 or percentile(ours[subscribers], percent) < GOAL_MS,
        }
        for name, subscribers, percent in wanted
    ]


async def _fill(settings: Settings) -> Site:
    async with open_moot(settings) as moot:
        voters = [await act(moot, Register(name=f"voter_{n}", display_name=f"Voter {n}")) for n in range(VOTERS)]
        place = await act(moot, CreateCommunity(name="place", title="A place"), voters[0])
        post = await act(moot, SubmitPost(community_id=place, kind="text", title="To vote on", body=""), voters[0])
        tokens = [(await moot.sessions.begin(voter, "bench")).access_token for voter in voters]
        return Site(global_id(Kind.POST, post), tokens)


async def _measure(port: int, site: Site, times: int) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    voting = Voting(port, site)
    found: tuple[dict[int, list[float]], dict[int, list[float]]] = ({}, {})
    for subscribers, votes in VOTES.items():
        for path, taken in zip(("/graphql", "/stock"), found, strict=True):
            taken[subscribers] = await _with(port, path, site, voting, subscribers, votes * times)
            said(
                f"{path:<9} {subscribers:>5} subscribers: p50 {percentile(taken[subscribers], 50):7.1f} ms, "
                f"p99 {percentile(taken[subscribers], 99):7.1f} ms"
            )
    return found


async def _with(port: int, path: str, site: Site, voting: "Voting", subscribers: int, votes: int) -> list[float]:
    """Milliseconds from each acknowledgement to each arrival."""
    random = Random(subscribers)
    crowd = Crowd()
    for _ in range(subscribers):
        await crowd.join(port, path, site.post)
    await crowd.everybody()
    await voting.open()
    taken: list[float] = []
    for number in range(votes + WARM_UP_VOTES):
        crowd.expect()
        acknowledged = await voting.vote()
        await crowd.everybody()
        if number >= WARM_UP_VOTES:
            taken.extend(max(0.0, at - acknowledged) * 1000 for at in crowd.arrivals)
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS_MAX))
    voting.close()
    crowd.close()
    return taken


class Voting:
    """Votes over one HTTP connection, so that each changes the score."""

    def __init__(self, port: int, site: Site) -> None:
        self._asking = Asking(port)
        self._site = site
        self._number = 0

    async def open(self) -> None:
        """Connect."""
        await self._asking.open()

    def close(self) -> None:
        """Disconnect."""
        self._asking.close()

    async def vote(self) -> float:
        """Cast the next vote; when it was acknowledged."""
        rounds, voter = divmod(self._number, len(self._site.tokens))
        self._number += 1
        value = "DOWN" if rounds % 2 else "UP"
        return await self._asking.ask(self._site.tokens[voter], VOTE, {"targetId": self._site.post, "value": value})


class Asking:
    """One HTTP connection that does as little as it can, for one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answer: dict[str, Any] = {}

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def ask(self, token: str, mutation: str, fields: dict[str, Any]) -> float:
        """Have a mutation of one field carried out with these fields as its input; when it was acknowledged."""
        body = json.dumps({"query": mutation, "variables": {"input": fields}}).encode()
        head = (
            "POST /graphql HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answered = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), SECONDS_MAX)
        acknowledged = time.perf_counter()
        length = next(
            int(line.split(b":")[1]) for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        answer = json.loads(await self._reader.readexactly(length))
        if answer.get("errors") or any(payload["errors"] for payload in answer["data"].values()):
            raise RuntimeError(f"it was not done: {answer}")
        (self.answer,) = answer["data"].values()
        return acknowledged


class Crowd:
    """Subscribers, and when the message that is expected reached each."""

    def __init__(self) -> None:
        self._members: list[Subscriber] = []
        self.arrivals: list[float] = []
        self._all = asyncio.Event()

    def expect(self) -> None:
        """Forget what has arrived: the next message of each counts."""
        self.arrivals = []
        self._all.clear()

    def arrived(self, _: bytes) -> None:
        """One more has it."""
        self.arrivals.append(time.perf_counter())
        if len(self.arrivals) == len(self._members):
            self._all.set()

    async def everybody(self) -> None:
        """Wait until all have it."""
        await asyncio.wait_for(self._all.wait(), SECONDS_MAX)

    async def join(self, port: int, path: str, post: str) -> None:
        """One more subscriber."""
        loop = asyncio.get_running_loop()
        _, member = await loop.create_connection(
            lambda: Subscriber(path, QUERY, {"id": post}, self.arrived), "127.0.0.1", port
        )
        self._all.clear()
        self._members.append(member)

    def close(self) -> None:
        """All leave."""
        for member in self._members:
            member.transport.abort()


class Subscriber(asyncio.Protocol):
    """A WebSocket client that does as little as it can, since a thousand of them share a core with the server."""

    transport: asyncio.Transport

    def __init__(
        self,
        path: str,
        query: str,
        variables: dict[str, Any],
        arrived: Callable[[bytes], None],
        token: str | None = None,
    ) -> None:
        self._path = path
        self._operation = {"query": query, "variables": variables}
        self._arrived = arrived
        self._begin = {} if token is None else {"payload": {"authorization": f"Bearer {token}"}}
        self._buffer = b""
        self._upgraded = False
        self.subscribed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        self.transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise RuntimeError(f"no WebSocket: {head[:100]!r}")
            self._upgraded, self._buffer = True, rest
            self._send({"type": "connection_init", **self._begin})
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                if len(buffer) < at + 4:
                    break
                length, start = buffer[at + 2] << 8 | buffer[at + 3], at + 4
            if len(buffer) < start + length:
                break
            kind, payload = buffer[at] & 0x0F, buffer[start : start + length]
            at = start + length
            if kind == PING:
                self.transport.write(struct.pack("!BB", 0x80 | PONG, 0x80 | length) + bytes(4) + payload)
            else:
                self._take(payload)
        self._buffer = buffer[at:]

    def _take(self, payload: bytes) -> None:
        if b'"next"' in payload:
            self._arrived(payload)
        elif b'"connection_ack"' in payload:
            self._send({"id": "1", "type": "subscribe", "payload": self._operation})
            self.subscribed.set()
        elif b'"ping"' in payload:
            self._send({"type": "pong"})
        elif b'"error"' in payload:
            raise RuntimeError(payload.decode())

    def _send(self, message: Any) -> None:
        payload = json.dumps(message).encode()
        length = len(payload)
        head = struct.pack("!BB", 0x81, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x81, 0xFE, length)
        self.transport.write(head + bytes(4) + payload)  # masked with zeros
