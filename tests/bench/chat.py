"""What the benchmarks of the chat share: servers full of people, those who write, those who follow, and a gateway."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import uuid4

from msgspec import Struct

from commands.ports import Append
from domain.account import Register
from domain.channel import CreateChannel
from domain.event import Id
from domain.ids import derived, server_member_id
from domain.server import CreateServer
from domain.server_member import ServerJoined
from infra.composition import Moot, open_moot
from infra.settings import Settings
from infra.tokens import AccessTokens
from read_api.ids import Kind, global_id
from schemas.envelope import Metadata
from tests.bench.live import Asking, Subscriber
from tests.bench.serving import Served, act, percentile, served

SENDERS = 50
"""Accounts that write: nobody writes faster than people may."""
MEMBERS_AT_ONCE = 1_000
CONNECTING_AT_ONCE = 100
SECONDS_MAX = 60.0

MESSAGES = """subscription($id: ID!, $after: String) { messageChanged(channelId: $id, after: $after) { cursor message {
  id snowflake body deleted sentAt editedAt author { id name } } } }"""
SEND = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { position errors { code } } }"
BODY = "A message as people write them, with a word or two more than it needs. "


class Room(Struct):
    """A channel, the access tokens of its members who are there to follow it, and of those who write."""

    channel_id: str
    members: list[str]
    senders: list[str]


class Timed(Struct):
    """What came of messages: seconds from each acknowledgement to the last client, processor seconds, deliveries."""

    taken: list[float]
    processor_seconds: float
    deliveries: int

    def milliseconds(self, percent: int) -> float:
        """That percentile, over the messages."""
        return percentile([1000 * each for each in self.taken], percent)

    @property
    def per_delivery(self) -> float:
        """Processor seconds of the gateway for one message to one client."""
        return self.processor_seconds / self.deliveries


async def fill(settings: Settings, rooms: Sequence[tuple[int, int]]) -> list[Room]:
    """Servers with one channel each: so many members, of whom so many are given a session. The log alone is written."""
    async with open_moot(settings) as moot:
        return [await _room(moot, number, members, present) for number, (members, present) in enumerate(rooms)]


async def _room(moot: Moot, number: int, members: int, present: int) -> Room:
    senders = [await act(moot, Register(name=f"sender_{number}_{each}")) for each in range(SENDERS)]
    server = await act(moot, CreateServer(f"Server {number}"), senders[0])
    channel = await act(moot, CreateChannel(server, "general"), senders[0])
    others = [derived("member of a bench", str(number), str(each)) for each in range(members - SENDERS)]
    joining = senders[1:] + others
    for start in range(0, len(joining), MEMBERS_AT_ONCE):
        some = joining[start : start + MEMBERS_AT_ONCE]
        await moot.store.append(
            [Append(server_member_id(server, one), 0, (ServerJoined(server, one, None, 1),)) for one in some], _meta()
        )
    return Room(global_id(Kind.CHANNEL, channel), await _tokens(moot, others[:present]), await _tokens(moot, senders))


def _meta() -> Metadata:
    at, identity = datetime.now(UTC), Id(str(uuid4()))
    return Metadata(identity, identity, None, None, at, at)


async def _tokens(moot: Moot, accounts: Sequence[Id]) -> list[str]:
    """Access tokens of new sessions of theirs, which are begun in one statement."""
    now = moot.clock()
    sessions = {account_id: Id(str(uuid4())) for account_id in accounts}
    async with moot.pool.connection() as connection:
        await connection.execute(
            """INSERT INTO people.sessions (session_id, account_id, client, begun_at, used_at, expires_at)
            SELECT s, a, 'bench', %(now)s, %(now)s, %(ends)s FROM unnest(%(sessions)s::uuid[], %(accounts)s::uuid[])
            AS t(s, a)""",
            {
                "now": now,
                "ends": now + timedelta(days=1),
                "sessions": list(sessions.values()),
                "accounts": list(accounts),
            },
        )
    tokens = AccessTokens([moot.secrets.token_key], lifetime_seconds=3_600, skew_seconds=0, clock=moot.clock)
    return [tokens.issue(account_id, session_id) for account_id, session_id in sessions.items()]


def chat_server(settings: Settings, *words: str) -> AbstractContextManager[Served]:
    """A server process that lets people write as fast as they like; with the word ``gateway`` it keeps no views."""
    return served(settings, "live_server", *words, MOOT_MESSAGES_SECONDS_EACH="0.001")


class Followers:
    """Clients that follow one channel, and when the last of them had each message."""

    def __init__(self, room: Room, path: str = "/graphql") -> None:
        self._room = room
        self._path = path
        self._all: list[Follower] = []
        self.messages = 0
        self.reached: list[int] = []
        self.complete: list[float] = []
        self._completed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._all)

    async def grow(self, port: int, number: int, after: str) -> None:
        """Be so many, each with a socket and an account of its own. ``after`` is the cursor of the last message."""
        loop = asyncio.get_running_loop()
        while len(self._all) < number:
            some = []
            for token in self._room.members[len(self._all) : min(number, len(self._all) + CONNECTING_AT_ONCE)]:
                follower = Follower(self, self.messages)
                variables = {"id": self._room.channel_id, "after": after}
                path = self._path if self._path == "/graphql" else f"{self._path}?{token}"
                subscriber = Subscriber(path, MESSAGES, variables, follower.arrived, token)
                await loop.create_connection(lambda one=subscriber: one, "127.0.0.1", port)  # type: ignore[misc]
                follower.transport = subscriber.transport
                some.append(subscriber)
                self._all.append(follower)
            async with asyncio.timeout(SECONDS_MAX):
                await asyncio.gather(*(one.subscribed.wait() for one in some))

    def arrived(self, number: int) -> None:
        """One more has the message of that number."""
        while len(self.reached) <= number:
            self.reached.append(0)
            self.complete.append(0.0)
        self.reached[number] += 1
        if self.reached[number] == len(self._all):
            self.complete[number] = time.perf_counter()
            self._completed.set()

    async def have(self, messages: int) -> None:
        """Wait until all have so many."""
        async with asyncio.timeout(SECONDS_MAX):
            while len(self.complete) < messages or not all(self.complete[self.messages : messages]):
                self._completed.clear()
                await self._completed.wait()
        self.messages = messages

    def close(self) -> None:
        """All leave."""
        for follower in self._all:
            follower.transport.abort()


class Follower:
    """One client: which message comes next."""

    __slots__ = ("_all", "_next", "transport")

    transport: asyncio.Transport

    def __init__(self, everybody: Followers, following: int) -> None:
        self._all = everybody
        self._next = following

    def arrived(self, _: bytes) -> None:
        """It has the next message."""
        number = self._next
        self._next += 1
        self._all.arrived(number)


class Writing:
    """People who write in a channel, over a few HTTP connections, at a pace that does not wait for answers."""

    def __init__(self, room: Room, port: int, connections: int = 8) -> None:
        self._room = room
        self._port = port
        self._connections = connections
        self._free: asyncio.Queue[Asking] = asyncio.Queue()
        self._tokens = cycle(room.senders)
        self.acknowledged: list[float] = []
        self.position = ""

    async def write(self, messages: int, per_second: float) -> list[float]:
        """Send so many; when each was acknowledged, the first first."""
        self.acknowledged = []
        connections = [Asking(self._port) for _ in range(self._connections)]
        for asking in connections:  # anew: the server closes those that nothing is asked on
            await asking.open()
            self._free.put_nowait(asking)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(messages):
                await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
                group.create_task(self._send(await self._free.get()))
        for _ in connections:
            self._free.get_nowait().close()
        return sorted(self.acknowledged)

    async def _send(self, asking: Asking) -> None:
        fields = {"channelId": self._room.channel_id, "body": BODY, "nonce": str(uuid4())}
        self.acknowledged.append(await asking.ask(next(self._tokens), SEND, fields))
        self.position = asking.answer["position"]
        self._free.put_nowait(asking)


async def timed(
    gateway: Served, followers: Followers, writing: Writing, messages: int, per_second: float, warm_up: int = 2
) -> Timed:
    """Send so many at that pace, and wait until everybody has them all."""
    await writing.write(warm_up, per_second)
    await followers.have(followers.messages + warm_up)
    first, before = followers.messages, gateway.processor_seconds
    acknowledged = await writing.write(messages, per_second)
    await followers.have(first + messages)
    spent = gateway.processor_seconds - before
    complete = followers.complete[first : first + messages]
    if any(each != len(followers) for each in followers.reached[first : first + messages]):
        raise RuntimeError("somebody did not get a message once")
    taken = [max(0.0, at - sent) for at, sent in zip(complete, acknowledged, strict=True)]
    return Timed(taken, spent, messages * len(followers))
