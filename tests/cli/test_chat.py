"""``moot chat`` as people use it: two of them, over a real ``moot up``, in pipes and in a terminal."""

import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import ROOT
from streams.cli.client import Client
from tests.cli.chatting import Piped, Terminal, command, cutting
from tests.serving import Up, environment, moot


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One ``moot up`` for the tests of this module that do not stop it."""
    with Up(tmp_path_factory.mktemp("chat"), MOOT_MESSAGES_BURST="500", MOOT_SUBSCRIPTION_BACKFILL_MAX="20") as serving:
        yield serving


def opened(folder: Path, place: str, who: str, **more: str) -> tuple[Piped, str]:
    """Somebody who opens a server, and the code that others are shown to join it with."""
    talk = Piped(folder, place, "--as", who, "--create", **more)
    code = re.search(r"--invite (\w+)", talk.until("--invite"))
    assert code
    talk.until(r"\* live")
    return talk, code[1]


def bodies(said: list[str]) -> list[str]:
    """The texts of new messages."""
    return [line.split(": ", 1)[1] for line in said if re.match(r"\d\d:\d\d #\d+ \w+: ", line)]


def test_two_people_talk_from_nothing_by_what_they_are_shown(up: Up) -> None:
    ada, code = opened(up.folder, "Den/general", "ada")
    with ada, Piped(up.folder, "Den/general", "--as", "bob", "--invite", code) as bob:
        bob.until(r"\* live")
        bob.type("Hello @ada")
        assert ada.until("Hello").endswith("bob: Hello @ada (mentions you)")
        ada.type("/reply Hi *bob*")
        assert bob.until(r"Hi \*bob\*").endswith("ada: Hi *bob* (to bob: Hello @ada)")
        bob.type("/edit Good morning @ada", "/react 👍", "/unreact 👍")
        assert re.search(r"bob, edited: Good morning @ada \(mentions you\)", ada.until("edited"))
        assert ada.until("has reactions").endswith("has reactions: 👍 1")
        ada.until("has no reactions any more")
        bob.type("/delete #1", "/who", "/topic What we talk about", "/topic")
        assert ada.until("deleted").endswith("bob, deleted")
        assert bob.until("In Den").endswith("ada, bob") or bob.told[-1].endswith("bob, ada")
        bob.until("You need|may not|permission")
        bob.type("//slashes are said", "/nothing", "/edit #99 x")
        ada.until("bob: /slashes are said")
        bob.until("no command /nothing")
        bob.until("no message #99")
        assert (ada.end(), bob.end()) == (0, 0)
    listed = moot("chat", "--as", "bob", "--output", "json", "--data-dir", str(up.folder))
    (server,) = json.loads(listed.stdout)["servers"]
    assert (server["name"], server["channels"][0]["name"]) == ("Den", "general")
    # What was said is still there; a pipe that has nothing to say ends.
    again = moot("chat", "Den", "--as", "ada", "--data-dir", str(up.folder))
    assert again.returncode == 0
    assert bodies(again.stdout.splitlines())[-1].startswith("/slashes are said")


def test_without_an_invite_nobody_gets_in_and_a_pipe_is_not_asked(up: Up) -> None:
    found = moot("chat", "Nowhere/general", "--as", "eve", "--data-dir", str(up.folder))
    assert found.returncode == 3
    assert "You are in no server called Nowhere." in found.stderr
    assert "--invite CODE, or --create" in found.stderr
    assert moot("chat", "--invite", "NOSUCHCODE", "--as", "eve", "--data-dir", str(up.folder)).returncode == 3
    listed = moot("chat", "--as", "eve", "--data-dir", str(up.folder))
    assert "eve is in no server yet" in listed.stderr
    assert listed.stdout == ""


def test_a_refusal_is_a_sentence_and_the_exit_code_of_a_pipe(up: Up) -> None:
    ada, code = opened(up.folder, "Slow/general", "ada")
    with ada, Piped(up.folder, "Slow", "--as", "bob", "--invite", code) as bob:
        bob.until(r"\* live")
        bob.type("x" * 4_001)
        assert "4,000" in bob.until("Not sent").replace("4000", "4,000")
        bob.type("x" * 300_000)
        bob.until("Not sent: these are more than 20,000 characters")
        bob.type(b"\xff\xfe broken \xed\xa0\x80", "fine")
        ada.until("bob: fine")
        ada.type("/slow 600")
        ada.until("Slow mode: 600 s")
        bob.type("first", "too soon", "/slow 0")
        assert re.search(r"Not sent: .*\b(600|59\d)\b", bob.until("Not sent"))
        bob.until("permission|may not|need")
        assert bob.end() == 3


def test_older_pages_and_what_is_unread(up: Up) -> None:
    ada, code = opened(up.folder, "Long/general", "ada")
    with ada:
        ada.type(*(f"line {number}" for number in range(60)))
        assert ada.end() == 0
    with Piped(up.folder, "Long", "--as", "cyd", "--invite", code) as cyd:
        cyd.until("line 59")
        assert bodies(cyd.said) == [f"line {number}" for number in range(10, 60)]
        cyd.type("/older")
        cyd.until("10 older messages")
        cyd.until("line 9")
        cyd.type("/older")
        cyd.until("no older messages")
        assert bodies(cyd.said)[50:] == [f"line {number}" for number in range(10)]
        cyd.type("hello")
        cyd.until("cyd: hello")
        assert cyd.end() == 0
    with Piped(up.folder, "Long", "--as", "ada") as ada:
        assert ada.until("unread").startswith("* 1 unread from here on")
        ada.type("/read")
        assert ada.end() == 0
    again = moot("chat", "Long", "--as", "ada", "--data-dir", str(up.folder))
    assert "unread" not in again.stderr


def test_each_message_comes_once_and_in_order_through_connections_that_are_cut(up: Up) -> None:
    """What was sent when the answer was lost is sent again, with the same nonce: there is one of it."""
    port = urllib.parse.urlsplit(up.place["graphql"]).port
    assert port
    with cutting(port) as network:
        ada, code = opened(up.folder, "Cut/general", "ada", MOOT_API_URL=network.url)
        bob = Piped(up.folder, "Cut", "--as", "bob", "--invite", code, MOOT_API_URL=network.url)
        with ada, bob:
            bob.until(r"\* live")
            network.pieces_max = 14
            lines = [f"line {number}" for number in range(24)]
            ada.type(*lines)
            bob.until("line 23$")
            network.pieces_max = 10**9
            assert (ada.end(), bob.end()) == (0, 0)
            assert network.cuts >= 3
            assert bodies(bob.said) == lines
            assert bodies(ada.said) == lines
            assert any("not connected" in told for told in bob.told)
    log = moot("chat", "Cut", "--as", "ada", "--data-dir", str(up.folder))
    assert bodies(log.stdout.splitlines()) == lines


def test_who_missed_too_much_is_told_so_and_sees_the_newest(up: Up) -> None:
    port = urllib.parse.urlsplit(up.place["graphql"]).port
    assert port
    with cutting(port) as network:
        ada, code = opened(up.folder, "Missed/general", "ada")
        bob = Piped(up.folder, "Missed", "--as", "bob", "--invite", code, MOOT_API_URL=network.url)
        with ada, bob:
            bob.until(r"\* live")
            network.pieces_max = 0
            ada.type(*(f"line {number}" for number in range(70)))
            ada.until("line 69$")
            bob.until("not connected")
            network.pieces_max = 10**9
            bob.until("Too much was missed")
            bob.until("line 69$")
            ada.type("after")
            bob.until("after$")
            assert (ada.end(), bob.end()) == (0, 0)
            assert bodies(bob.said)[-51:] == [*(f"line {number}" for number in range(20, 70)), "after"]


def test_who_is_put_out_is_told_and_the_same_command_says_why_it_leads_nowhere(up: Up) -> None:
    ada, code = opened(up.folder, "Out/general", "ada")
    with ada, Piped(up.folder, "Out", "--as", "bob", "--invite", code) as bob:
        bob.until(r"\* live")
        client = Client(up.folder)
        client.become("ada")
        found = client.ask("""{ account(name: "bob") { id } viewer { servers(first: 1) { nodes { id } } } }""")
        form = {"serverId": found["viewer"]["servers"]["nodes"][0]["id"], "accountId": found["account"]["id"]}
        kick = "mutation ($input: KickMemberInput!) { kickServerMember(input: $input) { errors { code message } } }"
        assert client.ask(kick, {"input": form})["kickServerMember"]["errors"] == []
        bob.until("You may not see Out/general any more")
        assert bob.process.wait(30) == 3
        assert ada.end() == 0
    again = moot("chat", "Out", "--as", "bob", "--data-dir", str(up.folder))
    assert "You are in no server called Out" in again.stderr


def test_the_command_by_which_one_joined_may_be_run_again(up: Up) -> None:
    ada, code = opened(up.folder, "Again/general", "ada")
    with ada:
        assert ada.end() == 0
    with Piped(up.folder, "Again", "--as", "ada") as ada:
        ada.type("/quit")
        assert ada.process.wait(30) == 0, "with its input still open"
    for invite in (code, code, "EXPIRED"):
        found = moot("chat", "Again", "--invite", invite, "--as", "bob", "--data-dir", str(up.folder))
        assert found.returncode == 0, found.stderr
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *command(up.folder, "Again", "--as", "bob")]
    found = subprocess.run(
        closed, cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr


def test_a_talk_survives_a_killed_server(tmp_path: Path) -> None:
    with Up(tmp_path) as first:
        ada, code = opened(tmp_path, "Den/general", "ada")
        bob = Piped(tmp_path, "Den", "--as", "bob", "--invite", code)
        with ada, bob:
            bob.until(r"\* live")
            ada.type("one")
            bob.until("ada: one")
            first.kill()
            ada.until("not connected")
            bob.until("not connected")
            ada.type("two", "three")
            port = str(urllib.parse.urlsplit(first.place["graphql"]).port)
            with Up(tmp_path, "--port", port):
                bob.until("ada: three")
                bob.type("four")
                ada.until("bob: four")
                assert bodies(bob.said)[:3] == ["one", "two", "three"]
                ada.until(r"\* live$")
                assert (ada.end(), bob.end()) == (0, 0)


def test_a_screen_of_any_size_shows_what_is_said_and_says_what_is_typed(up: Up) -> None:
    with Terminal(up.folder, "Seen/general", "--as", "ada") as ada:
        ada.until("Invite code")
        ada.type("\r")  # Enter: open it
        ada.until("live")
        ada.type("/invite\r")
        ada.until("Others join with")
        code = re.search(r"--invite (\w{20,})", ada.shown)
        assert code
        with Piped(up.folder, "Seen", "--as", "bob", "--invite", code[1]) as bob:
            bob.until(r"\* live")
            bob.type("Good morning, @ada")
            ada.until("Good morning, @ada")
            ada.until("1 for you")
            ada.type("\x1b")
            ada.type("Hello\r")
            bob.until("ada: Hello")
            for columns, rows in ((20, 5), (4, 2), (1, 1), (200, 60), (80, 24)):
                ada.resize(columns, rows)
            ada.type("\x1b[5~\x1b[6~\x1b[A\x1b[B\x1b[F")
            bob.type("שלום " + "w" * 900, "still there?")
            ada.until("still there?")
            ada.type("/quit\r")
            assert ada.exit_code() == 0
            assert ada.shown.rstrip().endswith("\x1b[?2004l"), "the terminal is left as it was"
