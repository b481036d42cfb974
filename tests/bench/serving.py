"""What benchmarks of servers share: an empty site of their own, those who act there, and processes that serve it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil
from msgspec import Struct

from commands.handling import Caller
from domain.command import Command
from domain.event import Id
from infra.composition import Moot
from infra.embedded import start_engines
from infra.migrate import migrate
from infra.secrets import load_or_create_secrets
from infra.settings import ROOT, Settings, load_settings

STOP_SECONDS_MAX = 30.0
LEAST = 0.01
"""What is measured as less counts as this: a ratio to nothing says nothing."""


@contextmanager
def empty_site(*, durable: bool = True) -> Iterator[Settings]:
    """Engines of this run's own, with the schema and secrets and nothing else, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as name:
        folder = Path(name)
        with start_engines(load_settings({}, data_dir=folder), durable=durable) as engines:
            migrate(engines.database_url)
            load_or_create_secrets(folder, has_data=False)
            yield engines.settings


async def act(moot: Moot, command: Command, by: Id | None = None) -> Id:
    """Have a command carried out; what it made, or was about."""
    return (await moot.commands.execute(command, Caller(by, Id(str(uuid4())), str(uuid4())))).subject_id


class Served(Struct):
    """A process that serves, and its port."""

    port: int
    process: psutil.Process

    @property
    def processor_seconds(self) -> float:
        """Of the process, so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def memory_bytes(self) -> int:
        """Of the process, as it resides now."""
        return int(self.process.memory_info().rss)


@contextmanager
def served(settings: Settings, module: str, *words: str, **variables: str) -> Iterator[Served]:
    """A process of a module of ``tests.bench`` that prints its port; ``variables`` are settings beside these."""
    database_url, redis_url = settings.engine_urls()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"tests.bench.{module}", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MOOT_DATA_DIR": str(settings.data_dir),
            "MOOT_DATABASE_URL": database_url,
            "MOOT_REDIS_URL": redis_url,
            **variables,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Served(int(process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS_MAX)


def percentile(values: Sequence[float], percent: int) -> float:
    """That percentile, in the unit of the values; at least ``LEAST``."""
    ordered = sorted(values)
    return max(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], LEAST)


def said(words: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {words}\n")
    sys.stderr.flush()
