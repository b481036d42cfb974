"""Who a socket belongs to, and that it ends with the session."""

import asyncio
import threading
from typing import Any

import pytest

from infra.composition import Moot
from infra.session_marks import ended_channel
from infra.sessions import Viewer
from infra.tokens import AccessTokens
from read_api.live import connection
from read_api.live.connection import Connection
from tests.api.stack import Client, Stack
from tests.live.forum import a_community, submit_post
from tests.live.socket import SECONDS, opened, signed_in

WHO = "{ viewer { account { name } } }"


def test_the_token_of_connection_init_says_who_asks(stack: Stack) -> None:
    async def scene(ada: Client) -> None:
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("q", WHO, extensions={"position": ada.position})
            assert await socket.next("q") == {"viewer": {"account": {"name": ada.name}}}
        async with signed_in(stack) as socket:
            await socket.subscribe("q", WHO)
            assert await socket.next("q") == {"viewer": None}

    with Client(stack) as ada:
        asyncio.run(scene(ada.appear()))


@pytest.mark.parametrize(
    "authorization", ["Bearer x", "Bearer ", "Basic YTpi", "x", "Bearer " + "x" * 2000, 1, ["x"], {}]
)
def test_a_token_that_is_none_is_forbidden(stack: Stack, authorization: Any) -> None:
    async def scene() -> None:
        async with opened(stack) as socket:
            await socket.send({"type": "connection_init", "payload": {"authorization": authorization}})
            code, reason = await socket.closed()
            assert (code, reason[:9]) == (4403, "Forbidden")

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION"])
def test_the_name_of_the_token_is_read_without_regard_to_case(stack: Stack, name: str) -> None:
    async def scene(ada: Client) -> None:
        async with opened(stack) as socket:
            await socket.init({name: ada.http.headers["Authorization"]})
            await socket.subscribe("q", WHO, extensions={"position": ada.position})
            assert await socket.next("q") == {"viewer": {"account": {"name": ada.name}}}

    with Client(stack) as ada:
        asyncio.run(scene(ada.appear()))


@pytest.mark.parametrize(
    "payload",
    [
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"authorization": "Bearer x"}},
        {"authorization": "Bearer x", "Authorization": "Bearer x"},
        {"Authorization": None},
        {"Authorization": 1},
    ],
)
def test_a_token_in_a_place_where_it_does_not_count_is_said_to_be(stack: Stack, payload: dict[str, Any]) -> None:
    async def scene() -> None:
        async with opened(stack) as socket:
            await socket.send({"type": "connection_init", "payload": payload})
            code, reason = await socket.closed()
            assert code == 4403
            assert "authorization" in reason.lower()

    asyncio.run(scene())


def test_headers_without_a_token_are_those_of_a_visitor(stack: Stack) -> None:
    async def scene() -> None:
        async with opened(stack) as socket:
            await socket.init({"headers": {"accept-language": "en"}})

    asyncio.run(scene())


def _token(stack: Stack, who: Client, *, lifetime_seconds: int) -> str:
    """A good token of her session with another lifetime."""
    moot = stack.moot
    tokens = AccessTokens([moot.secrets.token_key], lifetime_seconds=lifetime_seconds, skew_seconds=0, clock=moot.clock)
    claims = tokens.read(who.http.headers["Authorization"].removeprefix("Bearer "))
    return f"Bearer {tokens.issue(claims.account_id, claims.session_id)}"


def test_a_token_that_has_expired_is_forbidden(stack: Stack) -> None:
    async def scene(token: str) -> None:
        async with opened(stack) as socket:
            await socket.send({"type": "connection_init", "payload": {"authorization": token}})
            code, reason = await socket.closed()
            assert code == 4403
            assert "expired" in reason

    with Client(stack) as ada:
        asyncio.run(scene(_token(stack, ada.appear(), lifetime_seconds=-60)))


def test_the_socket_ends_when_its_token_expires(stack: Stack) -> None:
    async def scene(token: str) -> None:
        async with opened(stack) as socket:
            await socket.init({"authorization": token})
            await socket.subscribe("n", "subscription { notificationAdded { cursor } }")
            code, reason = await socket.closed()
            assert code == 4403
            assert "expired" in reason

    with Client(stack) as ada:
        asyncio.run(scene(_token(stack, ada.appear(), lifetime_seconds=1)))


