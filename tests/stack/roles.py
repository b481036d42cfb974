"""A whole fleet of processes on real servers: any number of each role, set up as an operator does it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from infra.kafka.log import KafkaLog
from infra.settings import ROOT
from infra.stack import Stack
from infra.stack.cassandra import KEYSPACE
from infra.stack.ports import free_ports
from schemas.topics import TOPICS
from tests.serving import environment

SECONDS_MAX = 60.0
"""A test that waits longer than this has failed."""


def until(what: Callable[[], Any], seconds: float = SECONDS_MAX, pause: float = 0.05) -> Any:
    """What it gives, once it gives something; what raises is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found, error = what(), None
        except (AssertionError, OSError, httpx.HTTPError, KeyError) as failure:
            found, error = None, failure
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {found!r}") from error
        time.sleep(pause)


class Role:
    """One process of a fleet."""

    def __init__(self, name: str, words: list[str], variables: dict[str, str], folder: Path) -> None:
        self.name = name
        (port,) = free_ports(1)
        self.metrics_url = f"http://127.0.0.1:{port}"
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{name}.log"
        self.url = ""
        self._said = self.log.open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", *words],
            cwd=ROOT,
            env=variables | {"MOOT_METRICS_PORT": str(port), "MOOT_DATA_DIR": str(folder / name)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def line(self) -> Any:
        """The next line that it says, as JSON."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-3000:]
        return json.loads(line)

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series now."""
        wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        series = f"{name}{{{wanted}}} " if wanted else f"{name} "
        text = httpx.get(f"{self.metrics_url}/metrics", timeout=10).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(series)), None)

    def ready(self) -> bool:
        """What it says of itself."""
        return httpx.get(f"{self.metrics_url}/readyz", timeout=10).status_code == 200

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it. Gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._said.close()
        return self.process.returncode


class Roles:
    """The fleet. A context manager: leaving it ends all processes. Set up once it is made."""

    def __init__(
        self,
        stack: Stack,
        conninfo: str,
        folder: Path,
        *,
        proxied: bool = False,
        cassandra: bool = False,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.roles: list[Role] = []
        database = stack.environment(proxied=proxied) | {"MOOT_DATABASE_URL": conninfo}
        url = database.pop("MOOT_CASSANDRA_URL", "")  # a bench has none
        if cassandra:  # others use the same one, and their messages have the same ids
            database["MOOT_CASSANDRA_URL"] = f"{url.removesuffix(KEYSPACE)}t_{uuid4().hex}"
        self.variables = environment(
            **database,
            MOOT_SECRETS_FILE=str(folder / "secrets.json"),
            MOOT_LOG_TO="stderr",
            MOOT_PORT="0",
            PYTHONPATH=str(ROOT),
            **{f"MOOT_{name.upper()}": str(value) for name, value in settings.items()},
        )
        _remove_topics(KafkaLog(stack.kafka.url))
        self.stack = stack

    def run(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """One command of the fleet, to its end."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "streams.cli", *words],
            cwd=ROOT,
            env=self.variables | {"MOOT_DATA_DIR": str(self.folder / "tools")} | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def set_up(self) -> Self:
        """What is done once: secrets, schema, topics."""
        for words in (("secrets", "create"), ("migrate",), ("topics", "apply")):
            done = self.run(*words)
            assert done.returncode == 0, done.stderr
        return self

    def api(self, **more: str) -> Role:
        """One more API process, with these variables besides; it answers."""
        role = self._begin("api", "api", "--output", "json", **more)
        role.url = role.line()["api"]
        return role

    def relay(self) -> Role:
        """One more relay."""
        return self._begin("relay", "relay")

    def worker(self, *groups: str) -> Role:
        """One more worker."""
        return self._begin("worker", "worker", *groups)

    def findings(self) -> dict[str, dict[str, Any]]:
        """What the doctor finds, by check. PostgreSQL flushes nothing to disk in tests, for speed: no fault here."""
        found = {one["check"]: one for one in json.loads(self.run("doctor", "--output", "json").stdout)}
        if found["postgresql"]["found"].endswith("fsync is off"):
            found["postgresql"]["ok"] = True
        return found

    def _begin(self, name: str, *words: str, **more: str) -> Role:
        role = Role(f"{name}-{len(self.roles)}", list(words), self.variables | more, self.folder / "roles")
        self.roles.append(role)
        return role

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for role in self.roles:
            role.stop()
        if kind is not None:
            for role in self.roles:
                sys.stderr.write(f"\n--- {role.name}\n{role.log.read_text()[-2500:]}\n")


def _remove_topics(log: KafkaLog) -> None:
    """Those of Moot, whatever a test before has left in them."""
    names = [topic.name for topic in TOPICS]
    if there := [name for name in names if name in log.topics()]:
        log.delete_topics(there)
    until(lambda: not any(name in log.topics() for name in names))


def proxied(conninfo: str, stack: Stack) -> str:
    """The same database behind the fault proxy."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - of this alone

    there: dict[str, Any] = conninfo_to_dict(stack.postgres.proxied_url)
    return make_conninfo(conninfo, host=there["host"], port=there["port"])


__all__ = ["Role", "Roles", "os", "proxied", "until"]
