"""Messages as they happen: sent, edited, deleted, reacted to; from any cursor on; until one may see them no more."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from psycopg import Connection

from commands.handling import Caller
from domain import snowflake
from domain.ids import derived
from domain.message import SendMessage
from infra.postgres import connect
from projections.catalogue import ALL
from read_api.ids import Kind, parse_id
from read_api.live.topics import PATIENT_AT_ONCE
from streams import dead_letters
from tests.api.stack import Client, Stack
from tests.api.test_messages import Talk, Unheld
from tests.api.test_servers import CHANNEL, SERVER, done
from tests.live.socket import Socket, signed_in
from tests.live.watching import Somebody, followers, operations_of, refused, told

MESSAGES = """subscription($id: ID!, $after: String) { messageChanged(channelId: $id, after: $after) {
  cursor message { snowflake body deleted editedAt author { name } reactions { emoji count } } } }"""


@pytest.fixture
def talk(somebody: Callable[[], Client]) -> Talk:
    return Talk(somebody)


async def follow(socket: Socket, talk: Talk, after: str | None = None, name: str = "m") -> None:
    extensions = {"position": talk.bob.position}
    await socket.subscribe(name, MESSAGES, variables={"id": talk.channel, "after": after}, extensions=extensions)


async def changed(socket: Socket, name: str = "m") -> Any:
    """The message of the next event."""
    return (await socket.next(name))["messageChanged"]["message"]


async def ended(socket: Socket, name: str = "m") -> None:
    message = await socket.receive()
    assert message["type"] == "error", message
    assert message["id"] == name
    assert [error["extensions"]["code"] for error in message["payload"]] == ["NOT_FOUND"]


def test_whoever_follows_sees_what_becomes_of_a_message(stack: Stack, talk: Talk) -> None:
    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk)
            await followers(stack, 1)
            said = await told(talk.say, talk.ada, "One")
            first = await changed(socket)
            assert (first["body"], first["author"]) == ("One", {"name": talk.ada.name})
            await told(talk.act, talk.ada, "editMessage", "EditMessageInput", messageId=said["id"], body="Two")
            edited = await changed(socket)
            assert (edited["body"], edited["snowflake"]) == ("Two", first["snowflake"])
            assert edited["editedAt"] is not None
            await told(talk.act, talk.bob, "addReaction", "ReactionInput", messageId=said["id"], emoji="👍")
            assert (await changed(socket))["reactions"] == [{"emoji": "👍", "count": 1}]
            await told(talk.act, talk.ada, "deleteMessage", "MessageInput", messageId=said["id"])
            gone = await changed(socket)
            assert (gone["body"], gone["deleted"]) == (None, True)
            await socket.alive()

    asyncio.run(scene())


def test_it_goes_on_from_its_cursor_with_each_message_as_it_is(stack: Stack, talk: Talk) -> None:
    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk)
            await followers(stack, 1)
            await told(talk.say, talk.ada, "One")
            cursor = (await socket.next("m"))["messageChanged"]["cursor"]
        two = await told(talk.say, talk.ada, "Two")
        await told(talk.say, talk.ada, "Three")
        await told(talk.act, talk.ada, "editMessage", "EditMessageInput", messageId=two["id"], body="Two!")
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk, cursor)
            assert [(await changed(socket))["body"] for _ in range(2)] == ["Three", "Two!"]
            await socket.alive()
            await told(talk.say, talk.ada, "Four")
            assert (await changed(socket))["body"] == "Four"

    asyncio.run(scene())


class Inverted:
    """Ids of which each is smaller than the one before, as when another process made them earlier and wrote later."""

    def __init__(self, highest: int) -> None:
        self.highest = highest

    def next(self) -> int:
        self.highest -= 1
        return self.highest


def test_an_id_that_commits_after_a_larger_one_is_told_and_found(
    stack: Stack, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live delivery and its cursor go by the position in the log; the order of the channel is that of the ids."""
    highest = int(talk.say(talk.ada, "Before")["snowflake"]) + (1000 << 22)
    monkeypatch.setattr(stack.moot.commands, "_message_ids", Inverted(highest))

    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk)
            await followers(stack, 1)
            seen = []
            for body in ("Third", "Second", "First"):
                await told(talk.say, talk.ada, body)
                event = (await socket.next("m"))["messageChanged"]
                seen.append((event["cursor"], int(event["message"]["snowflake"]), event["message"]["body"]))
            assert [body for _, _, body in seen] == ["Third", "Second", "First"]
            assert seen[0][1] > seen[1][1] > seen[2][1]
        # The list is in the order of the ids, however they came to be known.
        assert talk.page(talk.bob, first=9)[0] == ["Third", "Second", "First", "Before"]
        for number, (cursor, _, _) in enumerate(seen):
            async with signed_in(stack, talk.bob) as socket:
                await follow(socket, talk, cursor)
                assert [(await changed(socket))["body"] for _ in seen[number + 1 :]] == [
                    body for _, _, body in seen[number + 1 :]
                ]
                await socket.alive()

    asyncio.run(scene())


