"""``.ci/run`` adds up what both test commands say, and ends as the worse of them does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.settings import ROOT

FINE = 'echo "{0} passed, 0 failed, {1} skipped"'

RED = 'echo "4 passed, 1 failed, 0 skipped"'


def ci(folder: Path, test: str, stack: str, **more: str) -> "subprocess.CompletedProcess[str]":
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / "task").write_text(f"#!/bin/sh\ncase $1 in test) {test} ;; test:stack) {stack} ;; esac\n")
    (folder / "task").chmod(0o755)
    return subprocess.run(
        [folder / ".ci" / "run"], env={"PATH": "/usr/bin:/bin", **more}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("test", "stack", "closing", "code"),
    [
        (FINE.format(5, 1), FINE.format(3, 0), "8 passed, 0 failed, 1 skipped", 0),
        (
            'echo "4 passed, 1 failed, 0 skipped"; echo more; exit 1',
            FINE.format(3, 0),
            "7 passed, 1 failed, 0 skipped",
            1,
        ),
        (FINE.format(5, 0), 'echo "0 passed, 2 failed, 0 skipped"; exit 1', "5 passed, 2 failed, 0 skipped", 1),
        # Style that is not right, with all tests passing.
        (FINE.format(5, 0) + "; exit 1", FINE.format(3, 0), "8 passed, 1 failed, 0 skipped", 1),
        ("exit 7", FINE.format(3, 0), "3 passed, 1 failed, 0 skipped", 7),
    ],
)
def test_the_closing_line_has_the_sums(tmp_path: Path, test: str, stack: str, closing: str, code: int) -> None:
    found = ci(tmp_path, test, stack)
    assert (found.stdout.splitlines()[-1], found.returncode) == (closing, code)


def test_a_command_that_does_not_end_in_time_is_a_failure(tmp_path: Path) -> None:
    found = ci(tmp_path, "exec sleep 30", FINE.format(3, 0), CI_SECONDS_MAX="1")
    assert found.stdout.splitlines()[-1] == "0 passed, 2 failed, 0 skipped"
    assert found.returncode == 124
    assert "./task test did not end within 1 s" in found.stderr
