"""How fast the relay brings a backlog to Kafka, and how soon after its commit an event is acknowledged there.

A real broker and a PostgreSQL that writes durably; the relay is a process of its own. For the latency, commands are
recorded at a steady pace by the event store, and each is timed from the moment when its client was told that it is
committed until the broker has acknowledged the transaction that holds it. The baseline is the simplest relay there
could be: a producer of kafka-python that sends one record at a time and waits for all copies to acknowledge it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from kafka import KafkaProducer

from commands.ports import Append
from domain.ballot import VoteCast
from domain.ids import ballot_id, derived
from infra.embedded import start_engines
from infra.event_log import TopicState
from infra.event_store import postgres_store
from infra.kafka.limits import KafkaLimits
from infra.kafka.log import KafkaLog
from infra.log_records import outgoing
from infra.migrate import migrate
from infra.postgres import connect
from infra.settings import ROOT, load_settings
from infra.stack import start_stack
from schemas.envelope import Metadata
from schemas.topics import THREADS
from streams.topic_plan import apply, plan
from tests.bench.append import Latencies
from tests.bench.rebuild import votes
from tests.bench.serving import said
from tests.equivalence.recording import Filler

BACKLOG, BACKLOG_LONG = 200_000, 1_500_000
PACE = 1_000
"""Events a second while the latency is measured. A broker that has just started needs some seconds of it to be warm."""
SECONDS, SECONDS_LONG = 10.0, 60.0
WARM_UP_SECONDS = 6.0
BASELINE_SECONDS = 4.0
RATE_GOAL = 25_000
GOAL_MS = 50.0
SECONDS_MAX = 300.0
MASTER_KEY = bytes(32)
BASELINE_TOPIC = "bench.baseline"
BEGAN = datetime.now(UTC)


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate`` and ``p99_ack``."""
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        start_engines(load_settings({}, data_dir=Path(folder) / "data")) as engines,
        start_stack(Path(folder) / "stack", ("kafka",)) as stack,
    ):
        url, kafka_url = engines.database_url, stack.kafka.url
        migrate(url)
        log = KafkaLog(kafka_url)
        apply(log, plan(log.topics(), replicas=1, record_bytes_max=KafkaLimits().record_bytes_max), replicas=1)
        log.create_topic(BASELINE_TOPIC, TopicState(THREADS.partitions, 1, {}))
        head = fill(url, BACKLOG_LONG if long else BACKLOG)
        with relay(url, kafka_url) as process:
            rate = backlog(process, head)
            said(f"backlog: {rate:,.0f} events/s")
            taken = paced(url, process, head, SECONDS_LONG if long else SECONDS)
            said(f"live: {PACE}/s, p50 {quantile(taken, 0.5):.1f} ms, p99 {quantile(taken, 0.99):.1f} ms")
        theirs = one_by_one(url, kafka_url)
        said(f"one by one: {theirs.rate:,.0f} events/s, p99 {theirs.quantile(0.99):.1f} ms")
    p99 = quantile(taken, 0.99)
    return [
        {
            "name": "rate",
            "value": round(rate),
            "unit": "events/s",
            "baseline": round(theirs.rate),
            "ratio": round(rate / theirs.rate, 1),
            "goal": f"at least {RATE_GOAL:,} events/s",
            "holds": rate >= RATE_GOAL,
        },
        {
            "name": "p99_ack",
            "value": round(p99, 1),
            "unit": "ms",
            "baseline": round(theirs.quantile(0.99), 1),
            "ratio": round(theirs.quantile(0.99) / p99, 2),
            "goal": f"under {GOAL_MS:.0f} ms from commit to Kafka's acknowledgement at {PACE:,}/s; the baseline is one"
            " record sent alone",
            "holds": p99 < GOAL_MS,
        },
    ]


def fill(url: str, events: int) -> int:
    """Record so many votes; the position of the last."""
    store = postgres_store(url, MASTER_KEY)
    try:
        with connect(url) as connection:
            head = Filler(connection, store.codec).fill(votes(events))
            connection.execute("VACUUM ANALYZE log.stored_events")
            return head
    finally:
        store.close()


@contextmanager
def relay(url: str, kafka_url: str) -> Iterator["subprocess.Popen[str]"]:
    """A relay at work."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.bench.relay_server"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "MOOT_DATABASE_URL": url,
            "MOOT_REDIS_URL": "redis://127.0.0.1:1",
            "MOOT_KAFKA_URL": kafka_url,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate(timeout=30)


def acknowledged(process: "subprocess.Popen[str]", head: int) -> Iterator[tuple[int, int]]:
    """The last position of each transaction and when it was acknowledged, up to that head."""
    assert process.stdout is not None
    position = 0
    while position < head:
        words = process.stdout.readline().split()
        position, at = int(words[0]), int(words[1])
        yield position, at


def backlog(process: "subprocess.Popen[str]", head: int) -> float:
    """Events a second from the first transaction to the last."""
    (first, begin), *_, (_, end) = acknowledged(process, head)
    return (head - first) / (end - begin) * 1e9


def paced(url: str, process: "subprocess.Popen[str]", after: int, seconds: float) -> list[float]:
    """Seconds from each commit to the acknowledgement of its event."""
    store = postgres_store(url, MASTER_KEY)
    try:
        committed = uvloop.run(_appending(store, seconds))
    finally:
        store.close()
    taken: list[float] = []
    waiting = sorted(committed.items())
    number = 0
    for position, at in acknowledged(process, max(committed)):
        while number < len(waiting) and waiting[number][0] <= position:
            taken.append(max(0, at - waiting[number][1]) / 1e9)
            number += 1
    assert len(taken) == len(committed)
    return taken[int(PACE * WARM_UP_SECONDS) :]


async def _appending(store: Any, seconds: float) -> dict[int, int]:
    """When each position was committed, by the clock that the relay tells."""
    committed: dict[int, int] = {}
    community_id, author_id = derived("bench", "community"), derived("bench", "author")

    async def one(number: int) -> None:
        voter_id, target_id = derived("bench", "paced", str(number)), derived("bench", str(number % 500))
        vote = VoteCast(voter_id, target_id, "post", target_id, community_id, author_id, 0, 1)
        said = Metadata(voter_id, voter_id, None, voter_id, BEGAN, BEGAN)
        position = await store.append([Append(ballot_id(voter_id, target_id), 0, (vote,))], said)
        committed[position] = time.monotonic_ns()

    began, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as tasks:
        while (now := time.monotonic() - began) < seconds + WARM_UP_SECONDS:
            while number < now * PACE:
                tasks.create_task(one(number))
                number += 1
            await asyncio.sleep(0.001)
    return committed


def one_by_one(url: str, kafka_url: str) -> Latencies:
    """The baseline."""
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM log.stored_events"
            " ORDER BY notification_id LIMIT 50000"
        ).fetchall()
    records = outgoing(rows).records
    producer = KafkaProducer(bootstrap_servers=kafka_url, acks="all")
    found = Latencies(BASELINE_SECONDS)
    for record in records:
        asked = time.perf_counter()
        producer.send(
            BASELINE_TOPIC, record.value, record.key, record.headers, record.partition, record.timestamp_ms
        ).get()
        if not found.timed(asked):
            break
    producer.close()
    return found


def quantile(taken: list[float], part: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(taken)[min(len(taken) - 1, int(len(taken) * part))]
