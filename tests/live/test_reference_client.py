"""The client that the protocol's authors wrote (npm ``graphql-ws``), against the served stack. Needs Node."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api.stack import Client, Stack
from tests.live.forum import a_community, submit_post, vote

FOLDER = Path(__file__).with_name("reference")

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="Node.js is missing: the reference client of graphql-transport-ws was not run",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked packages, by whatever registry this machine's npm uses."""
    folder = tmp_path_factory.mktemp("reference")
    for name in ("package.json", "package-lock.json", ".npmrc", "client.mjs"):
        shutil.copy(FOLDER / name, folder)
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Iterator[list[Any]]]:
    """What the client says, line by line."""
    with subprocess.Popen(["node", "client.mjs", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.kill()


@needs_node
def test_the_reference_client_is_content(installed: Path, stack: Stack) -> None:
    with Client(stack) as ada, Client(stack) as ben:
        ada.appear()
        ben.appear()
        post = submit_post(ada, a_community(ada))
        url = stack.url.replace("http", "ws", 1) + "/graphql"
        token = ada.http.headers["Authorization"]
        with running(installed, url, token, post) as lines:

            def heard(name: str) -> list[Any]:
                return next(line for line in lines if line[0] == name)

            assert heard("connected")
            assert heard("query") == ["query", {"data": {"viewer": {"account": {"name": ada.name}}}}]
            assert heard("query") == ["query", "complete"]
            assert heard("syntax") == ["syntax", "error", ["BAD_REQUEST"]]
            assert heard("unknown") == ["unknown", "error", ["BAD_REQUEST"]]
            assert heard("score") == ["score", {"data": {"scoreChanged": {"score": {"total": 0}}}}]
            vote(ben, post)
            assert heard("score") == ["score", {"data": {"scoreChanged": {"score": {"total": 1}}}}]
            viewer = stack.run(stack.moot.sessions.authenticate(token.removeprefix("Bearer ")))
            stack.run(stack.moot.sessions.end(viewer.session_id, viewer.account_id))
            closed = heard("closed")
            assert closed[1] == 4403
            assert closed[2].startswith("Forbidden")


@needs_node
def test_its_pings_are_answered(installed: Path, stack: Stack) -> None:
    with Client(stack) as ada:
        post = submit_post(ada.appear(), a_community(ada))
        with running(
            installed, stack.url.replace("http", "ws", 1) + "/graphql", ada.http.headers["Authorization"], post
        ) as lines:
            assert ["pongs"] in lines


def test_the_lockfile_names_no_registry() -> None:
    assert "resolved" not in (FOLDER / "package-lock.json").read_text()
