"""Who is present and who types, as those who may see it are told over real sockets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from read_api.ids import Kind, subject_id
from tests.api.stack import Client, Stack
from tests.live.chat import PRESENCE, TYPING, Den, Somebody, beat, codes, done, is_now, types
from tests.live.socket import Socket, signed_in
from tests.live.watching import followers, idle, refused, told


def changes(data: Any) -> tuple[bool, dict[str, str]]:
    """Of a message: whether it begins anew, and who is how."""
    found = data["presenceChanged"]
    return found["begins"], {person["accountId"]: person["state"] for person in found["people"]}


async def watching(socket: Socket, den: Den) -> dict[str, str]:
    """Watch a server; who is there to begin with."""
    await socket.subscribe("p", PRESENCE, variables={"id": den.id})
    begins, people = changes(await socket.next("p"))
    assert begins
    return people


async def next_change(socket: Socket) -> dict[str, str]:
    begins, people = changes(await socket.next("p"))
    assert not begins
    return people


async def becomes(socket: Socket, known: dict[str, str], wanted: dict[str, str]) -> None:
    """Take changes until who is there is as wanted. What is told together is up to the server."""
    while known != wanted:
        for account, state in (await next_change(socket)).items():
            if state == "OFFLINE":
                known.pop(account, None)
            else:
                known[account] = state


def test_who_is_there_to_begin_with_and_what_changes(stack: Stack, somebody: Somebody) -> None:
    ada, bob, eve = somebody(), somebody(), somebody()
    den = Den(ada, bob)

    async def scene() -> None:
        assert (await told(is_now, bob, "IDLE"))["presence"] == "IDLE"
        await told(is_now, eve, "ONLINE")  # who is in no server with them
        async with signed_in(stack, ada) as socket:
            known = await watching(socket, den)
            assert known == {bob.id: "IDLE"}
            answer = await told(beat, ada)
            assert answer["presence"] == "ONLINE"
            assert answer["nextHeartbeatSeconds"] == 20
            await becomes(socket, known, {bob.id: "IDLE", ada.id: "ONLINE"})
            await told(is_now, bob, "DO_NOT_DISTURB", "phone")
            await becomes(socket, known, {bob.id: "DO_NOT_DISTURB", ada.id: "ONLINE"})
            away = await told(lambda: done(bob, "goOffline", "DeviceInput", "presence", device="phone"))
            assert away["presence"] == "IDLE", "what the other device chose holds again"
            await becomes(socket, known, {bob.id: "IDLE", ada.id: "ONLINE"})
            await told(lambda: done(bob, "goOffline", "DeviceInput", device="tests"))
            await becomes(socket, known, {ada.id: "ONLINE"})
            await socket.alive()
        await asyncio.to_thread(stack.run, idle(stack))

    asyncio.run(scene())


def test_of_the_invisible_nobody_else_hears_anything(stack: Stack, somebody: Somebody) -> None:
    ada, bob = somebody(), somebody()
    den = Den(ada, bob)
    members = """query($id: ID!) { node(id: $id) { ... on Server { memberCount members(first: 9) { nodes {
        account { id } presence } } } } }"""

    def listed(who: Client) -> dict[str, str]:
        nodes = who.ask(members, id=den.id)["node"]["members"]["nodes"]
        return {node["account"]["id"]: node["presence"] for node in nodes}

    async def scene() -> None:
        async with signed_in(stack, ada) as socket, signed_in(stack, bob) as his:
            known = await watching(socket, den)
            await watching(his, den)
            await his.subscribe("t", TYPING, variables={"id": den.channel})
            await his.next("t")
            await socket.subscribe("t", TYPING, variables={"id": den.channel})
            assert (await socket.next("t"))["typingChanged"] == {"accounts": []}
            assert (await told(is_now, bob, "INVISIBLE"))["presence"] == "INVISIBLE"
            assert await told(bob.ask, "{ viewer { presence } }") == {"viewer": {"presence": "INVISIBLE"}}
            await told(beat, bob)
            await told(beat, bob, "another")
            await told(types, bob, den.channel)
            await told(is_now, ada, "ONLINE")  # told after all that, and alone
            for each in (socket, his):
                assert await next_change(each) == {ada.id: "ONLINE"}
            known[ada.id] = "ONLINE"
            assert listed(ada) == listed(bob) == {ada.id: "ONLINE", bob.id: "OFFLINE"}
            await told(is_now, bob, "ONLINE")
            await becomes(socket, known, {ada.id: "ONLINE", bob.id: "ONLINE"})
            await told(is_now, bob, "INVISIBLE")
            await becomes(socket, known, {ada.id: "ONLINE"})
            await socket.alive()

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["kick", "ban", "leave", "delete"])
def test_who_is_no_member_any_more_is_told_nothing_more(stack: Stack, somebody: Somebody, how: str) -> None:
    ada, bob, cid = somebody(), somebody(), somebody()
    den = Den(ada, bob, cid)
    member = {"serverId": den.id, "accountId": bob.id}
    ends: dict[str, Callable[[], Any]] = {
        "kick": lambda: done(ada, "kickServerMember", "KickMemberInput", **member),
        "ban": lambda: done(ada, "banServerMember", "BanMemberInput", **member),
        "leave": lambda: done(bob, "leaveServer", "ServerInput", serverId=den.id),
        "delete": lambda: done(ada, "deleteServer", "ServerInput", serverId=den.id),
    }

    async def scene() -> None:
        await told(is_now, bob, "ONLINE")
        async with signed_in(stack, bob) as his, signed_in(stack, cid) as hers:
            assert await watching(his, den) == {bob.id: "ONLINE"}
            known = await watching(hers, den)
            await his.subscribe("t", TYPING, variables={"id": den.channel})
            await his.next("t")
            await followers(stack, 3)
            await told(ends[how])
            messages = [await his.receive(), await his.receive()]
            while any(message["type"] == "next" for message in messages):  # his own going may be told before
                messages = [message for message in messages if message["type"] != "next"] + [await his.receive()]
            assert {message["id"] for message in messages} == {"p", "t"}
            assert {message["payload"][0]["extensions"]["code"] for message in messages} == {"NOT_FOUND"}
            await his.alive()
            if how == "delete":
                await refused(hers, "NOT_FOUND")
            else:
                await becomes(hers, known, {})
                await hers.alive()
            await his.subscribe("again", PRESENCE, variables={"id": den.id})
            await refused(his, "NOT_FOUND")

    asyncio.run(scene())


def test_who_joins_is_seen_at_once_and_sees(stack: Stack, somebody: Somebody) -> None:
    ada, bob = somebody(), somebody()
    den = Den(ada)

    async def scene() -> None:
        await told(is_now, bob, "IDLE")
        async with signed_in(stack, ada) as socket, signed_in(stack, bob) as his:
            known = await watching(socket, den)
            await his.subscribe("p", PRESENCE, variables={"id": den.id})
            await refused(his, "NOT_FOUND")
            await told(den.join, bob)  # and no heartbeat of his comes
            await becomes(socket, known, {bob.id: "IDLE"})
            await told(beat, bob)
            await told(is_now, ada, "ONLINE")
            assert await next_change(socket) == {ada.id: "ONLINE"}
            assert await watching(his, den) == {bob.id: "IDLE", ada.id: "ONLINE"}

    asyncio.run(scene())


def test_who_signs_out_is_closed_and_a_visitor_is_refused(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    den = Den(ada)

    async def scene() -> None:
        async with signed_in(stack) as visitor, signed_in(stack, ada) as socket:
            await visitor.subscribe("p", PRESENCE, variables={"id": den.id})
            await refused(visitor, "UNAUTHENTICATED")
            await visitor.subscribe("t", TYPING, variables={"id": den.channel})
            await refused(visitor, "UNAUTHENTICATED")
            await watching(socket, den)
            await told(lambda: done(ada, "signOut", "SignOutInput"))
            assert (await socket.closed())[0] == 4403

    asyncio.run(scene())


def test_who_types_is_told_to_the_others_and_not_to_himself(stack: Stack, somebody: Somebody) -> None:
    ada, bob = somebody(), somebody()
    den = Den(ada, bob)

    async def scene() -> None:
        async with signed_in(stack, ada) as hers, signed_in(stack, bob) as his:
            for socket in (hers, his):
                await socket.subscribe("t", TYPING, variables={"id": den.channel})
                assert await socket.next("t") == {"typingChanged": {"accounts": []}}
            assert (await told(types, bob, den.channel))["repeatSeconds"] == 5
            assert await hers.next("t") == {"typingChanged": {"accounts": [{"name": bob.name}]}}
            await told(types, ada, den.channel)
            assert await his.next("t") == {"typingChanged": {"accounts": [{"name": ada.name}]}}
            await told(lambda: done(bob, "stopTyping", "TypingInput", channelId=den.channel))
            assert await hers.next("t") == {"typingChanged": {"accounts": []}}
            await told(lambda: done(ada, "stopTyping", "TypingInput", channelId=den.channel))
            assert await his.next("t") == {"typingChanged": {"accounts": []}}
            await his.alive()
            await hers.alive()

    asyncio.run(scene())


def test_who_may_not_see_a_channel_any_more_hears_of_nobody_in_it(stack: Stack, somebody: Somebody) -> None:
    ada, bob = somebody(), somebody()
    den = Den(ada, bob)

    async def scene() -> None:
        async with signed_in(stack, ada) as hers, signed_in(stack, bob) as his:
            for socket in (hers, his):
                await socket.subscribe("t", TYPING, variables={"id": den.channel})
                await socket.next("t")
            await told(types, bob, den.channel)
            assert await hers.next("t") == {"typingChanged": {"accounts": [{"name": bob.name}]}}
            hidden = {"channelId": den.channel, "targetId": den.everyone, "deny": ["VIEW_CHANNELS"]}
            await told(lambda: done(ada, "setOverride", "SetOverrideInput", **hidden))
            await refused(his, "NOT_FOUND")
            assert await hers.next("t") == {"typingChanged": {"accounts": []}}

    asyncio.run(scene())


def test_what_is_refused(stack: Stack, somebody: Somebody) -> None:
    ada, bob, eve = somebody(), somebody(), somebody()
    den = Den(ada, bob)
    with Client(stack) as visitor:
        for what, kind, given in (
            ("setPresence", "SetPresenceInput", {"state": "IDLE", "device": "x"}),
            ("heartbeat", "HeartbeatInput", {"device": "x"}),
            ("goOffline", "DeviceInput", {"device": "x"}),
            ("startTyping", "TypingInput", {"channelId": den.channel}),
            ("stopTyping", "TypingInput", {"channelId": den.channel}),
        ):
            assert codes(visitor, what, kind, **given) == ["UNAUTHENTICATED"]
    for device in ("", " ", "x" * 65, "a\n"):
        assert codes(ada, "heartbeat", "HeartbeatInput", device=device) == ["INVALID_VALUE"]
    assert codes(eve, "startTyping", "TypingInput", channelId=den.channel) == ["CHANNEL_NOT_FOUND"]
    assert codes(ada, "startTyping", "TypingInput", channelId=den.id) == ["ID_OF_ANOTHER_TYPE"]
    news = done(
        ada,
        "createChannel",
        "CreateChannelInput",
        "channel { id }",
        serverId=den.id,
        name="news",
        kind="ANNOUNCEMENT",
    )["channel"]["id"]
    bob.position = ada.position
    assert codes(bob, "startTyping", "TypingInput", channelId=news) == ["PERMISSION_DENIED"]
    assert types(ada, news)["errors"] == []
    for number in range(31):
        answer = bob.do(
            "setPresence",
            "presence errors { retryAfterSeconds }",
            kind_of_input="SetPresenceInput",
            state=["IDLE", "ONLINE"][number % 2],
            device="x",
        )
    assert [error["code"] for error in answer["errors"]] == ["TOO_MANY_REQUESTS"]
    assert 0 < answer["errors"][0]["retryAfterSeconds"] <= 60
    assert answer["presence"] is None


def test_a_page_of_members_asks_redis_once_for_how_they_are(
    stack: Stack, somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [somebody() for _ in range(4)]
    den = Den(*people)
    for who in people[1:]:
        is_now(who, "DO_NOT_DISTURB")
    asked: list[int] = []
    real = stack.moot.presences.shown

    async def shown(ids: Any) -> Any:
        asked.append(len(ids))
        return await real(ids)

    monkeypatch.setattr(type(stack.moot.presences), "shown", lambda _, ids: shown(ids))
    query = "query($id: ID!) { node(id: $id) { ... on Server { members(first: 9) { nodes { presence } } } } }"
    nodes = people[0].ask(query, id=den.id)["node"]["members"]["nodes"]
    assert [node["presence"] for node in nodes] == ["DO_NOT_DISTURB"] * 3 + ["OFFLINE"]
    assert asked == [4]


def test_ids_are_those_of_accounts(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    den = Den(ada)
    is_now(ada, "ONLINE")
    query = "subscription($id: ID!) { presenceChanged(serverId: $id) { people { accountId account { id name } } } }"

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("p", query, variables={"id": den.id})
            (person,) = (await socket.next("p"))["presenceChanged"]["people"]
            assert person == {"accountId": ada.id, "account": {"id": ada.id, "name": ada.name}}
            assert subject_id(ada.id, Kind.ACCOUNT)

    asyncio.run(scene())