@pytest.mark.parametrize("what", ["kick", "ban", "leave", "override", "role", "channel", "server"])
def test_whoever_may_see_it_no_more_is_told_though_nobody_says_anything(stack: Stack, talk: Talk, what: str) -> None:
    everyone = talk.server["roles"][0]["id"]
    member = {"serverId": talk.id, "accountId": talk.bob.id}
    denied = {"channelId": talk.channel, "targetId": everyone, "deny": ["VIEW_CHANNELS"]}
    staff = talk.role("Staff", "VIEW_CHANNELS")
    if what == "role":
        done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **denied)
        shown = {"channelId": talk.channel, "targetId": staff, "allow": ["VIEW_CHANNELS"]}
        done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **shown)
        done(talk.ada, "grantRole", SERVER, "MemberRoleInput", **member, roleId=staff)
        talk.bob.position = talk.ada.position

    def act() -> None:
        match what:
            case "kick":
                done(talk.ada, "kickServerMember", SERVER, "KickMemberInput", **member)
            case "ban":
                done(talk.ada, "banServerMember", SERVER, "BanMemberInput", **member)
            case "leave":
                done(talk.bob, "leaveServer", SERVER, "ServerInput", serverId=talk.id)
            case "override":
                done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **denied)
            case "role":
                done(talk.ada, "revokeRole", SERVER, "MemberRoleInput", **member, roleId=staff)
            case "channel":
                done(talk.ada, "deleteChannel", CHANNEL, "ChannelInput", channelId=talk.channel)
            case _:
                done(talk.ada, "deleteServer", SERVER, "ServerInput", serverId=talk.id)

    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk)
            await followers(stack, 1)
            await told(act)
            await ended(socket)
            await socket.alive()

    asyncio.run(scene())


def test_strangers_and_visitors_follow_nothing(stack: Stack, talk: Talk, somebody: Somebody) -> None:
    eve = somebody()

    async def scene() -> None:
        async with signed_in(stack, eve) as stranger, signed_in(stack) as visitor:
            for socket in (stranger, visitor):
                await follow(socket, talk)
                await refused(socket, "NOT_FOUND")

    asyncio.run(scene())


