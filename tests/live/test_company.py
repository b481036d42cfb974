"""Who types in a conversation, and who of those with whom one talks is there."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from infra.embedded import Engines
from tests.api.stack import Client, Stack
from tests.live.chat import TYPING, Somebody, codes, is_now, types
from tests.live.conftest import served
from tests.live.socket import Socket, signed_in
from tests.live.test_conversations import People
from tests.live.watching import followers, refused, told


@pytest.fixture(scope="module")
def patient(engines: Engines) -> Iterator[Stack]:
    """Where nobody stops typing, or is gone, by himself."""
    with served(engines, typing_expiry_seconds=600.0, presence_expiry_seconds=600.0) as running:
        yield running


@pytest.fixture
def somebody(patient: Stack) -> Iterator[Callable[[], Client]]:
    with ExitStack() as clients:
        yield lambda: clients.enter_context(Client(patient)).appear()


@pytest.fixture
def people(somebody: Callable[[], Client]) -> People:
    return People(somebody)


async def watches_typing(socket: Socket, where: str, who: Client) -> None:
    await socket.subscribe("t", TYPING, variables={"id": where}, extensions={"position": who.position})
    assert await socket.next("t") == {"typingChanged": {"accounts": []}}


async def typists(socket: Socket) -> list[str]:
    return [one["name"] for one in (await socket.next("t"))["typingChanged"]["accounts"]]


def stops(who: Client, where: str) -> None:
    assert codes(who, "stopTyping", "TypingInput", channelId=where) == []


def test_who_types_in_a_group_is_told_to_the_others_in_it(patient: Stack, people: People, somebody: Somebody) -> None:
    ada, bob, cat = people.all
    eve, group = somebody(), people.group(ada, bob, cat)

    async def scene() -> None:
        async with (
            signed_in(patient, ada) as hers,
            signed_in(patient, bob) as his,
            signed_in(patient, eve) as stranger,
            signed_in(patient) as visitor,
        ):
            for socket, code in ((stranger, "NOT_FOUND"), (visitor, "UNAUTHENTICATED")):
                await socket.subscribe("t", TYPING, variables={"id": group})
                await refused(socket, code)
            for socket, who in ((hers, ada), (his, bob)):
                await watches_typing(socket, group, who)
            assert (await told(types, bob, group))["repeatSeconds"] == 5
            assert await typists(hers) == [bob.name]
            await told(types, cat, group)
            assert await typists(hers) == [bob.name, cat.name]
            assert await typists(his) == [cat.name]
            await told(people.say, bob, group, "That was it")
            assert await typists(hers) == [cat.name]
            await told(stops, cat, group)
            for socket in (hers, his):
                assert await typists(socket) == []
                await socket.alive()
            assert await told(codes, eve, "startTyping", "TypingInput", channelId=group) == ["CHANNEL_NOT_FOUND"]

    asyncio.run(scene())


def test_who_is_put_out_or_leaves_is_told_of_nobody_and_nobody_is_told_of_him(patient: Stack, people: People) -> None:
    ada, bob, cat = people.all
    group = people.group(ada, bob, cat)

    async def scene() -> None:
        async with signed_in(patient, ada) as hers, signed_in(patient, bob) as his, signed_in(patient, cat) as third:
            for socket, who in ((hers, ada), (his, bob), (third, cat)):
                await watches_typing(socket, group, who)
            await followers(patient, 3)
            await told(types, bob, group)
            assert await typists(hers) == await typists(third) == [bob.name]
            out = {"conversationId": group, "accountId": bob.id}
            await told(people.do, ada, "removeFromGroup", "GroupMemberInput", **out)
            await refused(his, "NOT_FOUND")
            assert await typists(hers) == await typists(third) == []
            await told(people.do, cat, "leaveGroup", "GroupInput", conversationId=group)
            await refused(third, "NOT_FOUND")

    asyncio.run(scene())


@pytest.mark.parametrize("which", [0, 1], ids=["blocks", "blocked"])
def test_of_two_of_whom_one_blocks_the_other_neither_is_told_that_the_other_types(
    patient: Stack, people: People, which: int
) -> None:
    ada, bob, cat = people.all
    group, direct = people.group(ada, bob, cat), people.open(ada, bob)
    blocks, other = ((ada, bob), (bob, ada))[which]

    def acts(what: str) -> Any:
        return people.do(blocks, what, "AccountInput", "position", accountId=other.id)

    async def scene() -> None:
        async with signed_in(patient, ada) as hers, signed_in(patient, bob) as his, signed_in(patient, cat) as third:
            for socket, who in ((hers, ada), (his, bob), (third, cat)):
                await watches_typing(socket, group, who)
            await told(types, bob, group)
            assert await typists(hers) == await typists(third) == [bob.name]
            await told(acts, "blockAccount")
            assert await typists(hers) == []
            await told(types, ada, group)
            assert await typists(third) == [bob.name, ada.name]
            await told(types, cat, group)
            assert await typists(hers) == await typists(his) == [cat.name], "and nothing in between"
            assert await told(codes, bob, "startTyping", "TypingInput", channelId=direct) == ["BLOCKED"]
            await told(acts, "unblockAccount")
            assert await typists(hers) == [bob.name, cat.name]
            assert await typists(his) == [ada.name, cat.name]
            await told(types, bob, direct)

    asyncio.run(scene())


COMPANY = """subscription($conversation: ID, $server: ID) { presenceChanged(conversationId: $conversation,
  serverId: $server) { begins people { accountId state } } }"""
MEMBERS = "query($id: ID!) { conversation(id: $id) { members { account { id } presence } } }"


class Watcher:
    """Who is there, as somebody's client is told; ``where`` is a conversation, or ``None``: all of his."""

    def __init__(self, socket: Socket, who: Client, where: str | None) -> None:
        self.socket = socket
        self.who = who
        self.where = where
        self.known: dict[str, str] = {}

    async def begin(self) -> dict[str, str]:
        extensions = {"position": self.who.position}
        await self.socket.subscribe("p", COMPANY, variables={"conversation": self.where}, extensions=extensions)
        assert await self.take()
        return self.known

    async def take(self) -> bool:
        """Whether it begins anew."""
        found = (await self.socket.next("p"))["presenceChanged"]
        if found["begins"]:
            self.known = {}
        for person in found["people"]:
            if person["state"] == "OFFLINE":
                del self.known[person["accountId"]]
            else:
                self.known[person["accountId"]] = person["state"]
        return bool(found["begins"])

    async def until(self, wanted: dict[str, str]) -> None:
        while self.known != wanted:
            assert not await self.take()


