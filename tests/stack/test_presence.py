"""Presence in a fleet: seen across API processes, when one of them is killed, and when Redis cannot be reached."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.stack import Stack
from infra.tasks import end
from tests.api.stack import Client
from tests.live.chat import TYPING, Den, done, types
from tests.live.socket import signed_in
from tests.live.test_company import Watcher as Company
from tests.live.test_conversations import MADE, Watcher
from tests.live.test_presence import becomes, watching
from tests.live.watching import refused, told
from tests.stack.roles import Role, Roles, until

HEARTBEAT = 'mutation { heartbeat(input: {device: "phone", presence: IDLE}) { presence errors { code } } }'


class Fleet:
    """Two API processes, of which people use the one or the other."""

    def __init__(self, here: Role, there: Role, ada: Client, bob: Client) -> None:
        self.here, self.there, self.ada, self.bob = here, there, ada, bob
        self.den = Den(ada, bob)

    async def beating(self) -> None:
        """Bob lives as long as this runs, whatever is answered."""
        while True:
            await told(self.bob.post, HEARTBEAT)


@pytest.fixture
def fleet(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Fleet]:
    given: dict[str, Any] = {"presence_expiry_seconds": 3, "position_wait_seconds_max": 30}
    with Roles(stack, server_database, tmp_path, proxied=True, **given) as roles:
        roles.set_up()
        here, there, relay, worker = roles.api(), roles.api(), roles.relay(), roles.worker()
        until(lambda: relay.ready() and worker.ready())
        with Client(at(there)) as ada, Client(at(here)) as bob:
            yield Fleet(here, there, ada.sign_up(), bob.sign_up())


def at(role: Role) -> Any:
    return SimpleNamespace(url=role.url)


def test_presence_crosses_processes_and_outlives_none_and_a_kick_ends_it(fleet: Fleet) -> None:
    ada, bob, den = fleet.ada, fleet.bob, fleet.den

    async def scene() -> None:
        async with signed_in(at(fleet.there), ada) as hers, signed_in(at(fleet.here), bob) as his:
            known = await watching(hers, den)
            await watching(his, den)
            await his.subscribe("t", TYPING, variables={"id": den.channel})
            await his.next("t")
            heart = asyncio.create_task(fleet.beating())
            await becomes(hers, known, {bob.id: "IDLE"})
            await becomes(his, {}, {bob.id: "IDLE"})
            await told(types, ada, den.channel)
            assert await his.next("t") == {"typingChanged": {"accounts": [{"name": ada.name}]}}
            member = {"serverId": den.id, "accountId": bob.id}
            await told(lambda: done(ada, "kickServerMember", "KickMemberInput", **member))
            ended = set()
            while len(ended) < 2:
                message = await his.receive()
                if message["type"] == "error":
                    ended.add(message["id"])
            await becomes(hers, known, {})
            await told(den.join, bob)
            await becomes(hers, known, {bob.id: "IDLE"})
            await end(heart)
            await told(fleet.here.stop, signal.SIGKILL)
            await becomes(hers, known, {})

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["cut", "partition"])
def test_without_postgresql_people_stay_present_and_what_changed_is_told_after(
    fleet: Fleet, stack: Stack, how: str
) -> None:
    ada, bob, den = fleet.ada, fleet.bob, fleet.den

    def says(state: str) -> bool:
        query = f'mutation {{ setPresence(input: {{device: "phone", state: {state}}}) {{ presence }} }}'
        return bool((bob.post(query).get("data") or {}).get("setPresence") == {"presence": state})

    async def scene() -> None:
        async with signed_in(at(fleet.there), ada) as socket:
            known = await watching(socket, den)
            heart = asyncio.create_task(fleet.beating())
            await becomes(socket, known, {bob.id: "IDLE"})
            bob.position = None  # nobody waits for views that cannot be asked
            getattr(stack.proxy("postgres"), how)()
            await told(until, lambda: says("DO_NOT_DISTURB"))
            await socket.alive()
            stack.proxy("postgres").heal()
            await becomes(socket, known, {bob.id: "DO_NOT_DISTURB"})
            await end(heart)
            await becomes(socket, known, {})

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["cut", "partition"])
def test_who_is_present_is_unknown_while_redis_cannot_be_reached_and_known_after(
    fleet: Fleet, stack: Stack, how: str
) -> None:
    ada, bob, den = fleet.ada, fleet.bob, fleet.den
    members = "query($id: ID!) { node(id: $id) { ... on Server { name members(first: 9) { nodes { presence } } } } }"

    def unavailable() -> bool:
        errors = bob.post(HEARTBEAT).get("errors", [])
        return [error["extensions"]["code"] for error in errors] == ["UNAVAILABLE"]

    def unknown() -> bool:
        found = ada.ask(members, id=den.id)["node"]
        return bool(found == {"name": "Den", "members": {"nodes": [{"presence": None}] * 2}})

    async def scene() -> None:
        async with signed_in(at(fleet.there), ada) as socket:
            known = await watching(socket, den)
            getattr(stack.proxy("redis"), how)()
            await told(until, unavailable)
            await told(until, unknown)
            await socket.alive()
            stack.proxy("redis").heal()
            heart = asyncio.create_task(fleet.beating())
            await becomes(socket, known, {bob.id: "IDLE"})
            await end(heart)
            await becomes(socket, known, {})
            await socket.subscribe("x", TYPING, variables={"id": den.id})
            await refused(socket, "ID_OF_ANOTHER_TYPE")

    asyncio.run(scene())


def test_a_conversation_is_told_of_live_in_every_process(fleet: Fleet) -> None:
    """Members, messages and blocks come through three groups of workers, each at its own pace."""
    ada, bob = fleet.ada, fleet.bob

    async def scene() -> None:
        heart = asyncio.create_task(fleet.beating())
        async with signed_in(at(fleet.there), bob) as there, signed_in(at(fleet.here), bob) as here:
            for watcher in (his := [Watcher(there, bob), Watcher(here, bob)]):
                await watcher.begin()
                assert watcher.known == {}
            async with signed_in(at(fleet.there), ada) as hers:
                company = Company(hers, ada, None)
                assert await company.begin() == {}
                opened = await told(lambda: done(ada, "openDirect", "OpenDirectInput", MADE, accountId=bob.id))
                direct = opened["conversation"]["id"]
                await company.until({bob.id: "IDLE"})
                said = {"channelId": direct, "body": f"Hi @{bob.name}"}
                await told(lambda: done(ada, "sendMessage", "SendMessageInput", **said))
                for watcher in his:
                    await watcher.until({direct: (1, 1)})
                await told(lambda: done(bob, "blockAccount", "AccountInput", accountId=ada.id))
                for watcher in his:
                    await watcher.until({direct: (0, 0)})
                await company.until({})
        await end(heart)

    asyncio.run(scene())
