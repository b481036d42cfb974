"""The page of captured mail: who sees it, and that nothing in a mail is more than text."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from starlette.applications import Starlette

from infra.mail import Mailbox
from read_api.mail_page import HEADERS, PAGE_LENGTH, mail_routes
from tests.auth.world import World, world

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def client(site: World, address: str = "127.0.0.1", base_url: str = "http://localhost:8000") -> httpx.AsyncClient:
    app = Starlette(routes=mail_routes(site.mailbox))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url=base_url)


def test_shows_mail_as_text(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, client(site) as http:
            assert "No mail yet" in (await http.get("/mail")).text
            mail_id = await site.mailbox.send(EVIL, EVIL, EVIL)
            for path in ("/mail", f"/mail/{mail_id}"):
                answer = await http.get(path)
                assert answer.status_code == 200
                assert "&lt;script&gt;" in answer.text
                assert "<script" not in answer.text
                assert "<img" not in answer.text
                for name, value in HEADERS.items():
                    assert answer.headers[name] == value
            assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
            assert "unsafe" not in HEADERS["Content-Security-Policy"]

    asyncio.run(scenario())


@pytest.mark.parametrize("mail_id", ["0", "2", "-1", "x", "1.0", "\u0661", "9" * 40, "1%00", "%3Cscript%3E"])
def test_no_such_mail(database: str, redis_url: str, mail_id: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, client(site) as http:
            await site.mailbox.send("ada@example.org", "Hello", "Text")
            answer = await http.get(f"/mail/{mail_id}")
            assert answer.status_code == 404
            assert "<script" not in answer.text
            assert (await http.get("/mail", params={"before": mail_id})).status_code == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "base_url", "headers"),
    [
        ("192.0.2.7", "http://localhost:8000", {}),
        ("testclient", "http://localhost:8000", {}),
        ("127.0.0.1", "http://evil.example:8000", {}),
        ("127.0.0.1", "http://localhost.evil.example", {}),
        ("127.0.0.1", "http://192.0.2.7", {}),
        ("127.0.0.1", "http://localhost:8000", {"X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", "http://localhost:8000", {"Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", "http://localhost:8000", {"Host": ""}),
    ],
)
def test_only_to_this_machine(
    database: str, redis_url: str, address: str, base_url: str, headers: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, client(site, address, base_url) as http:
            mail_id = await site.mailbox.send("ada@example.org", "Hello", "the code")
            for path in ("/mail", f"/mail/{mail_id}"):
                answer = await http.get(path, headers=headers)
                assert answer.status_code == 403
                assert "ada@example.org" not in answer.text
                assert "the code" not in answer.text

    asyncio.run(scenario())


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8000", "http://[::1]:8000", "http://LOCALHOST"])
def test_by_every_name_of_this_machine(database: str, redis_url: str, base_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, client(site, "::1", base_url) as http:
            assert (await http.get("/mail")).status_code == 200
            assert (await http.post("/mail")).status_code == 405

    asyncio.run(scenario())


def test_pages_and_bounds(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, client(site) as http:
            for n in range(PAGE_LENGTH + 1):
                await site.mailbox.send("ada@example.org", f"Mail number {n}.", "Text")
            newest = (await http.get("/mail")).text
            assert "Mail number 50." in newest
            assert "Mail number 0." not in newest
            older = newest.split('href="/mail?before=')[1].split('"')[0]
            assert "Mail number 0." in (await http.get("/mail", params={"before": older})).text
            small = Mailbox(site.pool, clock=site.clock, kept_max=3)
            await small.send("ada@example.org", "The last", "Text")
            assert [mail.subject for mail in await site.mailbox.newest(10)] == [
                "The last",
                "Mail number 50.",
                "Mail number 49.",
            ]
            site.clock.advance(timedelta(days=8).total_seconds())
            await site.mailbox.send("ada@example.org", "A week later", "Text")
            assert [mail.subject for mail in await site.mailbox.newest(10)] == ["A week later"]

    asyncio.run(scenario())
