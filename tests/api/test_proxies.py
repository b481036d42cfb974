"""Sign-ups behind a reverse proxy: each client has limits of its own."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.stack import Client, Stack, serving

REFUSED = "TOO_MANY_REQUESTS"


def form() -> dict[str, Any]:
    name = f"user_{uuid4().hex[:12]}"
    return {"name": name, "email": f"{name}@example.org", "password": "a tree on a hill"}


def by_http(stack: Stack, forwarded: str) -> str:
    with Client(stack) as client:
        client.http.headers["X-Forwarded-For"] = forwarded
        return code_of(client.do("signUp", **form()))


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
            by_http(other, "198.51.100.3"),
            by_http(other, "198.51.100.3, 192.0.2.7"),
        ]
    stack.run(stack.moot.redis.flushdb())
