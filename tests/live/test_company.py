"""Who types in a conversation, and who of those with whom one talks is there."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from infra.embedded import Engines
from tests.api.stack import Client, Stack
from tests.live.chat import TYPING, Somebody, codes, types
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
