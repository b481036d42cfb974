"""How fast an archive becomes history, views included, and how much memory that takes.

``moot import`` runs as it is typed, on an empty site, over a submission and a comment file of one synthetic month
(zstd, one submission to four comments). For the baseline each of some thousand records of the same month is read by
the same code and recorded by the library's own recorder, one transaction each, without any view. Memory is that of
the importing process and its children, sampled; its baseline is an import of a quarter of the records, which shows
whether it grows with the file.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from commands.archive import Submission, read_line
from infra.composition import utc_now
from infra.settings import ROOT
from tests.bench.append import server
from tests.imports.archives import Month, lines, write

RECORDS, RECORDS_LONG = 100_000, 1_000_000
BASELINE_RECORDS = 2_000
GOAL_RATE = 8_000
GOAL_MEMORY_MB = 500
SAMPLE_SECONDS = 0.05


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``rate`` and ``peak_memory``."""
    records = RECORDS_LONG if long else RECORDS
    baseline = measure_baseline()
    sys.stderr.write(f"one transaction a record, no views: {baseline:,.0f} records/s\n")
    _, quarter = measure(records // 4)
    rate, memory = measure(records)
    return [
        {
            "name": "rate",
            "value": round(rate),
            "unit": "records/s",
            "baseline": round(baseline),
            "ratio": round(rate / baseline, 2),
            "goal": f"at least {GOAL_RATE:,} records/s with the views caught up",
            "holds": rate >= GOAL_RATE,
        },
        {
            "name": "peak_memory",
            "value": round(memory / 1e6),
            "unit": "MB",
            "baseline": round(quarter / 1e6),
            "ratio": round(quarter / memory, 2),
            "goal": f"under {GOAL_MEMORY_MB} MB on a file of any length",
            "holds": memory < GOAL_MEMORY_MB * 1e6,
        },
    ]


def measure(records: int) -> tuple[float, float]:
    """Records a second and bytes at the peak, of an import of that many."""
    month = Month(2014, 6, posts=records // 5, comments=records - records // 5, authors=records // 5)
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        files = [
            write(Path(folder, "RS_2014-06.zst"), lines(month.submissions())),
            write(Path(folder, "RC_2014-06.zst"), lines(month.comments())),
        ]
        arguments = ["--data-dir", str(Path(folder, "data")), "--output", "json"]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", "import", *map(str, files), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        peak = _Peak(process.pid)
        printed, _ = process.communicate()
        memory = peak.result()
    summary = json.loads(printed)
    if process.returncode or summary["records"] != records:
        raise RuntimeError(f"the import failed: {summary}")
    sys.stderr.write(f"{records:,} records: {summary['rate']:,}/s, peak {memory / 1e6:,.0f} MB\n")
    return summary["rate"], memory


class _Peak:
    """Samples the memory of a process and the Python processes below it until it ends."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._peak = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def result(self) -> int:
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
            while self._process.status() != psutil.STATUS_ZOMBIE:
                processes = [self._process, *self._process.children(recursive=True)]
                self._peak = max(self._peak, sum(_python_memory(processes)))
                time.sleep(SAMPLE_SECONDS)


def _python_memory(processes: Sequence[psutil.Process]) -> list[int]:
    found = []
    for process in processes:
        try:
            if "python" in process.name():
                found.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return found


def measure_baseline() -> float:
    """Records a second, one by one through the library's own recorder."""
    month = Month(2014, 6, posts=BASELINE_RECORDS, comments=BASELINE_RECORDS)
    with server() as conninfo:
        parts = conninfo_to_dict(conninfo)
        named = [str(parts.get(name) or "") for name in ("dbname", "host", "port", "user", "password")]
        recorder = PostgresApplicationRecorder(PostgresDatastore(*named), events_table_name="baseline_import")
        recorder.create_table()
        start = time.perf_counter()
        every = chain(islice(month.submissions(), BASELINE_RECORDS // 5), month.comments())
        for line in islice(lines(every), BASELINE_RECORDS):
            record = read_line(line, now=utc_now())
            own = record.post_id if isinstance(record, Submission) else record.comment_id
            state = msgspec.json.encode(record)
            recorder.insert_events([StoredEvent(UUID(own), 1, type(record).__name__, state)])
        seconds = time.perf_counter() - start
        recorder.datastore.close()
        return BASELINE_RECORDS / seconds