def listed(who: Client, where: str) -> dict[str, str]:
    """How the members of a conversation are, as somebody reads it."""
    members = who.ask(MEMBERS, id=where)["conversation"]["members"]
    return {one["account"]["id"]: one["presence"] for one in members}


@pytest.mark.parametrize("one", [True, False], ids=["one", "all"])
def test_who_share_only_a_conversation_see_each_other(
    patient: Stack, people: People, somebody: Somebody, one: bool
) -> None:
    ada, bob, cat = people.all
    group, eve = people.group(ada, bob, cat), somebody()

    async def scene() -> None:
        await told(is_now, bob, "IDLE")
        await told(is_now, eve, "ONLINE")
        async with signed_in(patient, ada) as hers:
            watcher = Watcher(hers, ada, group if one else None)
            assert await watcher.begin() == {bob.id: "IDLE"}
            await told(is_now, cat, "DO_NOT_DISTURB")
            await watcher.until({bob.id: "IDLE", cat.id: "DO_NOT_DISTURB"})
            await told(is_now, ada, "ONLINE")
            await watcher.until({bob.id: "IDLE", cat.id: "DO_NOT_DISTURB", ada.id: "ONLINE"})
            assert listed(ada, group) == {ada.id: "ONLINE", bob.id: "IDLE", cat.id: "DO_NOT_DISTURB"}
            await told(is_now, bob, "INVISIBLE")
            await watcher.until({cat.id: "DO_NOT_DISTURB", ada.id: "ONLINE"})
            await told(is_now, bob, "INVISIBLE", "another")
            await told(is_now, eve, "IDLE")
            await told(is_now, cat, "ONLINE")  # told after all that, and alone
            assert not await watcher.take()
            assert watcher.known == {cat.id: "ONLINE", ada.id: "ONLINE"}
            await hers.alive()

    asyncio.run(scene())


def test_whom_one_comes_to_talk_with_is_seen_at_once_and_seen_no_more_afterwards(
    patient: Stack, people: People
) -> None:
    ada, bob, cat = people.all

    async def scene() -> None:
        for who in (bob, cat):
            await told(is_now, who, "ONLINE")
        async with signed_in(patient, ada) as hers, signed_in(patient, cat) as third:
            watcher = Watcher(hers, ada, None)
            assert await watcher.begin() == {}
            await told(people.open, bob, ada)
            await watcher.until({bob.id: "ONLINE"})
            group = await told(people.group, ada, bob)
            added = {"conversationId": group, "accountId": cat.id}
            await told(people.do, bob, "addToGroup", "GroupMemberInput", **added)
            await watcher.until({bob.id: "ONLINE", cat.id: "ONLINE"})
            everybody, one = Watcher(third, cat, None), {bob.id: "ONLINE", cat.id: "ONLINE"}
            assert await everybody.begin() == one
            await told(people.do, ada, "removeFromGroup", "GroupMemberInput", **added)
            await watcher.until({bob.id: "ONLINE"})
            await everybody.until({})
            await told(is_now, cat, "IDLE")
            await told(is_now, bob, "IDLE")
            await watcher.until({bob.id: "IDLE"})
            await third.alive()

    asyncio.run(scene())


