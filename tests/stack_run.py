"""``./task test:stack``: the tests that need the real servers of the native stack. Arguments go to pytest,
but ``--faults``, which has the long tests run as well.

The servers are started first, one by one: a required one that does not start fails the run, which says so in its last
lines, and no test runs. A folder of its own is used and removed; it is kept when something failed.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.failures import Failure
from infra.settings import ROOT
from infra.stack import SERVICES, open_stack, start_stack
from infra.stack.record import FILE_NAME

WITH_FAULTS = "--faults"
"""The argument that has the long tests run as well."""
SHARED = "stack"
"""The folder of the servers that the tests share, below the run's own."""


def main(arguments: list[str]) -> int:
    """Start the stack, run the tests on it, stop it. Gives the exit code."""
    # A run that takes too long is told to end; the servers would outlive it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="moot-stack-tests-"))
    code = 1
    missing: list[str] = []
    try:
        missing = start_each(folder / SHARED)
        if not missing:
            code = run_tests(folder, arguments)
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


def run_tests(folder: Path, arguments: list[str]) -> int:
    """The tests marked ``stack``, one at a time: they hurt servers that all of them share.

    What tests start for themselves is in the same folder, so that it can be found when they are cut off.
    """
    wanted = "stack" if WITH_FAULTS in arguments else "stack and not faults"
    arguments = [argument for argument in arguments if argument != WITH_FAULTS]
    folders = [f"--stack-dir={folder / SHARED}", f"--basetemp={folder / 'tests'}"]
    options = ["-m", wanted, "-n", "0", *folders, *(arguments or ("tests",))]
    code = subprocess.run([sys.executable, "-P", "-m", "pytest", *options], cwd=ROOT, check=False).returncode
    if wanted != "stack":
        say(f"Not run: whole fleets under faults, which take many minutes: ./task test:stack -- {WITH_FAULTS}")
    return code


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
