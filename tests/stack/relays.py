"""Relays as processes on real servers, a store that grows beneath them, and the audit at the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from infra.kafka.log import KafkaLog
from infra.migrate import migrate
from infra.postgres import connect
from infra.relay_store import Standing, standing
from infra.settings import ROOT
from infra.stack import Stack
from schemas.topics import TOPICS
from streams.log_audit import Audit, audit
from tests.relay.world import History, declare

SECONDS_MAX = 60.0
"""A test that waits longer than this has failed."""
LOAD_EVENTS = 60
"""Recorded at a time, about."""
LOAD_PAUSE_SECONDS = 0.03
BEHIND_MAX = 10_000
"""Events that may wait for the relay: more would take a slow machine longer to send than a test waits."""


class Fleet:
    """A database, the topics made anew, and any number of relays. A context manager."""

    def __init__(self, stack: Stack, conninfo: str, folder: Path, **settings: object) -> None:
        self.stack = stack
        self.conninfo = conninfo
        self._folder = folder
        self._settings = {f"MOOT_{name.upper()}": str(value) for name, value in settings.items()}
        self.relays: list[RelayProcess] = []
        migrate(conninfo)
        self.log = KafkaLog(stack.kafka.url)
        make_anew(self.log)
        self.history = History(conninfo)
        self._stopping = Event()
        self._load: Thread | None = None
        self._failed: Exception | None = None
        self.head = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_load()
        for relay in self.relays:
            relay.kill()
        self.history.close()

    def relay(self, **settings: object) -> "RelayProcess":
        """One more relay, with settings of its own."""
        mine = {f"MOOT_{name.upper()}": str(value) for name, value in settings.items()}
        relay = RelayProcess(self, self._folder / f"relay-{len(self.relays)}", {**self._settings, **mine})
        self.relays.append(relay)
        return relay

    def begin_load(self) -> None:
        """Record a lively history, as long as the test lasts and the relay is not too far behind."""
        self._load = Thread(target=self._grow, name="load")
        self._load.start()

    def end_load(self) -> None:
        """Stop recording. Raises what went wrong with it."""
        self._stopping.set()
        if self._load is not None:
            self._load.join()
        if self._failed is not None:
            raise self._failed

    def _grow(self) -> None:
        try:
            with connect(self.conninfo) as connection:
                while not self._stopping.wait(LOAD_PAUSE_SECONDS):
                    if standing(connection).behind < BEHIND_MAX:
                        self.head = self.history.grow(LOAD_EVENTS)
        except Exception as error:  # noqa: BLE001 - raised where the load ends
            self._failed = error

    def standing(self) -> Standing:
        """How far the relays have come, as ``moot log status`` says it."""
        with connect(self.conninfo) as connection:
            return standing(connection)

    def until(self, so: Callable[[Standing], bool], seconds: float = SECONDS_MAX) -> float:
        """Wait until it stands so; how long that took."""
        began = time.monotonic()
        while not so(found := self.standing()):
            assert time.monotonic() - began < seconds, f"{found}\n{self.said()}"
            time.sleep(0.02)
        return time.monotonic() - began

    def moves_on(self, seconds: float = SECONDS_MAX) -> float:
        """Wait until what is recorded by now is in Kafka; how long that took."""
        head = max(1, self.standing().head)
        return self.until(lambda found: found.sent >= head, seconds)

    def said(self) -> str:
        """What the relays said."""
        return "\n".join(f"{relay.folder.name}: {relay.said()}" for relay in self.relays)

    def finish(self) -> Audit:
        """End the load, wait until all is sent, and audit it: asserts that it is perfect."""
        self.end_load()
        self.until(lambda found: found.behind == 0)
        with connect(self.conninfo) as connection:
            found = audit(connection, self.log, erased_seconds_max=0)
        assert found.perfect, (found.findings, self.said())
        assert (found.behind, found.records, found.head) == (0, self.head, self.head)
        assert found.authors > 5
        return found


class RelayProcess:
    """``moot relay`` as a process."""

    def __init__(self, fleet: Fleet, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir()
        self._words = (folder / "words").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", "relay"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "MOOT_DATA_DIR": str(folder),
                "MOOT_DATABASE_URL": fleet.conninfo,
                "MOOT_REDIS_URL": fleet.stack.redis.url,
                "MOOT_KAFKA_URL": fleet.stack.kafka.url,
                "MOOT_RELAY_ELECTION_SECONDS": "0.2",
                "MOOT_RELAY_RETRY_SECONDS_MAX": "1",
                **settings,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def said(self) -> str:
        """Its words so far."""
        return (self.folder / "words").read_text(encoding="utf-8")

    def says(self, words: str, seconds: float = SECONDS_MAX, *, times: int = 1) -> None:
        """Wait until it has said that, so often."""
        deadline = time.monotonic() + seconds
        while self.said().count(words) < times:
            assert time.monotonic() < deadline, self.said()
            assert self.alive, self.said()
            time.sleep(0.02)

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        self._words.close()

    def stop(self, seconds: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)


def make_anew(log: KafkaLog) -> None:
    """Empty topics, whatever a test before has left in them."""
    names = [topic.name for topic in TOPICS]
    if there := [name for name in names if name in log.topics()]:
        log.delete_topics(there)
    deadline = time.monotonic() + SECONDS_MAX
    while any(name in log.topics() for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    declare(log)
    assert all(span == (0, 0) for span in log.ends(names).values())
