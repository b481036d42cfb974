"""SIGKILL in the middle of writes: everything acknowledged is there, exactly once, whoever is killed."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from infra.settings import ROOT
from tests.serving import Person, Up, environment, moot

WRITERS = 4
WRITES_BEFORE_KILL = 60
"""Acknowledged writes of a round before the kill, so that it falls into full swing."""

SUBMIT = "mutation ($i: SubmitPostInput!) { r: submitPost(input: $i) { post { id } position errors { code } } }"


class Writers:
    """Post as fast as answers come, until the server is gone. Every post has an idempotency key of its own."""

    def __init__(self, person: Person, community: str, number: int) -> None:
        self.acknowledged: dict[str, str] = {}
        self.unanswered: list[str] = []
        self.enough = threading.Event()
        self._person, self._community, self._round = person, community, number
        self._lock = threading.Lock()

    def start(self, up: Up) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._write, args=(up, number), daemon=True) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        return threads

    def form(self, key: str) -> dict[str, str]:
        return {"communityId": self._community, "title": key, "idempotencyKey": key}

    def _write(self, up: Up, writer: int) -> None:
        with httpx.Client() as client:
            for number in range(100_000):
                key = f"round {self._round} writer {writer} post {number}"
                try:
                    answer = self._person.ask(up, SUBMIT, self.form(key), client)
                except (httpx.TransportError, AssertionError):
                    # No answer, or that the engines are gone: what was asked may have happened or not.
                    self.unanswered.append(key)
                    return
                with self._lock:
                    self.acknowledged[key] = answer["position"]
                    if len(self.acknowledged) >= WRITES_BEFORE_KILL:
                        self.enough.set()


def _kill_server(up: Up) -> None:
    up.kill()


def _kill_everything(up: Up) -> None:
    """As when the machine's kernel kills: both engines and the server at once, none with time for a word."""
    processes = [*up.engines, psutil.Process(up.process.pid)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    up.kill()
    psutil.wait_procs(processes, timeout=30)


def titles_in_the_log(folder: Path, **settings: str) -> Counter[str]:
    """How often each title stands in the log, which is what every view is made of."""
    found = moot("events", "tail", "-n", "1000000", "--output", "json", "--data-dir", str(folder), **settings)
    assert found.returncode == 0, found.stderr
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    return Counter(event["data"]["title"] for event in events if event["event"].startswith("post.submitted"))


def test_everything_acknowledged_is_there_once_after_sigkill(tmp_path: Path) -> None:
    rounds: list[Callable[[Up], None]] = [_kill_server, _kill_everything, _kill_server]
    acknowledged: dict[str, str] = {}
    unanswered: list[str] = []
    person, community = None, ""
    for number, kill in enumerate(rounds):
        up = Up(tmp_path)
        if person is None:
            person = Person(up, "ada")
            community = person.community(up, "killed")
        writers = Writers(person, community, number)
        threads = writers.start(up)
        assert writers.enough.wait(60), "the writers did not get going"
        kill(up)
        for thread in threads:
            thread.join(30)
        acknowledged |= writers.acknowledged
        unanswered += writers.unanswered
    assert person is not None
    with Up(tmp_path) as up:
        # Whatever was not answered is asked again with its key: it happens now, or it had happened already.
        for key in unanswered:
            person.ask(up, SUBMIT, writers.form(key))
        titles = titles_in_the_log(tmp_path)
        listed = moot("projections", "list", "--output", "json", "--data-dir", str(tmp_path))
    assert set(titles) == set(acknowledged) | set(unanswered)
    assert set(titles.values()) == {1}
    assert len(acknowledged) >= WRITES_BEFORE_KILL * len(rounds)
    assert {row["state"] for row in json.loads(listed.stdout)["projections"]} == {"in sync"}


def test_the_next_start_attaches_to_the_engines_that_a_killed_one_left(tmp_path: Path) -> None:
    up = Up(tmp_path)
    before = {process.pid for process in up.engines[:1]}
    up.kill()
    with Up(tmp_path) as again:
        assert {process.pid for process in again.engines[:1]} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_stops_everything_and_leaves_no_orphans(tmp_path: Path, number: signal.Signals) -> None:
    up = Up(tmp_path)
    engines = up.engines
    assert len(engines) > 2
    assert up.stop(number) == 0
    assert not [process for process in engines if process.is_running()]
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    with Up(tmp_path):
        log = (tmp_path / "logs" / "postgres.log").read_text()
    assert "not properly shut down" not in log


def test_a_stop_signal_during_the_start_leaves_no_orphans(tmp_path: Path) -> None:
    up = Up(tmp_path)
    assert up.stop() == 0
    for patience in (0.2, 0.6, 1.2):
        hasty = _started_and_stopped(tmp_path, patience)
        # Before Python is up, the signal ends it by itself, and nothing was started yet.
        assert hasty in (0, 130, -signal.SIGINT), hasty
        assert not (tmp_path / "postgres" / "postmaster.pid").exists()
        assert not (tmp_path / "run" / "redis.pid").exists()


def _started_and_stopped(folder: Path, patience: float) -> int:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli", "up", "--port", "0", "--data-dir", str(folder)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode
