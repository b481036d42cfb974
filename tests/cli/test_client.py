"""The first session's client where things do not go well: views that are behind, answers that are lost, refusals."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streams.cli.chat import chat
from streams.cli.client import VIEWS_ATTEMPTS, Client
from streams.cli.console import OK, PENDING, Output, Refused
from streams.cli.post import post
from streams.cli.vote import Way, vote
from streams.cli.watch import watch

SIGNED = {"accessToken": "token", "errors": []}
POSTED = {"post": {"id": "the-post", "title": "Hello", "score": {"total": 0}}, "position": "p", "errors": []}
UNSEEN = {"post": None, "position": "p", "errors": []}
VOTED = {"target": {"id": "the-post", "score": {"total": 1}}, "position": "p", "errors": []}


def refused(code: str) -> dict[str, Any]:
    """An answer that says no."""
    return {"accessToken": None, "post": None, "errors": [{"code": code, "message": f"No: {code}."}]}


class Api:
    """An API that gives the answers it was told to, the last of a field again and again, and keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {
            "signIn": [SIGNED], "signUp": [SIGNED], "community": [{"id": "the-place"}], "submitPost": [POSTED],
            "castVote": [VOTED],
        }  # fmt: skip
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def of(self, field: str) -> list[dict[str, Any]]:
        """The inputs of a mutation, each time that it was sent."""
        return [variables.get("input", {}) for name, variables in self.asked if name == field]

    def answer(self, body: dict[str, Any]) -> bytes | None:
        """The answer to one request; ``None``: the connection breaks."""
        field = next(name for name in self.answers if f"{name}(" in body["query"])
        self.asked.append((field, body["variables"]))
        answers = self.answers[field]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return None if found == "lost" else json.dumps({"data": {field: found}}).encode()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API on a port of its own, which the client is told of."""
    served = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = served.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if answer is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("MOOT_API_URL", f"http://127.0.0.1:{server.server_port}")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def post_hello(folder: Path) -> int:
    """``moot post Hello --as ada``."""
    return post("Hello", account="ada", data_dir=folder)


def test_a_post_that_the_views_have_not_seen_is_asked_for_again(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["submitPost"] = [UNSEEN, POSTED]
    assert post_hello(tmp_path) == OK
    assert capsys.readouterr().out == "the-post\n"
    first, again = api.of("submitPost")
    assert first == again
    assert first["idempotencyKey"]
    assert Client(tmp_path).saved.post_id == "the-post"


def test_views_that_stay_behind_are_named_and_nothing_is_posted_twice(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["submitPost"] = [UNSEEN]
    assert post_hello(tmp_path) == PENDING
    said = capsys.readouterr()
    assert said.out == ""
    assert "moot projections list" in said.err
    assert len(api.of("submitPost")) == VIEWS_ATTEMPTS
    api.answers["submitPost"] = [POSTED]
    assert post_hello(tmp_path) == OK
    assert len({form["idempotencyKey"] for form in api.of("submitPost")}) == 1


def test_the_same_command_after_a_lost_answer_is_the_same_wish(api: Api, tmp_path: Path) -> None:
    api.answers["submitPost"] = ["lost", POSTED]
    with pytest.raises(OSError, match="closed connection"):
        post_hello(tmp_path)
    assert post_hello(tmp_path) == OK
    assert post_hello(tmp_path) == OK
    lost, found, another = (form["idempotencyKey"] for form in api.of("submitPost"))
    assert lost == found != another


@pytest.mark.parametrize(
    "other",
    [
        lambda folder: post("Bye", account="ada", data_dir=folder),
        lambda folder: post("Hello", account="bob", data_dir=folder),
    ],
)
def test_another_wish_is_another_one(api: Api, tmp_path: Path, other: Callable[[Path], int]) -> None:
    api.answers["submitPost"] = [UNSEEN]
    assert post_hello(tmp_path) == other(tmp_path) == PENDING
    assert len({form["idempotencyKey"] for form in api.of("submitPost")}) == 2


def test_a_refusal_ends_a_wish(api: Api, tmp_path: Path) -> None:
    api.answers["submitPost"] = [refused("TOO_LONG"), POSTED]
    with pytest.raises(Refused):
        post_hello(tmp_path)
    assert post_hello(tmp_path) == OK
    first, second = (form["idempotencyKey"] for form in api.of("submitPost"))
    assert first != second


def test_a_vote_that_the_views_have_not_seen_shows_no_score(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["castVote"] = [{"target": None, "position": "p", "errors": []}]
    assert vote(Way.UP, "the-post", account="bob", data_dir=tmp_path, output=Output.TABLE) == PENDING
    assert capsys.readouterr().out == ""
    api.answers["castVote"] = [VOTED]
    assert vote(Way.UP, "the-post", account="bob", data_dir=tmp_path, output=Output.TABLE) == OK
    assert capsys.readouterr().out == "1\n"


def test_a_community_that_the_views_have_not_seen_is_asked_for_again(api: Api, tmp_path: Path) -> None:
    api.answers = {
        "createCommunity": [{"community": None, "errors": []}, {"community": {"id": "made"}, "errors": []}]
    } | api.answers
    api.answers["community"] = [None]
    assert post_hello(tmp_path) == OK
    assert [form["communityId"] for form in api.of("submitPost")] == ["made"]
    assert len({form["idempotencyKey"] for form in api.of("createCommunity")}) == 1


def test_only_wrong_credentials_lead_to_signing_up(api: Api, tmp_path: Path) -> None:
    Client(tmp_path).become("ada")
    api.answers["signIn"] = [refused("TOO_MANY_REQUESTS"), refused("TOO_BUSY"), refused("CREDENTIALS_INVALID")]
    for code in ("TOO_MANY_REQUESTS", "TOO_BUSY"):
        with pytest.raises(Refused, match=code):
            Client(tmp_path).become("ada")
    assert len(api.of("signUp")) == 1
    Client(tmp_path).become("ada")
    assert len(api.of("signUp")) == 2


@pytest.mark.parametrize("command", [post, vote, watch, chat])
def test_who_asks_for_help_is_told_both_places_that_a_command_works_against(command: Callable[..., int]) -> None:
    said = " ".join((command.__doc__ or "").split())
    assert "Needs a running moot up, or the API of a fleet (MOOT_API_URL)." in said
