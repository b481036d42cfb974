"""Messages through a whole fleet: written on one API process, told and read on another, wherever their log lives."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.stack import Stack
from tests.api.stack import Client
from tests.api.test_messages import Talk
from tests.cli.chatting import Piped
from tests.cli.test_chat import opened
from tests.live.socket import signed_in
from tests.live.test_messages import MESSAGES, changed, ended
from tests.live.watching import told
from tests.stack.roles import Roles, until


@pytest.fixture(params=["postgresql", "cassandra"])
def fleet(request: pytest.FixtureRequest, stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Roles]:
    """A fleet that keeps its messages there, set up; no role runs yet."""
    cassandra = request.param == "cassandra"
    with Roles(stack, server_database, tmp_path, cassandra=cassandra, position_wait_seconds_max=30) as made:
        yield made.set_up()


def test_a_conversation_across_processes_and_a_rebuild(fleet: Roles) -> None:
    here, there = fleet.api(), fleet.api()
    relay, worker = fleet.relay(), fleet.worker()
    until(lambda: relay.ready() and worker.ready())
    with (
        Client(SimpleNamespace(url=here.url)) as ada,  # type: ignore[arg-type]
        Client(SimpleNamespace(url=there.url)) as bob,  # type: ignore[arg-type]
    ):
        people = iter((ada, bob))
        talk = Talk(lambda: next(people).sign_up())
        first = talk.say(ada, f"One @{bob.name}", nonce="1")

        async def scene() -> None:
            async with signed_in(SimpleNamespace(url=there.url), bob) as socket:  # type: ignore[arg-type]
                variables = {"id": talk.channel, "after": bob.position}
                extensions = {"position": bob.position}
                await socket.subscribe("m", MESSAGES, variables=variables, extensions=extensions)
                said = await told(talk.say, ada, "Two")
                while (await changed(socket))["body"] != "Two":
                    pass
                await told(talk.act, ada, "editMessage", "EditMessageInput", messageId=said["id"], body="Two!")
                assert (await changed(socket))["body"] == "Two!"
                gone = await told(talk.say, ada, "Three")
                assert (await changed(socket))["body"] == "Three"
                await told(talk.act, ada, "deleteMessage", "MessageInput", messageId=gone["id"])
                assert (await changed(socket))["deleted"]
                member = {"serverId": talk.id, "accountId": bob.id}
                answer = await told(ada.do, "kickServerMember", kind_of_input="KickMemberInput", **member)
                assert answer["errors"] == []
                await ended(socket)

        assert talk.unread(bob) == (1, 1, f"One @{bob.name}")
        # The other process is asked again what the first one did.
        bob.http.headers["Authorization"], his = ada.http.headers["Authorization"], bob.http.headers["Authorization"]
        assert talk.say(bob, "Not this", nonce="1")["id"] == first["id"]
        bob.http.headers["Authorization"] = his
        asyncio.run(scene())
        page = [None, "Two!", f"One @{bob.name}"]
        assert talk.page(ada, first=9)[0] == page
        rebuilt = fleet.run("projections", "rebuild", "--all", "--compare", "--output", "json")
        assert rebuilt.returncode == 0, rebuilt.stderr + rebuilt.stdout
        assert talk.page(ada, first=9)[0] == page
        talk.say(ada, "Four")
        assert talk.page(ada, first=1)[0] == ["Four"]
    assert {role.stop() for role in fleet.roles} == {0}


def test_two_terminals_talk_through_two_processes_of_a_fleet(fleet: Roles, tmp_path: Path) -> None:
    here, there = fleet.api(), fleet.api()
    relay, worker = fleet.relay(), fleet.worker()
    until(lambda: relay.ready() and worker.ready())
    variables = {name: value for name, value in fleet.variables.items() if name.startswith("MOOT_")}
    ada, code = opened(tmp_path, "Den/general", "ada", **variables | {"MOOT_API_URL": here.url})
    with ada:
        joining = Piped(tmp_path, "Den", "--as", "bob", "--invite", code, **variables | {"MOOT_API_URL": there.url})
        with joining as bob:
            bob.until(r"\* live")
            bob.type("Hello @ada")
            assert ada.until("Hello").endswith("bob: Hello @ada (mentions you)")
            ada.type("/reply Hi")
            assert bob.until("Hi").endswith("ada: Hi (to bob: Hello @ada)")
            assert (ada.end(), bob.end()) == (0, 0)
    assert {role.stop() for role in fleet.roles} == {0}