def test_whoever_is_in_a_conversation_no_more_watches_nobody_in_it(patient: Stack, people: People) -> None:
    ada, bob, cat = people.all
    group = people.group(ada, bob, cat)

    async def scene() -> None:
        await told(is_now, bob, "ONLINE")
        async with signed_in(patient, ada) as hers, signed_in(patient, bob) as his, signed_in(patient, cat) as third:
            watchers = [Watcher(*one, group) for one in ((hers, ada), (his, bob), (third, cat))]
            for watcher in watchers:
                assert await watcher.begin() == {bob.id: "ONLINE"}
            await followers(patient, 3)
            out = {"conversationId": group, "accountId": bob.id}
            await told(people.do, ada, "removeFromGroup", "GroupMemberInput", **out)
            await refused(his, "NOT_FOUND")
            await watchers[0].until({})
            await told(people.do, cat, "leaveGroup", "GroupInput", conversationId=group)
            message = await third.receive()
            if message["type"] == "next":  # that Bob went
                message = await third.receive()
            assert [error["extensions"]["code"] for error in message["payload"]] == ["NOT_FOUND"]

    asyncio.run(scene())


@pytest.mark.parametrize("which", [0, 1], ids=["blocks", "blocked"])
@pytest.mark.parametrize("one", [True, False], ids=["one", "all"])
def test_of_two_of_whom_one_blocks_the_other_neither_sees_the_other(
    patient: Stack, people: People, which: int, one: bool
) -> None:
    ada, bob, cat = people.all
    group, _ = people.group(ada, bob, cat), people.open(ada, bob)
    blocks, other = ((ada, bob), (bob, ada))[which]

    def acts(what: str) -> Any:
        return people.do(blocks, what, "AccountInput", "position", accountId=other.id)

    async def scene() -> None:
        for who in people.all:
            await told(is_now, who, "ONLINE")
        async with signed_in(patient, ada) as hers, signed_in(patient, bob) as his, signed_in(patient, cat) as third:
            where = group if one else None
            watchers = [Watcher(*one, where) for one in ((hers, ada), (his, bob), (third, cat))]
            everybody = dict.fromkeys((ada.id, bob.id, cat.id), "ONLINE")
            for watcher in watchers:
                assert await watcher.begin() == everybody
            await told(acts, "blockAccount")
            await watchers[0].until({ada.id: "ONLINE", cat.id: "ONLINE"})
            await watchers[1].until({bob.id: "ONLINE", cat.id: "ONLINE"})
            assert (await told(listed, ada, group))[bob.id] == (await told(listed, bob, group))[ada.id] == "OFFLINE"
            assert await told(listed, cat, group) == everybody
            await told(is_now, bob, "IDLE")
            await told(is_now, cat, "IDLE")
            await watchers[0].until({ada.id: "ONLINE", cat.id: "IDLE"})
            await watchers[2].until({ada.id: "ONLINE", bob.id: "IDLE", cat.id: "IDLE"})
            await told(acts, "unblockAccount")
            await watchers[0].until({ada.id: "ONLINE", bob.id: "IDLE", cat.id: "IDLE"})

    asyncio.run(scene())


def test_what_cannot_be_watched(patient: Stack, people: People, somebody: Somebody) -> None:
    ada, bob, _ = people.all
    group, eve = people.group(ada, bob), somebody()

    async def scene() -> None:
        async with signed_in(patient, eve) as stranger, signed_in(patient) as visitor:
            for socket, given, code in (
                (stranger, {"conversation": group}, "NOT_FOUND"),
                (stranger, {"server": group}, "ID_OF_ANOTHER_TYPE"),
                (stranger, {"conversation": eve.id}, "ID_OF_ANOTHER_TYPE"),
                (stranger, {"conversation": group, "server": group}, "BAD_REQUEST"),
                (visitor, {"conversation": group}, "UNAUTHENTICATED"),
                (visitor, {}, "UNAUTHENTICATED"),
            ):
                await socket.subscribe("p", COMPANY, variables=given)
                await refused(socket, code)

    asyncio.run(scene())
