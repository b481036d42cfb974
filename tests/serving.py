"""A real ``moot up`` as a process, for tests that start, stop and kill it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from infra.settings import ROOT

START_SECONDS_MAX = 90.0
"""How long a start may take on a machine that runs other tests at the same time."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of Moot, and these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MOOT_")} | more


def moot(*words: str, timeout: float = START_SECONDS_MAX, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run one ``moot`` command to its end, without a terminal."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "streams.cli", *words],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT), **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Up:
    """``moot up --output json`` on a free port; serves once this is made."""

    def __init__(self, folder: Path, *words: str, **more: str) -> None:
        self.folder = folder
        options = ["--data-dir", str(folder), "--output", "json", *(words or ("--port", "0"))]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", "up", *options],
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), MOOT_POSITION_WAIT_SECONDS_MAX="30", **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"moot up did not serve: {self.process.communicate(timeout=30)[1]}")
        self.place: dict[str, Any] = json.loads(line)

    @property
    def engines(self) -> list[psutil.Process]:
        """The processes of PostgreSQL and Redis, theirs included."""
        mains = [psutil.Process(int((self.folder / path).read_text().split()[0])) for path in PID_FILES]
        return [process for main in mains for process in (main, *main.children(recursive=True))]

    def kill(self) -> None:
        """SIGKILL the server and nothing else."""
        self.process.kill()
        self.process.communicate(timeout=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; gives the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def __enter__(self) -> "Up":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        moot("stop", "--data-dir", str(self.folder))


PID_FILES = ("postgres/postmaster.pid", "run/redis.pid")


class Person:
    """Somebody signed up over the API of a running ``Up``. The token stays good across restarts."""

    def __init__(self, up: Up, name: str) -> None:
        self.token: str | None = None
        form = {"name": name, "email": f"{name}@example.org", "password": "correct horse battery"}
        answer = self.ask(
            up, "mutation ($i: SignUpInput!) { r: signUp(input: $i) { accessToken errors { code } } }", form
        )
        self.token = answer["accessToken"]

    def ask(self, up: Up, query: str, value: dict[str, Any], client: httpx.Client | None = None) -> dict[str, Any]:
        """What the mutation aliased ``r`` answers to the input ``$i``; errors of any kind fail."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        post = client.post if client is not None else httpx.post
        response = post(
            up.place["graphql"], json={"query": query, "variables": {"i": value}}, headers=headers, timeout=30
        )
        body = response.json()
        assert "errors" not in body, body
        found: dict[str, Any] = body["data"]["r"]
        assert not found["errors"], found
        return found

    def community(self, up: Up, name: str) -> str:
        """Make a community; gives its id."""
        what = "r: createCommunity(input: $i) { community { id } errors { code } }"
        query = f"mutation ($i: CreateCommunityInput!) {{ {what} }}"
        identity: str = self.ask(up, query, {"name": name})["community"]["id"]
        return identity