def test_a_cursor_too_old_is_told_so(stack: Stack, talk: Talk) -> None:
    said = talk.say(talk.ada, "One")
    begun = talk.ada.position
    channel, author = (parse_id(one)[1] for one in (talk.channel, talk.ada.id))
    monkey = stack.moot.commands

    async def flood() -> None:
        for number in range(1_001):
            caller = Caller(author, derived("flood"), f"flood {number}")
            outcome = await monkey.execute(SendMessage(channel, f"{number}"), caller)
        await stack.moot.progress.wait(outcome.position)

    before, monkey._pace = monkey._pace, Unheld()
    stack.run(flood())
    monkey._pace = before
    assert parse_id(said["id"]) == (Kind.MESSAGE, snowflake.as_id(int(said["snowflake"])))

    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk, begun)
            await refused(socket, "CURSOR_TOO_OLD")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("view", "poison", "mutation", "fields"),
    [
        ("messages", "body <> 'Poison'", "editMessage", {"body": "Poison"}),
        ("channel_messages", "NOT deleted", "deleteMessage", {}),
    ],
)
def test_whoever_is_past_what_was_parked_reads_anew_once_it_is_retried(
    stack: Stack, talk: Talk, view: str, poison: str, mutation: str, fields: dict[str, str]
) -> None:
    kind = "EditMessageInput" if fields else "MessageInput"

    async def scene(connection: Connection[Any]) -> None:
        async with signed_in(stack, talk.bob) as socket:
            await follow(socket, talk)
            await followers(stack, 1)
            said = await told(talk.say, talk.ada, "One")
            assert (await changed(socket))["body"] == "One"
            connection.execute(f"ALTER TABLE views.{view} ADD CONSTRAINT planted CHECK ({poison}) NOT VALID".encode())
            try:
                await told(talk.act, talk.ada, mutation, kind, messageId=said["id"], **fields)
                await told(talk.say, talk.ada, "Two")
                assert (await changed(socket))["body"] == "Two"
            finally:
                connection.execute(f"ALTER TABLE views.{view} DROP CONSTRAINT planted".encode())
            (key,) = dead_letters.parked_keys(connection, view)
            retry = partial(dead_letters.retry, connection, stack.moot.store, ALL[view], key, stack.moot.publisher)
            assert (await asyncio.to_thread(retry)).applied == 1
            await refused(socket, "CURSOR_TOO_OLD")

    with connect(stack.moot.database_url) as opened:
        asyncio.run(scene(opened))


UNREAD = """subscription($id: ID!) { unreadChanged(serverId: $id) { cursor server { name channels {
  id unread { count mentions first { body } readUpTo { body } } } } } }"""


def test_what_is_unread_is_told_to_every_device(stack: Stack, talk: Talk) -> None:
    first = talk.say(talk.ada, "One")

    async def standing(socket: Socket) -> tuple[int, int, str | None, str | None]:
        ((channel),) = (await socket.next("u"))["unreadChanged"]["server"]["channels"]
        unread = channel["unread"]
        bodies = [unread[name] and unread[name]["body"] for name in ("first", "readUpTo")]
        return unread["count"], unread["mentions"], *bodies

    async def until(socket: Socket, wanted: tuple[int, int, str | None, str | None]) -> None:
        while await standing(socket) != wanted:
            pass

    async def scene() -> None:
        extensions = {"position": talk.bob.position}
        async with signed_in(stack, talk.bob) as phone, signed_in(stack, talk.bob) as desk:
            for socket in (phone, desk):
                await socket.subscribe("u", UNREAD, variables={"id": talk.id}, extensions=extensions)
                assert await standing(socket) == (1, 0, "One", None)
            await told(talk.say, talk.ada, "Two @everyone")
            for socket in (phone, desk):
                await until(socket, (2, 1, "One", None))
            await told(talk.read, talk.bob, first)
            for socket in (phone, desk):
                await until(socket, (1, 1, "Two @everyone", "One"))
            member = {"serverId": talk.id, "accountId": talk.bob.id}
            await told(done, talk.ada, "kickServerMember", SERVER, "KickMemberInput", **member)
            for socket in (phone, desk):
                await ended(socket, "u")

    asyncio.run(scene())


@pytest.mark.parametrize("what", ["role", "hide", "show", "delete", "create", "block"])
def test_what_is_unread_is_told_anew_when_it_is_something_else_though_nobody_writes(
    stack: Stack, talk: Talk, what: str
) -> None:
    """Badges follow roles, overrides, channels and blocks."""
    everyone, staff = talk.server["roles"][0]["id"], talk.role("Staff")
    member = {"serverId": talk.id, "accountId": talk.bob.id}
    denied = {"channelId": talk.channel, "targetId": everyone, "deny": ["VIEW_CHANNELS"]}
    talk.say(talk.ada, "One @staff")
    before, after = [(1, 0)], {"role": [(1, 1)], "create": [(1, 0), (0, 0)], "block": [(0, 0)]}.get(what, [])
    if what == "show":
        done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **denied)
        talk.bob.position = talk.ada.position
        before, after = after, before

    acts: dict[str, Callable[[], Any]] = {
        "role": lambda: done(talk.ada, "grantRole", SERVER, "MemberRoleInput", **member, roleId=staff),
        "hide": lambda: done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **denied),
        "show": lambda: done(talk.ada, "setOverride", CHANNEL, "SetOverrideInput", **{**denied, "deny": []}),
        "delete": lambda: done(talk.ada, "deleteChannel", CHANNEL, "ChannelInput", channelId=talk.channel),
        "create": lambda: talk.make("other"),
        "block": lambda: talk.bob.do("blockAccount", kind_of_input="AccountInput", accountId=talk.ada.id),
    }

    async def standing(socket: Socket) -> list[tuple[int, int]]:
        channels = (await socket.next("u"))["unreadChanged"]["server"]["channels"]
        return [(one["unread"]["count"], one["unread"]["mentions"]) for one in channels]

    async def scene() -> None:
        async with signed_in(stack, talk.bob) as socket:
            extensions = {"position": talk.bob.position}
            await socket.subscribe("u", UNREAD, variables={"id": talk.id}, extensions=extensions)
            assert await standing(socket) == before
            await told(acts[what])
            while await standing(socket) != after:
                pass

    asyncio.run(scene())


