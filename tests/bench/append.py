"""How fast single-event commands are recorded, durably, beside the library's own recorder on the same server.

N clients each append one event and wait for the answer before the next. For the baseline N threads call the
recorder of the ``eventsourcing`` library, with as many connections as suits it best, on envelopes already encoded.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from commands.ports import Append
from domain.ballot import VoteCast
from domain.ids import ballot_id, derived
from infra.embedded import start_engines
from infra.event_store import GroupCommitStore, postgres_store
from infra.migrate import migrate
from infra.settings import load_settings
from schemas.envelope import Metadata

WAITING = (1, 16, 64, 256)
GOAL_RATIO = 5.0
GOAL_P99_MS = 15.0
SECONDS, SECONDS_LONG = 4.0, 20.0
WARM_UP_SECONDS = 0.5
BASELINE_CONNECTIONS = (1, 4, 16, 64)
"""The best of these counts: more than 64 only queue for the table's lock, with few there is less to wake."""


class Latencies:
    """Seconds from asking to the answer, of everything asked after the warm-up, in the order of answers."""

    def __init__(self, seconds: float) -> None:
        self.start = time.perf_counter() + WARM_UP_SECONDS
        self.end = self.start + seconds
        self.seconds = seconds
        self.taken: list[float] = []

    def timed(self, asked: float) -> bool:
        """Note what was just answered; whether there is time for more."""
        now = time.perf_counter()
        if asked >= self.start and now <= self.end:
            self.taken.append(now - asked)
        return now < self.end

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.taken) / self.seconds

    def quantile(self, part: float) -> float:
        """In milliseconds."""
        return 1000 * sorted(self.taken)[min(len(self.taken) - 1, int(len(self.taken) * part))] if self.taken else 0.0


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate_1`` to ``rate_256`` and ``p99_64``."""
    seconds = SECONDS_LONG if long else SECONDS
    ours, baseline = {}, {}
    with server() as conninfo:
        for waiting in WAITING:
            ours[waiting] = measure_ours(conninfo, waiting, seconds)
            baseline[waiting] = measure_baseline(conninfo, waiting, seconds / 3)
            for name, found in (("moot", ours[waiting]), ("eventsourcing", baseline[waiting])):
                sys.stderr.write(
                    f"{waiting:4} waiting  {name:13} {found.rate:8.0f}/s  p50 {found.quantile(0.5):6.2f} ms"
                    f"  p99 {found.quantile(0.99):6.2f} ms\n"
                )
    results = [_rate(waiting, ours[waiting].rate, baseline[waiting].rate) for waiting in WAITING]
    p99, theirs = ours[64].quantile(0.99), baseline[64].quantile(0.99)
    return [
        *results,
        {
            "name": "p99_64",
            "value": round(p99, 2),
            "unit": "ms",
            "baseline": round(theirs, 2),
            "ratio": round(theirs / p99, 2),
            "goal": f"at most {GOAL_P99_MS:.0f} ms",
            "holds": p99 <= GOAL_P99_MS,
        },
    ]


def _rate(waiting: int, ours: float, baseline: float) -> dict[str, Any]:
    ratio = ours / baseline
    judged = waiting == 64
    return {
        "name": f"rate_{waiting}",
        "value": round(ours),
        "unit": "events/s",
        "baseline": round(baseline),
        "ratio": round(ratio, 2),
        "goal": f"at least {GOAL_RATIO:.0f} x the library's recorder" if judged else "none; for comparison",
        "holds": ratio >= GOAL_RATIO if judged else True,
    }


@contextmanager
def server() -> Iterator[str]:
    """The conninfo of a PostgreSQL of its own that writes durably, with an empty log."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        settings = load_settings({}, data_dir=Path(folder), postgres_connections_max=2 * max(BASELINE_CONNECTIONS))
        with start_engines(settings) as engines:
            with psycopg.connect(engines.database_url, autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    (value,) = connection.execute(f"SHOW {setting}").fetchone() or ("missing",)
                    if value != "on":
                        raise RuntimeError(f"{setting} is {value}: what is measured would not be durable")
            migrate(engines.database_url)
            yield engines.database_url


def measure_ours(conninfo: str, waiting: int, seconds: float) -> Latencies:
    """The event store, by that many clients on one event loop."""
    store = postgres_store(conninfo, bytes(32))
    try:
        return uvloop.run(_clients(store, waiting, seconds))
    finally:
        store.close()


async def _clients(store: GroupCommitStore, waiting: int, seconds: float) -> Latencies:
    found = Latencies(seconds)
    community_id, author_id = derived("bench", "community"), derived("bench", "author")
    now = datetime.now(UTC)
    said = Metadata(derived("bench", "command"), derived("bench", "request"), None, author_id, now, now)

    async def client(voter_id: Any) -> None:
        more = True
        while more:
            target_id = derived("bench", uuid4().hex)
            asked = time.perf_counter()
            vote = VoteCast(voter_id, target_id, "post", target_id, community_id, author_id, 0, 1)
            await store.append([Append(ballot_id(voter_id, target_id), 0, (vote,))], said)
            more = found.timed(asked)

    await asyncio.gather(*(client(derived("bench", "voter", str(number))) for number in range(waiting)))
    return found


def measure_baseline(conninfo: str, waiting: int, seconds: float) -> Latencies:
    """The library's recorder, by that many threads, with the number of connections that suits it best."""
    sizes = sorted({min(size, waiting) for size in BASELINE_CONNECTIONS})
    return max((_threads(conninfo, waiting, size, seconds) for size in sizes), key=lambda found: found.rate)


def _threads(conninfo: str, waiting: int, connections: int, seconds: float) -> Latencies:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    named = [str(parts.get(name) or "") for name in ("dbname", "host", "port", "user", "password")]
    state = b'{"data":{%b},"meta":{%b}}' % (b"d" * 290, b"m" * 250)
    with PostgresDatastore(*named, pool_size=connections, connect_timeout=60) as datastore:
        recorder = PostgresApplicationRecorder(datastore, events_table_name="library_events")
        recorder.create_table()
        datastore.pool.wait()
        found = Latencies(seconds)
        with ThreadPoolExecutor(waiting) as threads:
            for running in [threads.submit(_recording, recorder, state, found) for _ in range(waiting)]:
                running.result()
        return found


def _recording(recorder: PostgresApplicationRecorder, state: bytes, found: Latencies) -> None:
    more = True
    while more:
        event = StoredEvent(UUID(bytes=uuid4().bytes), 1, "vote.cast@1", state)
        asked = time.perf_counter()
        recorder.insert_events([event])
        more = found.timed(asked)
