"""``./task test:stack``: the tests that need the real servers of the native stack. Arguments go to pytest.

The servers are started first, one by one: a required one that does not start fails the run, which says so in its last
lines, and no test runs. A folder of its own is used and removed; it is kept when something failed.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.failures import Failure
from infra.settings import ROOT
from infra.stack import SERVICES, open_stack, start_stack


def main(arguments: list[str]) -> int:
    """Start the stack, run the tests on it, stop it. Gives the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="moot-stack-tests-"))
    code = 1
    try:
        missing = start_each(folder)
        if not missing:
            code = run_tests(folder, arguments)
    finally:
        open_stack(folder).stop()
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
    """The tests marked ``stack``, one at a time: they hurt servers that all of them share."""
    options = ["-m", "stack", "-n", "0", f"--stack-dir={folder}", *(arguments or ("tests",))]
    return subprocess.run([sys.executable, "-P", "-m", "pytest", *options], cwd=ROOT, check=False).returncode


def say(line: str) -> None:
    """A line for the person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