def test_signing_out_ends_the_sockets_of_that_session_at_once_and_no_other(stack: Stack) -> None:
    async def scene(ada: Client, ben: Client) -> None:
        post = await asyncio.to_thread(lambda: submit_post(ada, a_community(ada)))
        query = f'subscription {{ scoreChanged(targetId: "{post}") {{ cursor }} }}'
        async with signed_in(stack, ada) as one, signed_in(stack, ada) as two, signed_in(stack, ben) as other:
            for socket in (one, two, other):
                await socket.subscribe("s", query)
                await socket.next("s")
            viewer = stack.run(
                stack.moot.sessions.authenticate(ada.http.headers["Authorization"].removeprefix("Bearer "))
            )
            await asyncio.to_thread(stack.run, stack.moot.sessions.end(viewer.session_id, viewer.account_id))
            for socket in (one, two):
                code, reason = await socket.closed()
                assert code == 4403
                assert "ended" in reason
            await other.alive()
        async with opened(stack) as again:
            await again.send(
                {"type": "connection_init", "payload": {"authorization": ada.http.headers["Authorization"]}}
            )
            assert (await again.closed())[0] == 4403

    with Client(stack) as ada, Client(stack) as ben:
        asyncio.run(scene(ada.appear(), ben.appear()))


@pytest.mark.parametrize(
    ("mutation", "given"),
    [
        ("signUp", {"name": "walker", "email": "walker@example.org", "password": "a tree on a hill"}),
        ("signIn", {"nameOrEmail": "walker", "password": "a tree on a hill"}),
        ("refreshSession", {}),
    ],
)
def test_a_session_does_not_begin_where_its_cookie_cannot_be_set(
    stack: Stack, mutation: str, given: dict[str, str]
) -> None:
    kind = mutation[0].upper() + mutation[1:] + "Input"
    query = f"mutation($input: {kind}!) {{ {mutation}(input: $input) {{ accessToken errors {{ code message }} }} }}"

    async def scene() -> None:
        async with signed_in(stack) as socket:
            await socket.subscribe("m", query, variables={"input": given})
            payload = (await socket.next("m"))[mutation]
            assert payload["accessToken"] is None
            assert [error["code"] for error in payload["errors"]] == ["HTTP_ONLY"]
            assert "HTTP" in payload["errors"][0]["message"]
            assert await socket.receive() == {"id": "m", "type": "complete"}

    asyncio.run(scene())
    with Client(stack) as visitor:
        assert visitor.ask('{ account(name: "walker") { name } }') == {"account": None}


def test_a_session_that_ends_while_it_is_checked_is_checked_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, woken, opened_again = threading.Event(), threading.Event(), asyncio.Event()
    connections: list[Connection] = []
    real_check, real_wake = connection.authenticated, Connection._may_have_ended

    async def authenticated(moot: Moot, token: str) -> Viewer | None:
        viewer = await real_check(moot, token)
        if connections:  # the answer of that moment comes late
            found.set()
            await opened_again.wait()
        return viewer

    def wake(self: Connection, position: int | None) -> None:
        real_wake(self, position)
        connections.append(self)
        woken.set()

    monkeypatch.setattr(connection, "authenticated", authenticated)
    monkeypatch.setattr(Connection, "_may_have_ended", wake)

    async def scene(ada: Client) -> None:
        token = ada.http.headers["Authorization"].removeprefix("Bearer ")
        async with signed_in(stack, ada) as socket:
            viewer = await asyncio.to_thread(stack.run, stack.moot.sessions.authenticate(token))
            channel = ended_channel(viewer.session_id)
            await asyncio.to_thread(stack.run, stack.moot.redis.publish(channel, b""))  # for nothing
            assert await asyncio.to_thread(found.wait, SECONDS)
            woken.clear()
            await asyncio.to_thread(stack.run, stack.moot.sessions.end(viewer.session_id, viewer.account_id))
            assert await asyncio.to_thread(woken.wait, SECONDS)
            stack.loop.call_soon_threadsafe(opened_again.set)
            code, reason = await socket.closed()
            assert (code, "ended" in reason) == (4403, True)

    with Client(stack) as ada:
        asyncio.run(scene(ada.appear()))
