"""The first steps of the README on a fleet of real processes: its own lines, run in the order in which it has them."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from infra.postgres import connect
from infra.settings import ROOT, Settings
from infra.stack import Stack
from tests.databases import database_on
from tests.stack.roles import Role, Roles, until

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOOT = ("./task", "moot", "--")
LOG = "SELECT notification_id, originator_id::text, originator_version, topic, state FROM log.stored_events ORDER BY 1"


def lines(title: str, first: str, last: str) -> list[list[str]]:
    """The words of the commands of a section, from the one that begins so to the one that begins so."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    shown = [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("    ")]
    commands = [words[len(MOOT) :] for words in shown if tuple(words[: len(MOOT)]) == MOOT]
    begins = [" ".join(words) for words in commands]
    return commands[begins.index(first) : begins.index(last) + 1]


def exported(title: str) -> dict[str, str]:
    """The variables that a section has one export."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    found = [shlex.split(line, comments=True)[1:] for line in section.splitlines() if line.startswith("    export ")]
    return dict(word.split("=", 1) for words in found for word in words)


class Terminal:
    """What somebody types, with the exports of the README and nothing else."""

    def __init__(self, fleet: Roles) -> None:
        self._fleet = fleet

    def run(self, words: list[str], *, code: int = 0) -> str:
        """What a command writes to standard output."""
        done = self._fleet.run(*words)
        assert done.returncode == code, (words, done.stderr, done.stdout)
        return done.stdout

    @contextmanager
    def running(self, words: list[str]) -> Iterator["subprocess.Popen[str]"]:
        """A command that runs until Ctrl-C."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", *words],
            cwd=ROOT,
            env=self._fleet.variables | {"MOOT_DATA_DIR": str(self._fleet.folder / "tools")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            try:
                yield process
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0
            finally:
                process.kill()


def test_the_first_steps_on_a_fleet(stack: Stack, server_database: str, tmp_path: Path) -> None:
    exports = exported("A fleet")
    with Roles(stack, server_database, tmp_path, cassandra=True) as fleet:
        given = {name for name in fleet.variables if name.startswith("MOOT_")} - {"MOOT_LOG_TO", "MOOT_PORT"}
        assert given | {"MOOT_API_URL"} == exports.keys(), "this test has others than the README"
        terminal = Terminal(fleet)
        for words in lines("A fleet", "secrets create", "topics apply"):
            terminal.run(words)
        roles = [_started(fleet, words) for words in lines("A fleet", "api", "worker")]
        assert exports["MOOT_API_URL"] == f"http://127.0.0.1:{Settings.model_fields['port'].default}"
        fleet.variables["MOOT_API_URL"] = roles[0].url
        until(lambda: all(role.ready() for role in roles[1:]))
        _first_session(terminal, lines("A fleet", "post Hello, fleet --as ada", "post Hello, fleet --as ada")[0])
        _tools(terminal)
        assert {role.stop() for role in roles} == {0}
        _restored(stack, fleet, terminal, server_database)


def _started(fleet: Roles, words: list[str]) -> Role:
    assert words in (["api"], ["relay"], ["worker"])
    return fleet.api() if words == ["api"] else fleet.relay() if words == ["relay"] else fleet.worker()


def _first_session(terminal: Terminal, hello: list[str]) -> None:
    """What the first session shows with one machine, begun with the post of the fleet's."""
    post, vote, watch, explain = lines("A first session", "post Hello, Moot --as ada", "explain post ID")
    assert len(terminal.run(hello).split()) == 1
    post_id = terminal.run(post).strip()
    assert terminal.run(vote) == "1\n"
    with terminal.running(watch) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[1:] == "score 1 up 1 down 0".split()
        # "Vote again from a third terminal."
        assert terminal.run(["vote", "down", "--as", "bob"]) == "-1\n"
        assert watching.stdout.readline().split()[1:] == "score -1 up 0 down 1".split()
    # "post printed ID"
    explain = [post_id if word == "ID" else word for word in explain]
    told = terminal.run(explain)
    assert (told.count("post.submitted@1"), told.count("vote.cast@1")) == (1, 2), told
    assert "place 1 of 2" in told, told
    found = _json(terminal, explain)
    assert [(why["event"], why["score"]) for why in found["events"]] == [
        ("post.submitted@1", 0),
        ("vote.cast@1", 1),
        ("vote.cast@1", -1),
    ]
    assert (found["now"]["down"], found["now"]["agrees"], found["now"]["parked"]) == (1, True, False)


def _tools(terminal: Terminal) -> None:
    """What the section shows next, beside the roles that run."""
    rebuild, status, audit = lines("A fleet", "projections rebuild --all", "log audit")
    assert terminal.run(rebuild)
    compared = _json(terminal, [*rebuild, "--compare"])["views"]
    assert {view["differences"] for view in compared} == {0}
    until(lambda: _json(terminal, status)["behind"] == 0)
    assert _json(terminal, status)["leader"]
    assert terminal.run(audit).split()[-1] == "yes"


def _restored(stack: Stack, fleet: Roles, terminal: Terminal, lost: str) -> None:
    """The last line, when the database is lost: another one, with nothing in it, has the same log again."""
    (restore,) = lines("A fleet", "log restore", "log restore")
    refused = fleet.run(*restore)
    assert (refused.returncode, "nothing is overwritten" in refused.stderr) == (3, True), refused.stderr
    with database_on(stack.postgres.url) as empty:
        fleet.variables["MOOT_DATABASE_URL"] = make_conninfo(empty)
        assert terminal.run(restore)
        with connect(lost) as before, connect(empty) as after:
            assert after.execute(LOG).fetchall() == before.execute(LOG).fetchall()
        fleet.variables["MOOT_DATABASE_URL"] = lost


def _json(terminal: Terminal, words: list[str]) -> Any:
    return json.loads(terminal.run([*words, "--output", "json"]))