def test_what_is_unread_is_told_to_whoever_comes_back_with_a_cursor(stack: Stack, talk: Talk) -> None:
    """Of what he had not read his cursor says nothing: partitions behind it may have brought more."""
    talk.say(talk.ada, "One")

    async def scene() -> None:
        cursor: str | None = None
        for _ in range(2):
            async with signed_in(stack, talk.bob) as socket:
                extensions, variables = {"position": talk.bob.position}, {"id": talk.id, "after": cursor}
                query = UNREAD.replace("($id: ID!)", "($id: ID!, $after: String)").replace(
                    "serverId: $id", "serverId: $id, after: $after"
                )
                await socket.subscribe("u", query, variables=variables, extensions=extensions)
                event = (await socket.next("u"))["unreadChanged"]
                assert event["server"]["channels"][0]["unread"]["count"] == 1
                cursor = event["cursor"]

    asyncio.run(scene())


def test_a_server_that_is_deleted_ends_for_those_who_wait_for_their_turn(stack: Stack, talk: Talk) -> None:
    """Thousands may follow it: what they have not read is counted in turn, that it is gone is found out once."""
    turns = operations_of(stack).topics._turns

    async def take(every: int) -> None:
        for _ in range(every):
            await turns.acquire()

    async def scene() -> None:
        async with signed_in(stack, talk.ada) as hers, signed_in(stack, talk.bob) as his:
            for socket in (hers, his):
                given = {"variables": {"id": talk.id}, "extensions": {"position": talk.bob.position}}
                await socket.subscribe("u", UNREAD, **given)
                await socket.next("u")
            await asyncio.to_thread(stack.run, take(PATIENT_AT_ONCE))
            try:
                await told(talk.say, talk.bob, "They wait for their turn now")
                await told(done, talk.ada, "deleteServer", SERVER, "ServerInput", serverId=talk.id)
                for socket in (hers, his):
                    await ended(socket, "u")
            finally:
                for _ in range(PATIENT_AT_ONCE):
                    stack.loop.call_soon_threadsafe(turns.release)

    asyncio.run(scene())


def test_a_group_is_followed_until_one_is_put_out(stack: Stack, somebody: Somebody) -> None:
    ada, bob, eve = somebody(), somebody(), somebody()
    made = done(ada, "createGroup", "conversation { id }", "CreateGroupInput", accountIds=[bob.id], name="Two")
    group = made["conversation"]["id"]

    def say(body: str) -> None:
        done(ada, "sendMessage", "message { id }", "SendMessageInput", channelId=group, body=body)

    async def scene() -> None:
        variables, extensions = {"id": group}, {"position": ada.position}
        async with signed_in(stack, bob) as socket, signed_in(stack, eve) as stranger:
            await stranger.subscribe("m", MESSAGES, variables=variables, extensions=extensions)
            await refused(stranger, "NOT_FOUND")
            await socket.subscribe("m", MESSAGES, variables=variables, extensions=extensions)
            await followers(stack, 1)
            await told(say, "One")
            assert (await changed(socket))["body"] == "One"
            out = {"conversationId": group, "accountId": bob.id}
            await told(done, ada, "removeFromGroup", "conversation { id }", "GroupMemberInput", **out)
            await ended(socket)

    asyncio.run(scene())
