"""How long ``./task up`` takes to serve, dependencies installed, and the memory of its processes when idle.

The baseline starts the same PostgreSQL and Redis on a data directory of their own and an empty Starlette behind the
same server: what nobody who serves anything over these engines goes below. Times are from the start of the process
to its first answer, on a data directory that was set up before; the first start of all is measured beside it.
Memory is the proportional set size of the whole tree of processes (shared pages counted once), the engines included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from infra.failures import Failure
from infra.settings import ROOT

SECONDS_GOAL = 6.0
IDLE_SECONDS = 3.0
"""After the first answer, before memory is measured."""
STARTS = 5

_BARE = """
import asyncio, json, os, signal, sys
from pathlib import Path
import uvicorn, uvloop
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from infra.embedded import start_engines
from infra.settings import load_settings
from streams.cli.preflight import listen

# uvicorn raises the signal again once it has stopped; the engines are to be stopped after that.
signal.signal(signal.SIGTERM, signal.default_int_handler)
settings = load_settings(data_dir=Path(sys.argv[1]), port=0)
with start_engines(settings), listen(settings, exactly=True) as listener:
    async def answer(_):
        return PlainTextResponse("ok")
    app = Starlette(routes=[Route("/graphql", answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, loop="none", http="httptools", ws="none", log_config=None))
    port = listener.getsockname()[1]
    print(json.dumps({"graphql": f"http://127.0.0.1:{port}/graphql"}), flush=True)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        pass
"""


class NotServing(Failure):
    """What was started ended before it served."""


class _Started:
    """One start: the seconds to the first answer, and the memory in MB afterwards if asked for."""

    def __init__(self, command: Sequence[str], folder: Path, *, idle: bool = False) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MOOT_")}
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise NotServing(
                    "It did not serve.", f"{list(command)} ended with {process.wait()}.", "Run that by itself."
                )
            _ask(json.loads(line)["graphql"])
            self.seconds = time.perf_counter() - began
            if idle:
                time.sleep(IDLE_SECONDS)
                self.megabytes = _megabytes(process.pid, folder)
        finally:
            process.terminate()
            process.wait(60)


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``seconds`` and ``memory``."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as name:
        ours, bare = Path(name) / "ours", Path(name) / "bare"
        up = [str(ROOT / "task"), "up", "--", "--port", "0", "--output", "json", "--data-dir", str(ours)]
        baseline = [sys.executable, "-P", "-c", _BARE, str(bare)]
        _say("the very first start, which makes the database")
        first = _Started(up, ours).seconds
        _Started(baseline, bare)
        rounds = STARTS * (3 if long else 1)
        mine, theirs = [], []
        for number in range(rounds):
            mine.append(_Started(up, ours).seconds)
            theirs.append(_Started(baseline, bare).seconds)
            _say(
                f"start {number + 1} of {rounds}: {mine[-1]:.2f} s, bare {theirs[-1]:.2f} s (the first: {first:.2f} s)"
            )
        memory, bare_memory = (_Started(c, f, idle=True).megabytes for c, f in ((up, ours), (baseline, bare)))
    seconds = median(mine)
    return [
        {
            "name": "seconds",
            "value": round(seconds, 2),
            "unit": "s",
            "baseline": round(median(theirs), 2),
            "ratio": round(median(theirs) / seconds, 2),
            "goal": "under 6 s from ./task up to the first answer, the first start of all included",
            "holds": max(seconds, first) < SECONDS_GOAL,
        },
        {
            "name": "memory",
            "value": round(memory, 1),
            "unit": "MB",
            "baseline": round(bare_memory, 1),
            "ratio": round(bare_memory / memory, 2),
            "goal": "the whole tree of processes when idle, stated",
            "holds": True,
        },
    ]


def _ask(url: str) -> None:
    """Wait for an answer: the address may be printed just before the server listens."""
    body = json.dumps({"query": "{ __typename }"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
        response.read()


def _megabytes(pid: int, folder: Path) -> float:
    """Proportional set size of the server and of the engines over its folder, whoever their parent is."""
    server = psutil.Process(pid)
    tree = {process.pid: process for process in (server, *server.children(recursive=True))}
    for path in ("postgres/postmaster.pid", "run/redis.pid"):
        main = psutil.Process(int((folder / path).read_text().split()[0]))
        tree |= {process.pid: process for process in (main, *main.children(recursive=True))}
    return sum(process.memory_full_info().pss for process in tree.values()) / 1024**2


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
