"""``./task test:stack``: the tests that need the real servers of the native stack. Arguments go to pytest.

The servers are started first, one by one: a required one that does not start fails the run, which says so in its last
lines, and no test runs. A folder of its own is used and removed; it is kept when something failed.

All tests run in three lanes, each with servers of its own, as most wait for something most of the time. Those of one
file that share something stay in one lane; all others go where there is nothing to do. Those that are named in the
arguments run in one.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from infra.failures import Failure
from infra.settings import ROOT
from infra.stack import SERVICES, open_stack, start_stack
from infra.stack.record import FILE_NAME

LANES = ("gw0", "gw1", "gw2")
"""Those of pytest-xdist, by its names for them."""
INTERRUPTED_SECONDS_MAX = 30
"""How long tests may take to say how far they came after Ctrl-C."""
SHARED = "stack"
"""The folder of the servers that tests share, below the run's own; with a folder for each lane if there are several."""


def main(arguments: list[str]) -> int:
    """Start the stack, run the tests on it, stop it. Gives the exit code."""
    # A run that takes too long is told to end; the servers would outlive it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="moot-stack-tests-"))
    code = 1
    missing: list[str] = []
    try:
        lanes = LANES if not any(Path(argument).exists() for argument in arguments) else ("",)
        for lane in lanes:
            missing = missing or start_each(folder / SHARED / lane)
        if not missing:
            code = run_tests(folder, lanes, arguments)
    finally:
        stop_all(folder)
    if missing:
        for line in missing:
            say(line)
        say("The required engines above could not be started, so no test ran.")
        print(f"0 passed, {len(missing)} failed, 0 skipped", flush=True)  # noqa: T201 - the closing line
    if code == 0:
        shutil.rmtree(folder)
    else:
        say(f"The servers' data and logs are kept in {folder}")
    return code


def start_each(folder: Path) -> list[str]:
    """Start every server; gives a line for each that could not be started."""
    missing = []
    began = time.monotonic()
    for name in SERVICES:
        try:
            start_stack(folder, (name,), durable=False, say=say)
        except (Failure, OSError) as error:
            what, why, fix = (error.what, error.why, error.fix) if isinstance(error, Failure) else (str(error), "", "")
            say(f"\nerror: {what}\n\n{why}\n\nfix: {fix}\n")
            missing.append(f"required engine not started: {name} - {what}")
    if not missing:
        say(f"The stack answers after {time.monotonic() - began:.1f} s.")
    return missing


def run_tests(folder: Path, lanes: Sequence[str], arguments: list[str]) -> int:
    """The tests marked ``stack``, in each lane one at a time: they hurt servers that all tests of a lane share.

    What tests start for themselves is in the same folder, so that it can be found when they are cut off.
    """
    folders = [f"--stack-dir={folder / SHARED}", f"--basetemp={folder / 'tests'}"]
    running = ["-n", "0"] if len(lanes) == 1 else ["-n", str(len(lanes)), "--dist", "loadgroup"]
    options = ["-m", "stack", *running, *folders, *(arguments or ("tests",))]
    # A group of their own: what tests started must not outlive them when they are cut off.
    command = [sys.executable, "-P", "-m", "pytest", *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, process_group=0) as tests:
        try:
            return tests.wait()
        except KeyboardInterrupt:
            os.killpg(tests.pid, signal.SIGINT)
            return tests.wait(INTERRUPTED_SECONDS_MAX)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(tests.pid, signal.SIGKILL)


def stop_all(folder: Path) -> None:
    """Stop the servers of every stack below the folder, also of one that a test was cut off with."""
    for record in folder.rglob(FILE_NAME):
        try:
            open_stack(record.parent).stop()
        except Failure as error:
            say(f"\nerror: {error.what}\n\n{error.why}\n\nfix: {error.fix}\n")


def say(line: str) -> None:
    """A line for the person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
