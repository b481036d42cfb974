"""Sign-ups behind a reverse proxy, over HTTP and over WebSocket: each client has limits of its own."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.api.stack import Client, Stack, serving
from tests.live.socket import opened

REFUSED = "TOO_MANY_REQUESTS"


def form() -> dict[str, Any]:
    name = f"user_{uuid4().hex[:12]}"
    return {"name": name, "email": f"{name}@example.org", "password": "a tree on a hill"}


def by_http(stack: Stack, forwarded: str) -> str:
    with Client(stack) as client:
        client.http.headers["X-Forwarded-For"] = forwarded
        return code_of(client.do("signUp", **form()))


def by_socket(stack: Stack, forwarded: str) -> str:
    async def sign_up() -> str:
        async with opened(stack, additional_headers={"X-Forwarded-For": forwarded}) as socket:
            await socket.init()
            query = "mutation($i: SignUpInput!) { signUp(input: $i) { errors { code } } }"
            await socket.subscribe("1", query, variables={"i": form()})
            return code_of((await socket.next("1"))["signUp"])

    return asyncio.run(sign_up())


def code_of(payload: dict[str, Any]) -> str:
    return next((error["code"] for error in payload["errors"]), "fine")


@pytest.mark.parametrize(
    ("trusted", "codes"),
    [
        ("", ["fine", REFUSED, REFUSED, REFUSED, REFUSED]),
        ("192.0.2.0/24", ["fine", REFUSED, REFUSED, REFUSED, REFUSED]),
        ("192.0.2.0/24 127.0.0.0/8", ["fine", REFUSED, "fine", "fine", REFUSED]),
    ],
)
def test_who_is_counted(stack: Stack, trusted: str, codes: list[str]) -> None:
    given = {"sign_ups_per_address_max": 1, "trusted_proxies": trusted}
    stack.run(stack.moot.redis.flushdb())
    with serving(stack.moot.settings.model_copy(update=given)) as other:
        assert codes == [
            by_http(other, "198.51.100.1"),
            by_http(other, "203.0.113.6, 198.51.100.1"),
            by_http(other, "198.51.100.2"),
            by_socket(other, "198.51.100.3"),
            by_socket(other, "198.51.100.3, 192.0.2.7"),
        ]
    stack.run(stack.moot.redis.flushdb())
