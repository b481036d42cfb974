"""Presence that ends by itself, crowds, several processes, and a Redis that goes away."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from domain.event import Id
from infra.embedded import Engines
from infra.presence import Presence, Presences
from infra.tasks import end
from read_api.ids import Kind, subject_id
from tests.api.stack import Client, Stack, serving
from tests.live.chat import PRESENCE, TYPING, Den, beat, done, is_now, types
from tests.live.conftest import served
from tests.live.redis_server import RedisServer
from tests.live.socket import SECONDS, Socket, signed_in
from tests.live.test_presence import becomes, changes, next_change, watching
from tests.live.watching import operations_of, refused, told

CROWD = 10_000
CHANGES = 1_000


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def brief(engines: Engines, redis: RedisServer) -> Iterator[Stack]:
    """Where devices live for two seconds, and so does typing."""
    with served(
        engines, redis, presence_expiry_seconds=2.0, presence_sweep_seconds=0.1, typing_expiry_seconds=2.0
    ) as running:
        yield running


@pytest.fixture(scope="module")
def other(brief: Stack) -> Iterator[Stack]:
    """Another server of the same site."""
    with serving(brief.moot.settings) as running:
        yield running


@asynccontextmanager
async def alive(what: Callable[[], Any]) -> AsyncIterator[None]:
    """Do it again and again inside, so that a device lives for as long as that takes."""

    async def beat() -> None:
        while True:
            await told(what)

    heart = asyncio.create_task(beat())
    try:
        yield
    finally:
        await end(heart)


@pytest.fixture
def pair(brief: Stack) -> Iterator[tuple[Client, Client]]:
    with Client(brief) as ada, Client(brief) as bob:
        yield ada.appear(), bob.appear()


def test_who_is_heard_no_more_is_told_to_be_gone_in_every_process(
    brief: Stack, other: Stack, pair: tuple[Client, Client]
) -> None:
    ada, bob = pair
    den = Den(ada, bob)

    async def scene() -> None:
        async with signed_in(brief, ada) as here, signed_in(other, ada) as there:
            sockets = (here, there)
            for socket in sockets:
                assert await watching(socket, den) == {}
            async with alive(lambda: is_now(bob, "IDLE", "phone")):
                for socket in sockets:
                    await becomes(socket, {}, {bob.id: "IDLE"})
            for socket in sockets:
                await becomes(socket, {bob.id: "IDLE"}, {})
            async with alive(lambda: beat(bob, "laptop")):  # who comes is not idle
                for socket in sockets:
                    await becomes(socket, {}, {bob.id: "ONLINE"})
            for socket in sockets:
                await becomes(socket, {bob.id: "ONLINE"}, {})

    asyncio.run(scene())


def test_typing_in_one_process_is_seen_in_the_other_until_it_ends(
    brief: Stack, other: Stack, pair: tuple[Client, Client]
) -> None:
    ada, bob = pair
    den = Den(ada, bob)

    async def scene() -> None:
        async with signed_in(other, ada) as socket:
            await socket.subscribe("t", TYPING, variables={"id": den.channel})
            assert await socket.next("t") == {"typingChanged": {"accounts": []}}
            await told(types, bob, den.channel)
            assert await socket.next("t") == {"typingChanged": {"accounts": [{"name": bob.name}]}}
            assert await socket.next("t") == {"typingChanged": {"accounts": []}}

    asyncio.run(scene())


def test_a_kick_ends_what_is_watched_in_another_process(
    brief: Stack, other: Stack, pair: tuple[Client, Client]
) -> None:
    ada, bob = pair
    den = Den(ada, bob)

    async def scene() -> None:
        async with signed_in(other, bob) as socket:
            await watching(socket, den)
            member = {"serverId": den.id, "accountId": bob.id}
            await told(lambda: done(ada, "kickServerMember", "KickMemberInput", **member))
            await refused(socket, "NOT_FOUND")

    asyncio.run(scene())


def test_without_redis_it_is_unknown_who_is_present_and_nothing_else_suffers(
    brief: Stack, redis: RedisServer, pair: tuple[Client, Client]
) -> None:
    ada, bob = pair
    den = Den(ada, bob)
    members = "query($id: ID!) { node(id: $id) { ... on Server { name members(first: 9) { nodes { presence } } } } }"
    heartbeat = 'mutation { heartbeat(input: {device: "x", presence: DO_NOT_DISTURB}) { presence } }'
    typing = "mutation($id: ID!) { startTyping(input: {channelId: $id}) { repeatSeconds } }"

    def unavailable(who: Client, query: str, **variables: str) -> bool:
        errors = who.post(query, variables).get("errors", [])
        return [error["extensions"]["code"] for error in errors] == ["UNAVAILABLE"]

    async def scene() -> None:
        async with signed_in(brief, ada) as socket, signed_in(brief, bob) as his:
            await watching(socket, den)
            redis.kill()
            try:
                assert await told(unavailable, bob, heartbeat)
                assert await told(lambda: unavailable(bob, typing, id=den.channel))
                found = (await told(lambda: ada.ask(members, id=den.id)))["node"]
                assert found == {"name": "Den", "members": {"nodes": [{"presence": None}] * 2}}
                assert await told(ada.ask, "{ viewer { presence } }") == {"viewer": {"presence": None}}
                # Once it is known in this process; until then who comes is told what others were told last.
                message = {"type": "next"}
                while message["type"] == "next":
                    await his.subscribe("p", PRESENCE, variables={"id": den.id})
                    message = await his.receive()
                    await his.send({"id": "p", "type": "complete"})
                assert [error["extensions"]["code"] for error in message["payload"]] == ["UNAVAILABLE"]
                await socket.alive()
            finally:
                redis.start()
            async with alive(lambda: unavailable(bob, heartbeat)):  # which it is, until the breaker has looked
                await becomes(socket, {}, {bob.id: "DO_NOT_DISTURB"})
            await becomes(socket, {bob.id: "DO_NOT_DISTURB"}, {})

    asyncio.run(scene())


@pytest.fixture(scope="module")
def crowded(engines: Engines) -> Iterator[Stack]:
    """Where nobody goes by himself, and where calls to a busy Redis may take their time."""
    with served(engines, presence_expiry_seconds=600.0, presence_redis_seconds_max=30.0) as running:
        yield running


async def everybody(socket: Socket, den: Den) -> dict[str, str]:
    """All who are there to begin with, page by page."""
    first = await watching(socket, den)
    assert len(first) == 500, "a page"
    while len(first) < CROWD:
        first |= await next_change(socket)
    return first


async def until_gone(socket: Socket, present: dict[str, str]) -> int:
    """How many messages it takes to tell that those have gone."""
    messages = 0
    while len(present) > CROWD - CHANGES:
        for account, state in (await next_change(socket)).items():
            assert state == "OFFLINE"
            del present[account]
        messages += 1
    return messages


def test_a_thousand_changes_among_ten_thousand_are_told_in_a_few_messages_made_once(crowded: Stack) -> None:
    moot = crowded.moot
    people = [Id(str(uuid4())) for _ in range(CROWD)]

    async def come(some: list[Id], device: str) -> None:
        place_id = subject_id(den.id, Kind.SERVER)
        await asyncio.gather(*(moot.presences.beat(account, device, [place_id]) for account in some))

    async def go(some: list[Id], device: str) -> None:
        for account in some:  # one after the other: what is told together is not what happens at once
            await moot.presences.leave(account, device)

    async def scene() -> None:
        renderer = operations_of(crowded).renderer
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(signed_in(crowded, ada)) for _ in range(5)]
            known = [await everybody(socket, den) for socket in sockets]
            rendered = renderer.executions
            await told(crowded.run, go(people[:CHANGES], "a"))
            messages = [await until_gone(socket, present) for socket, present in zip(sockets, known, strict=True)]
            assert max(messages) <= 8
            assert renderer.executions - rendered == messages[0] == messages[-1], "each made once, for all"

    with Client(crowded) as ada:
        den = Den(ada.appear())
        rows = [(subject_id(den.id, Kind.SERVER), account, number) for number, account in enumerate(people, 10**9)]
        into = "COPY views.server_members (server_id, account_id, position, roles, membership) FROM STDIN"
        with psycopg.connect(moot.database_url) as connection, connection.cursor().copy(into) as copy:
            for row in rows:
                copy.write_row((*row, b"", 1))
        crowded.run(come(people, "a"))
        asyncio.run(scene())


def test_who_joined_is_shown_before_a_heartbeat_of_his_says_where_he_is(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, wanted = threading.Event(), 0
    real = Presences.present

    async def present(self: Presences, place_id: Id) -> dict[Id, Presence]:
        nonlocal wanted
        wanted -= 1
        if wanted == 0:
            read.set()
        return await real(self, place_id)

    async def scene() -> None:
        nonlocal wanted
        async with signed_in(stack, ada) as socket:
            assert await watching(socket, den) == {}
            await told(den.join, bob)
            await becomes(socket, {}, {bob.id: "IDLE"})
            wanted = 2
            assert await asyncio.to_thread(read.wait, SECONDS), "all is read anew again and again"
            await told(is_now, ada, "ONLINE")
            assert await next_change(socket) == {ada.id: "ONLINE"}

    monkeypatch.setattr(Presences, "present", present)
    with served(engines, presence_refresh_seconds=0.1) as stack, Client(stack) as ada, Client(stack) as bob:
        den = Den(ada.appear())
        is_now(bob.appear(), "IDLE")
        asyncio.run(scene())


def test_who_watches_without_anything_happening_is_sent_nothing(crowded: Stack) -> None:
    async def scene() -> None:
        async with signed_in(crowded, ada) as socket:
            await socket.subscribe("p", PRESENCE, variables={"id": den.id})
            assert changes(await socket.next("p")) == (True, {})
            for _ in range(5):
                await told(beat, ada)
            assert await next_change(socket) == {ada.id: "ONLINE"}
            for _ in range(5):
                await told(beat, ada)
            await told(is_now, ada, "IDLE")
            assert await next_change(socket) == {ada.id: "IDLE"}

    with Client(crowded) as ada:
        den = Den(ada.appear())
        asyncio.run(scene())
