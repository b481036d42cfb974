"""Workers as processes on real servers, beside a relay and a store that grows, and the views they must arrive at."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from domain.ids import derived
from infra.event_store import GroupCommitStore
from infra.kafka.log import KafkaLog
from infra.keyring import KeysUnavailable
from infra.migrate import migrate
from infra.postgres import connect
from infra.rows import create_missing
from infra.secrets import FILE_NAME, KEY_LENGTH, Secrets
from infra.settings import ROOT
from infra.stack import Stack
from projections.catalogue import ALL
from streams.relay import Relay
from tests.equivalence.histories import Happened
from tests.equivalence.recording import recorded
from tests.equivalence.test_equivalence import all_rows, straight
from tests.relay.world import MASTER_KEY, SECONDS_MAX, History, reached, relaying
from tests.stack.relays import make_anew

CAUGHT_UP_SECONDS_MAX = 180.0
SESSION_SECONDS = 6.0
"""The least that a broker allows by default: a killed worker is missed soon. Where it matters, ours is used."""


class Kept(History):
    """A history that is remembered, to know what the views must be."""

    def __init__(self, conninfo: str, seed: int, weights: dict[str, int] | None) -> None:
        super().__init__(conninfo, seed, weights)
        self._conninfo = conninfo
        self.happened: list[Happened] = []

    def connect_again(self) -> None:
        """Go on after PostgreSQL was gone."""
        self._connection.close()
        self._connection = self._filler._connection = connect(self._conninfo)
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                self.store.codec.keyring.fetch({derived("nobody")})
            except KeysUnavailable:
                assert time.monotonic() < deadline
            else:
                return

    @property
    def store(self) -> GroupCommitStore:
        """The event store itself."""
        return self._store

    def grow(self, events: int) -> int:
        """Record so many more, about; the position of the last."""
        return self.add(self._world.happen(events))

    def add(self, happened: Iterable[Happened]) -> int:
        """Record these; the position of the last."""
        new = list(happened)
        self.happened += new
        position = self._filler.fill(new)
        self._connection.execute("SELECT pg_notify('stored_events', '')")
        return position


class Site:
    """A database, the topics made anew, a relay, and any number of workers. A context manager."""

    def __init__(
        self,
        stack: Stack,
        conninfo: str,
        folder: Path,
        *,
        seed: int = 1,
        weights: dict[str, int] | None = None,
        **settings: object,
    ) -> None:
        self.stack = stack
        self.conninfo = conninfo
        self._folder = folder
        self._settings = {f"MOOT_{name.upper()}": str(value) for name, value in settings.items()}
        self.workers: list[WorkerProcess] = []
        migrate(conninfo)
        with connect(conninfo) as connection:
            create_missing(connection, list(ALL.values()))
        self.log = KafkaLog(stack.kafka.url)
        make_anew(self.log)
        self.history = Kept(conninfo, seed, weights)
        self.head = 0
        self._relay: Relay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.end()
        self.history.close()

    @contextmanager
    def load(self, events: int = 20, pause_seconds: float = 0.05) -> Iterator[None]:
        """With a history that grows, so many events at a time."""
        stopping = Event()
        failed: list[Exception] = []

        def run() -> None:
            try:
                while not stopping.wait(pause_seconds):
                    self.head = self.history.grow(events)
            except Exception as error:  # noqa: BLE001 - raised below
                failed.append(error)

        thread = Thread(target=run, name="load")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
        if failed:
            raise failed[0]

    @contextmanager
    def relayed(self) -> Iterator[None]:
        """With a relay at work."""
        with relaying(self.conninfo, self.log) as self._relay:
            yield

    def grow(self, events: int) -> None:
        """Record so many more, about, and wait until they are in Kafka."""
        self.head = self.history.grow(events)
        assert self._relay is not None
        reached(self._relay, self.head, CAUGHT_UP_SECONDS_MAX)

    def worker(self, *groups: str) -> "WorkerProcess":
        """One more worker."""
        worker = WorkerProcess(self, self._folder / f"worker-{len(self.workers)}", groups)
        self.workers.append(worker)
        return worker

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment of a process of this site whose data directory that is."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "MOOT_DATA_DIR": str(folder),
            "MOOT_DATABASE_URL": self.conninfo,
            "MOOT_REDIS_URL": self.stack.redis.url,
            "MOOT_KAFKA_URL": self.stack.kafka.url,
            "MOOT_WORKER_SESSION_SECONDS": str(SESSION_SECONDS),
            **self._settings,
        }

    def folded(self, *names: str) -> int:
        """A number that grows with each commit of any of the views, or of those."""
        with connect(self.conninfo) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(position), 0) FROM views.checkpoints WHERE projection = ANY(%s)",
                (list(names or ALL),),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def about(self, name: str) -> float:
        """How far that view is, on the average of its partitions: it grows as evenly as anything does."""
        with connect(self.conninfo) as connection:
            row = connection.execute(
                "SELECT coalesce(avg(position), 0) FROM views.checkpoints WHERE projection = %s", (name,)
            ).fetchone()
        assert row is not None
        return float(row[0])

    def reached(self, names: Sequence[str] = tuple(ALL)) -> int:
        """The position up to which everything is in every view, or in each of those."""
        with connect(self.conninfo) as connection:
            row = connection.execute("SELECT views.reached(%s)", (list(names),)).fetchone()
        assert row is not None
        return int(row[0])

    def until(self, so: Callable[[], bool], seconds: float = SECONDS_MAX) -> float:
        """Wait until it is so; how long that took."""
        began = time.monotonic()
        while not so():
            assert time.monotonic() - began < seconds, self.said()
            time.sleep(0.02)
        return time.monotonic() - began

    def caught_up(self, seconds: float = CAUGHT_UP_SECONDS_MAX, names: Sequence[str] = tuple(ALL)) -> float:
        """Wait until all that is recorded is in every view, or in each of those; how long that took."""
        return self.until(lambda: self.reached(names) >= self.head, seconds)

    def assert_right(self) -> None:
        """Every row of every view is as if the log had been folded straight, and nothing is parked."""
        expected, found = straight(recorded(self.history.happened)), all_rows(self.conninfo)
        for name in ALL:
            assert found[name] == expected[name], f"{name}\n{self.said()}"
        with connect(self.conninfo) as connection:
            assert connection.execute("SELECT * FROM views.dead_letters LIMIT 3").fetchall() == []

    def said(self) -> str:
        """What the workers said."""
        return "\n".join(f"{worker.folder.name}: {worker.said()}" for worker in self.workers)


class WorkerProcess:
    """``moot worker`` as a process."""

    def __init__(self, site: Site, folder: Path, groups: tuple[str, ...]) -> None:
        self.folder = folder
        folder.mkdir()
        keys = {name: base64.b64encode(bytes(KEY_LENGTH)).decode() for name in Secrets.__struct_fields__}
        keys["master_key"] = base64.b64encode(MASTER_KEY).decode()
        (folder / FILE_NAME).write_text(json.dumps(keys))
        (folder / FILE_NAME).chmod(0o600)
        self._words = (folder / "words").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", "worker", *groups],
            cwd=ROOT,
            env=site.variables(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def said(self) -> str:
        """Its words so far, and what it logged that is not all right."""
        words = (self.folder / "words").read_text(encoding="utf-8")
        return words + "".join(
            f"{line}\n" for line in self.logged() if json.loads(line).get("level") not in {"info", "debug"}
        )

    def logged(self) -> list[str]:
        """Its log, a line each."""
        file = self.folder / "logs" / "worker.log"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def says(self, words: str, seconds: float = SECONDS_MAX, *, times: int = 1) -> None:
        """Wait until it has said that, so often."""
        deadline = time.monotonic() + seconds
        while self.said().count(words) < times:
            assert time.monotonic() < deadline, self.said()
            assert self.alive, self.said()
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def end(self) -> None:
        """However it is, it is no more afterwards."""
        if self.alive:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        self._words.close()


class Pauses:
    """How long a partition stood still although there was something to fold in it; sample it often."""

    def __init__(self, site: Site, names: Sequence[str]) -> None:
        self._site = site
        self._names = list(names)
        self._moved: dict[int, tuple[int, float]] = {}
        self.longest = 0.0

    def sample(self) -> None:
        """Look once."""
        with connect(self._site.conninfo) as connection:
            found = connection.execute(
                "SELECT c.partition, min(c.position), min(r.position) FROM views.checkpoints c"
                " JOIN log.relayed r USING (partition) WHERE c.projection = ANY(%s) GROUP BY c.partition",
                (self._names,),
            ).fetchall()
        now = time.monotonic()
        for partition, folded, sent in found:
            before, since = self._moved.get(partition, (-1, now))
            if folded != before or folded >= sent:
                self._moved[partition] = (folded, now)
            else:
                self.longest = max(self.longest, now - since)
