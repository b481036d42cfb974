"""An engine that is killed under a running server: it comes back unaided, and nothing acknowledged is lost."""

import json
import signal
import threading
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serving import PID_FILES, Person, Up, moot

SUBMIT = "mutation ($i: SubmitPostInput!) { r: submitPost(input: $i) { post { id } position errors { code } } }"
WRITES = 20
"""Acknowledged before a kill and again after it."""
SECONDS_MAX = 60.0


class Writer:
    """Posts one after the other, each until it is acknowledged, with the same key: refused meanwhile, never lost."""

    def __init__(self, up: Up, person: Person, community: str) -> None:
        self.acknowledged: list[str] = []
        self.over = threading.Event()
        self._more = threading.Condition()
        self._up, self._person, self._community = up, person, community
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def wait_for_more(self, count: int) -> None:
        wanted = len(self.acknowledged) + count
        with self._more:
            assert self._more.wait_for(lambda: len(self.acknowledged) >= wanted, SECONDS_MAX), "no writes got through"

    def stop(self) -> None:
        self.over.set()
        self._thread.join(SECONDS_MAX)

    def _write(self) -> None:
        with httpx.Client() as client:
            while not self.over.is_set():
                key = f"post {len(self.acknowledged)}"
                form = {"communityId": self._community, "title": key, "idempotencyKey": key}
                try:
                    self._person.ask(self._up, SUBMIT, form, client)
                except (httpx.TransportError, AssertionError):
                    self.over.wait(0.1)
                    continue
                with self._more:
                    self.acknowledged.append(key)
                    self._more.notify_all()


def _main(folder: Path, engine: str) -> psutil.Process:
    return psutil.Process(int((folder / engine).read_text().split()[0]))


def test_killed_engines_come_back_unaided_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        person = Person(up, "ada")
        writer = Writer(up, person, person.community(up, "killed"))
        for engine in PID_FILES:
            writer.wait_for_more(WRITES)
            killed = _main(tmp_path, engine)
            killed.send_signal(signal.SIGKILL)
            # Redis being gone does not stop posts, so what is waited for is also that there is another process.
            psutil.wait_procs([killed], timeout=SECONDS_MAX)
            writer.wait_for_more(WRITES)
            _wait_for_another(tmp_path, engine, killed.pid)
        writer.wait_for_more(WRITES)
        writer.stop()
        assert Person(up, "bob").token
        assert moot("doctor", "--data-dir", str(tmp_path)).returncode == 0
        found = moot("events", "tail", "-n", "1000000", "--output", "json", "--data-dir", str(tmp_path))
        assert up.stop() == 0
    events = [json.loads(line) for line in found.stdout.splitlines()]
    titles = Counter(event["data"]["title"] for event in events if event["event"].startswith("post.submitted"))
    assert set(writer.acknowledged) <= set(titles)
    assert set(titles.values()) == {1}


def _wait_for_another(folder: Path, engine: str, before: int) -> None:
    """Return once another process has taken the place of that one."""
    pause = threading.Event()
    for _ in range(int(SECONDS_MAX / 0.2)):
        try:
            if _main(folder, engine).pid != before:
                return
        except (OSError, IndexError, ValueError, psutil.NoSuchProcess):
            pass
        pause.wait(0.2)
    pytest.fail(f"{engine} did not come back")


def test_an_engine_that_does_not_stay_ends_it_with_a_clear_message(tmp_path: Path) -> None:
    up = Up(tmp_path, MOOT_ENGINE_RESTARTS_MAX="0")
    _main(tmp_path, PID_FILES[1]).send_signal(signal.SIGKILL)
    _, said = up.process.communicate(timeout=SECONDS_MAX)
    assert up.process.returncode == 1
    assert "Redis exited, after 0 restarts within 60 s." in said
    assert "\nfix: Correct the cause" in said
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
