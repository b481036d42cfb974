"""Somebody's conversations as they change, told to him whatever he has open."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from infra.embedded import Engines
from tests.api.stack import Client, Stack
from tests.api.test_servers import done
from tests.live.conftest import served
from tests.live.socket import Socket, signed_in
from tests.live.watching import Somebody, followers, refused, told

CONVERSATIONS = """subscription { conversationsChanged { begins goneIds conversations {
  id name memberCount viewerPermissions unread { count mentions first { body } readUpTo { body } } } } }"""
MADE = "conversation { id }"

Told = tuple[int, int]
"""How many messages are unread, and how many of them mention him."""


class People:
    """Ada, Bob and Cat, and what they do with each other. What one of them did is seen by the others at once."""

    def __init__(self, somebody: Callable[[], Client]) -> None:
        self.ada, self.bob, self.cat = self.all = somebody(), somebody(), somebody()
        self.look(self.cat)

    def look(self, who: Client) -> None:
        for one in self.all:
            one.position = who.position

    def do(self, who: Client, what: str, kind: str, fields: str = MADE, **given: Any) -> Any:
        answer = done(who, what, fields, kind, **given)
        self.look(who)
        return answer

    def open(self, who: Client, other: Client) -> str:
        return str(self.do(who, "openDirect", "OpenDirectInput", accountId=other.id)["conversation"]["id"])

    def group(self, who: Client, *others: Client) -> str:
        ids = [other.id for other in others]
        return str(self.do(who, "createGroup", "CreateGroupInput", accountIds=ids)["conversation"]["id"])

    def say(self, who: Client, where: str, body: str) -> str:
        fields = {"channelId": where, "body": body}
        return str(self.do(who, "sendMessage", "SendMessageInput", "message { id }", **fields)["message"]["id"])


@pytest.fixture
def people(somebody: Callable[[], Client]) -> People:
    return People(somebody)


class Watcher:
    """What somebody's client knows of his conversations."""

    def __init__(self, socket: Socket, who: Client) -> None:
        self.socket = socket
        self.who = who
        self.known: dict[str, Any] = {}
        self.messages = 0

    async def begin(self) -> None:
        await self.socket.subscribe("c", CONVERSATIONS, extensions={"position": self.who.position})
        assert await self.take()

    async def take(self) -> bool:
        """Whether it begins anew."""
        found = (await self.socket.next("c"))["conversationsChanged"]
        self.messages += 1
        if found["begins"]:
            self.known = {}
        for one in found["goneIds"]:
            del self.known[one]
        self.known.update({one["id"]: one for one in found["conversations"]})
        return bool(found["begins"])

    def unread(self) -> dict[str, Told]:
        return {name: (one["unread"]["count"], one["unread"]["mentions"]) for name, one in self.known.items()}

    async def until(self, wanted: dict[str, Told]) -> None:
        while self.unread() != wanted:
            assert not await self.take()


def test_one_is_told_of_what_is_said_wherever_one_is(stack: Stack, people: People) -> None:
    ada, bob, cat = people.all
    group = people.group(ada, bob, cat)

    async def scene() -> None:
        async with signed_in(stack, bob) as first, signed_in(stack, bob) as second, signed_in(stack, cat) as hers:
            phone, desk, other = Watcher(first, bob), Watcher(second, bob), Watcher(hers, cat)
            for each in (phone, desk, other):
                await each.begin()
                assert each.unread() == {group: (0, 0)}
            one = await told(people.say, ada, group, f"One @{bob.name}")
            await told(people.say, ada, group, "Two")
            for each in (phone, desk):
                await each.until({group: (2, 1)})
                assert each.known[group]["unread"]["first"] == {"body": f"One @{bob.name}"}
            await other.until({group: (2, 0)})
            marked = {"channelId": group, "messageId": one}
            await told(people.do, bob, "markRead", "MarkReadInput", "unread { count }", **marked)
            for each in (phone, desk):
                await each.until({group: (1, 0)})
                assert each.known[group]["unread"]["readUpTo"] == {"body": f"One @{bob.name}"}
            direct = await told(people.open, ada, bob)
            await told(people.say, ada, direct, "Psst")
            for each in (phone, desk):
                await each.until({direct: (1, 0), group: (1, 0)})
            await told(people.do, ada, "renameGroup", "RenameGroupInput", conversationId=group, name="Trip")
            while other.known[group]["name"] != "Trip":
                await other.take()
            assert other.unread() == {group: (2, 0)}, "nothing of what two others said to each other"
            await hers.alive()

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["made", "added"])
def test_one_is_told_of_a_conversation_that_one_came_to(stack: Stack, people: People, how: str) -> None:
    ada, bob, cat = people.all
    group = "" if how == "made" else people.group(ada, cat)

    async def scene() -> None:
        async with signed_in(stack, bob) as socket:
            watcher = Watcher(socket, bob)
            await watcher.begin()
            assert watcher.known == {}
            if how == "made":
                came = await told(people.group, ada, bob)
            else:
                came, added = group, {"conversationId": group, "accountId": bob.id}
                await told(people.do, cat, "addToGroup", "GroupMemberInput", **added)
            await watcher.until({came: (0, 0)})
            await told(people.say, ada, came, "Hi")
            await watcher.until({came: (1, 0)})

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["removed", "left"])
def test_one_is_told_of_a_conversation_that_one_is_in_no_more(stack: Stack, people: People, how: str) -> None:
    ada, bob, cat = people.all
    group, direct = people.group(ada, bob, cat), people.open(ada, bob)

    async def scene() -> None:
        async with signed_in(stack, bob) as socket:
            watcher = Watcher(socket, bob)
            await watcher.begin()
            assert watcher.unread() == {group: (0, 0), direct: (0, 0)}
            if how == "removed":
                out = {"conversationId": group, "accountId": bob.id}
                await told(people.do, ada, "removeFromGroup", "GroupMemberInput", **out)
            else:
                await told(people.do, bob, "leaveGroup", "GroupInput", conversationId=group)
            await watcher.until({direct: (0, 0)})
            await told(people.say, ada, group, "Without him")
            await told(people.say, ada, direct, "With him")
            await watcher.until({direct: (1, 0)})
            await socket.alive()

    asyncio.run(scene())


def test_badges_follow_blocks_and_so_does_what_one_may(stack: Stack, people: People) -> None:
    ada, bob, cat = people.all
    group, direct = people.group(cat, ada, bob), people.open(ada, bob)
    people.say(ada, group, "One")
    people.say(ada, direct, "Two")

    async def scene() -> None:
        async with signed_in(stack, bob) as socket, signed_in(stack, ada) as hers:
            his, others = Watcher(socket, bob), Watcher(hers, ada)
            for each in (his, others):
                await each.begin()
            assert his.unread() == {group: (1, 0), direct: (1, 0)}
            for what, count, may in (
                ("blockAccount", 0, ["VIEW_CHANNELS"]),
                ("unblockAccount", 1, ["VIEW_CHANNELS", "SEND_MESSAGES", "ADD_REACTIONS", "ATTACH_FILES"]),
            ):
                await told(people.do, bob, what, "AccountInput", "position", accountId=ada.id)
                await his.until({group: (count, 0), direct: (count, 0)})
                while others.known[direct]["viewerPermissions"] != may:
                    await others.take()

    asyncio.run(scene())


def test_strangers_hear_nothing_visitors_are_refused_and_who_signs_out_is_closed(
    stack: Stack, people: People, somebody: Somebody
) -> None:
    ada, bob, _ = people.all
    eve = somebody()
    group = people.group(ada, bob)

    async def scene() -> None:
        async with signed_in(stack, eve) as hers, signed_in(stack) as visitor, signed_in(stack, bob) as his:
            await visitor.subscribe("c", CONVERSATIONS)
            await refused(visitor, "UNAUTHENTICATED")
            stranger, member = Watcher(hers, eve), Watcher(his, bob)
            for each in (stranger, member):
                await each.begin()
            await told(people.say, ada, group, "One")
            await member.until({group: (1, 0)})
            assert stranger.known == {}
            await hers.alive()
            await told(done, bob, "signOut", "position", "SignOutInput")
            assert (await his.closed())[0] == 4403

    asyncio.run(scene())


def test_whoever_comes_back_is_told_all_anew(stack: Stack, people: People) -> None:
    ada, bob, _ = people.all
    group = people.group(ada, bob)

    async def scene() -> None:
        for count in (0, 1):
            async with signed_in(stack, bob) as socket:
                watcher = Watcher(socket, bob)
                await watcher.begin()
                assert watcher.unread() == {group: (count, 0)}
            await told(people.say, ada, group, "Meanwhile")

    asyncio.run(scene())


def test_many_come_in_pages_and_of_very_many_not_the_oldest(engines: Engines) -> None:
    async def scene() -> None:
        async with signed_in(small, people.bob) as socket:
            watcher = Watcher(socket, people.bob)
            await watcher.begin()
            while len(watcher.known) < 5:
                assert not await watcher.take()
            assert watcher.messages == 3
            assert list(watcher.known) == list(reversed(groups))[:5]
            await followers(small, 1)
            newest = await told(people.group, people.ada, people.bob)
            await watcher.until(dict.fromkeys([*watcher.known, newest], (0, 0)))
            assert groups[1] in watcher.known, "more than are told of, and not left"
            out = {"conversationId": groups[1], "accountId": people.bob.id}
            await told(people.do, people.ada, "removeFromGroup", "GroupMemberInput", **out)
            await watcher.until(dict.fromkeys([*groups[2:], newest], (0, 0)))

    with (
        served(engines, conversations_told_max=5, conversations_page_size=2) as small,
        Client(small) as ada,
        Client(small) as bob,
        Client(small) as cat,
    ):
        clients = iter((ada, bob, cat))
        people = People(lambda: next(clients).appear())
        groups = [people.group(people.ada, people.bob) for _ in range(6)]
        asyncio.run(scene())
