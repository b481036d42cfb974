"""How many events a second one worker, and two, bring from Kafka into rows, beside a raw Faust agent on the same topic.

The events are votes, and the workers keep the group of views that a vote moves: five of its six get rows, which go with
their checkpoints into a PostgreSQL with the settings of the embedded default. The workers are in their consumer group
before the clock starts. The raw agent takes batches and does nothing with them; it is measured before and after, and
the better of both is the baseline. Everything shares this machine's cores: broker, database, workers.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.embedded import start_engines
from infra.kafka.log import KafkaLog
from infra.migrate import migrate
from infra.postgres import connect
from infra.secrets import FILE_NAME, KEY_LENGTH, Secrets
from infra.settings import ROOT, load_settings
from infra.stack import start_stack
from projections.catalogue import GROUPS
from schemas.topics import THREADS
from streams.runner import LOCK
from tests.bench.relay import MASTER_KEY, fill
from tests.bench.serving import said
from tests.relay.world import declare, reached, relaying

GROUP = "votes"
EVENTS, EVENTS_LONG = 150_000, 800_000
RAW_EVENTS = 60_000
GOAL = 0.8
SECONDS_MAX = 300.0
_LOOK_SECONDS = 0.02


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate_1`` and ``rate_2``."""
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        start_engines(load_settings({}, data_dir=Path(folder) / "data")) as engines,
        start_stack(Path(folder) / "stack", ("kafka",)) as stack,
    ):
        url, servers = engines.database_url, stack.kafka.url
        environment = {"MOOT_DATABASE_URL": url, "MOOT_REDIS_URL": engines.redis_url, "MOOT_KAFKA_URL": servers}
        migrate(url)
        log = KafkaLog(servers)
        declare(log)
        head = fill(url, EVENTS_LONG if long else EVENTS)
        with relaying(url, log, limits=None) as relay:
            reached(relay, head, SECONDS_MAX)
        said(f"{head:,} votes are in Kafka")
        raws = [raw(servers)]
        one = folded(url, environment, Path(folder) / "one", 1, head)
        two = folded(url, environment, Path(folder) / "two", 2, head)
        raws.append(raw(servers))
    return [_result("rate_1", one, max(raws)), _result("rate_2", two, max(raws))]


def raw(servers: str) -> float:
    """The baseline."""
    command = [sys.executable, "-P", "-m", "tests.bench.workers_raw", servers, THREADS.name, str(RAW_EVENTS)]
    found = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True)
    rate = float(found.stdout)
    said(f"raw agent: {rate:,.0f} events/s")
    return rate


def folded(url: str, environment: dict[str, str], folder: Path, workers: int, head: int) -> float:
    """Events a second into rows, from the first transaction to the last."""
    with connect(url) as connection, ExitStack() as stack:
        for projection in GROUPS[GROUP]:
            connection.execute(f"DROP TABLE IF EXISTS views.{projection.name}".encode())
        connection.execute("DELETE FROM views.checkpoints")
        # As if the embedded runner were at work: the workers join their group, and wait for it to end.
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        for number in range(workers):
            stack.enter_context(_worker(folder / str(number), environment))
        connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        began, first = 0.0, 0
        deadline = time.monotonic() + SECONDS_MAX
        while not _complete(connection, head):
            read = _read(connection)
            if read and not began:
                began, first = time.perf_counter(), read
            if time.monotonic() > deadline:
                raise TimeoutError(f"{workers} workers did not fold {head:,} events in {SECONDS_MAX:.0f} s")
            time.sleep(_LOOK_SECONDS)
        # Offsets also count the marks of transactions, a few in a thousand records.
        part = 1 - first / _read(connection)
        rate = head * part / (time.perf_counter() - began)
    said(f"{workers} worker{'s' * (workers > 1)}: {rate:,.0f} events/s")
    return rate


def _read(connection: Any) -> int:
    """How many records the last of the views has had."""
    row = connection.execute(
        'SELECT min(read) FROM (SELECT sum(coalesce("offset", 0)) AS read FROM views.checkpoints GROUP BY projection) r'
    ).fetchone()
    return int(row[0] or 0)


def _complete(connection: Any, head: int) -> bool:
    row = connection.execute(
        "SELECT views.reached(%s)", ([projection.name for projection in GROUPS[GROUP]],)
    ).fetchone()
    return bool(row[0] >= head)


@contextmanager
def _worker(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A worker, which waits once the block is entered."""
    folder.mkdir(parents=True)
    keys = dict.fromkeys(Secrets.__struct_fields__, base64.b64encode(bytes(KEY_LENGTH)).decode())
    keys["master_key"] = base64.b64encode(MASTER_KEY).decode()
    (folder / FILE_NAME).write_text(json.dumps(keys))
    (folder / FILE_NAME).chmod(0o600)
    words = folder / "words"
    with words.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", "worker", GROUP],
            cwd=ROOT,
            env={**_environment(), **environment, "MOOT_DATA_DIR": str(folder), "MOOT_WORKER_RETRY_SECONDS_MAX": "0.2"},
            stderr=file,
        )
    try:
        deadline = time.monotonic() + SECONDS_MAX
        while "is waiting" not in words.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(words.read_text())
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def _result(name: str, rate: float, baseline: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(rate),
        "unit": "events/s",
        "baseline": round(baseline),
        "ratio": round(rate / baseline, 2),
        "goal": f"at least {GOAL:.0%} of a raw Faust agent that does nothing with what it takes",
        "holds": rate >= GOAL * baseline,
    }
