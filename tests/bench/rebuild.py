"""How fast views are rebuilt from the log, beside a transaction per event, and what a reader notices of the exchange.

``scores`` is rebuilt from a log of votes; all views from a mixed log, in which nine of ten events are votes and
comments, as on a site people use. Everything is counted: reading, decrypting, folding, loading, indexes, catching
up and the exchange. The log is durable on disk and PostgreSQL has the settings of the embedded default.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from domain.ballot import VoteCast
from domain.ids import ballot_id, derived
from infra.embedded import start_engines
from infra.event_store import GroupCommitStore, postgres_store
from infra.migrate import migrate
from infra.postgres import connect
from infra.rows import create_missing, read_checkpoints
from infra.settings import load_settings
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import Projection
from streams.batches import Batch, fold_batch
from streams.rebuild import Progress, RebuildSummary, rebuild
from tests.equivalence.histories import Happened, World
from tests.equivalence.recording import Filler

VOTES, VOTES_LONG = 1_000_000, 4_000_000
MIXED, MIXED_LONG = 1_000_000, 4_000_000
BASELINE_SECONDS = 3.0
SCORES_GOAL = 400_000
ALL_GOAL = 100_000
PAUSE_GOAL_MS = 100.0
MASTER_KEY = bytes(32)


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``scores_rate``, ``all_rate`` and ``switch_pause``."""
    with database() as conninfo:
        one_by_one, scores, _ = measure(conninfo, votes(VOTES_LONG if long else VOTES), [ALL["scores"]])
    with database() as conninfo:
        mixed = World(1).happen(MIXED_LONG if long else MIXED)
        all_one_by_one, everything, pause = measure(conninfo, mixed, list(ALL.values()))
    return [
        _rate("scores_rate", scores, one_by_one, SCORES_GOAL, "votes/s"),
        _rate("all_rate", everything, all_one_by_one, ALL_GOAL, "events/s"),
        {
            "name": "switch_pause",
            "value": round(pause, 1),
            "unit": "ms",
            "baseline": round(1000 * everything.seconds, 1),
            "ratio": round(1000 * everything.seconds / pause, 1),
            "goal": f"longest gap between answers to a reader polling throughout at most {PAUSE_GOAL_MS:.0f} ms;"
            " the baseline empties the tables first",
            "holds": pause <= PAUSE_GOAL_MS,
        },
    ]


def _rate(name: str, found: RebuildSummary, baseline: float, goal: int, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(found.rate),
        "unit": unit,
        "baseline": round(baseline),
        "ratio": round(found.rate / baseline, 1),
        "goal": f"at least {goal:,} {unit}; the baseline is a transaction per event",
        "holds": found.rate >= goal,
    }


@contextmanager
def database() -> Iterator[str]:
    """The conninfo of a PostgreSQL of its own, migrated and empty."""
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        start_engines(load_settings({}, data_dir=Path(folder))) as engines,
    ):
        migrate(engines.database_url)
        yield engines.database_url


def votes(count: int) -> Iterator[Happened]:
    """First votes of many people on fewer targets, some of them liked far better than others."""
    random = Random(2)
    voters = [derived("voter", str(number)) for number in range(20_000)]
    targets = [derived("target", str(number)) for number in range(20_000)]
    authors = [derived("author", str(number)) for number in range(2_000)]
    communities = [derived("community", str(number)) for number in range(50)]
    now = datetime(2025, 1, 1, tzinfo=UTC)
    for _ in range(count):
        now += timedelta(milliseconds=1)
        which = int(len(targets) * random.random() ** 2)
        voter, target = random.choice(voters), targets[which]
        event = VoteCast(
            voter,
            target,
            "post",
            target,
            communities[which % 50],
            authors[which % 2_000],
            0,
            random.choice([1, 1, 1, -1]),
        )
        yield Happened(ballot_id(voter, f"{target}{now}"), event, now, voter)  # type: ignore[arg-type]


def measure(conninfo: str, history: Iterator[Happened], views: list[Projection]) -> tuple[float, RebuildSummary, float]:
    """Events a second of a transaction per event, what a rebuild took, and the longest gap of a reader in ms."""
    store = postgres_store(conninfo, MASTER_KEY)
    try:
        with connect(conninfo) as connection:
            sys.stderr.write("filling the log …\n")
            Filler(connection, store.codec).fill(history)
            connection.execute("VACUUM ANALYZE log.stored_events")
            create_missing(connection, views)
        slow = one_by_one(conninfo, store, views)
        sys.stderr.write(f"a transaction per event: {slow:,.0f} events/s\n")
        summary = rebuild(conninfo, store, views, progress=Shown())
        sys.stderr.write(
            f"rebuilt {len(views)} views from {summary.events:,} events in {summary.seconds:.1f} s:"
            f" {summary.rate:,.0f} events/s\n"
        )
        # Once more, with a reader that takes as much of the machine as it can get.
        reader = Reader(conninfo, "scores")
        with reader:
            rebuild(conninfo, store, views)
        sys.stderr.write(f"{reader.answers:,} answers to a reader meanwhile, longest gap {reader.gap_ms:.1f} ms\n")
        return slow, summary, reader.gap_ms
    finally:
        store.close()


class Shown:
    """Progress on stderr, about twice a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        if time.perf_counter() >= self._next or progress.phase != "fold":
            self._next = time.perf_counter() + 0.5
            sys.stderr.write(
                f"  {progress.phase:6} {progress.position:>9,} of {progress.total:,} at {progress.rate:,.0f} events/s\n"
            )


def one_by_one(conninfo: str, store: GroupCommitStore, views: list[Projection]) -> float:
    """The slow replay: each event in a transaction of its own, for some seconds."""
    tables = {view.name: Table(view) for view in views}
    with connect(conninfo) as connection:
        position = read_checkpoints(connection)[views[0].name].position
        page = store.read_sync(position, 20_000)
        started = time.perf_counter()
        count = 0
        while time.perf_counter() < started + BASELINE_SECONDS and count < len(page):
            event = page[count]
            fold_batch(connection, tables, views, Batch([event], position, event.position))
            position = event.position
            count += 1
        return count / (time.perf_counter() - started)


class Reader:
    """A process that reads a view over and over, and notes the longest time without an answer."""

    def __init__(self, conninfo: str, view: str) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._stop = context.Event()
        self._process = context.Process(target=_poll, args=(theirs, self._stop, conninfo, view), daemon=True)
        self.answers = 0
        self.gap_ms = 0.0

    def __enter__(self) -> "Reader":
        self._process.start()
        self._ours.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.answers, self.gap_ms = self._ours.recv()
        self._process.join()


def _poll(pipe: Any, stop: Flag, conninfo: str, view: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        query = f"SELECT position FROM views.{view} LIMIT 1".encode()
        rows = connection.execute(query, prepare=True).fetchall()
        pipe.send("ready")
        answers, longest, last = 0, 0.0, time.perf_counter()
        while not stop.wait(0.001):
            rows = connection.execute(query, prepare=True).fetchall()
            if not rows:
                raise RuntimeError(f"views.{view} was empty for a moment")
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
            answers += 1
        pipe.send((answers, 1000 * longest))
