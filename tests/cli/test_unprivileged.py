"""As root the engines run as somebody else, who may pass through and read folders and change nothing."""

import os
import subprocess
import sys
from pathlib import Path

from infra.engine_process import runner_for

TRIES = """
import os
for attempt in (lambda: os.setuid(0), lambda: open({owner!r}, "a")):
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit(3)
"""


def test_root_gives_up_everything_but_passing_through(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("")
    (closed / "file").chmod(0o600)
    runner = runner_for(closed / "postgres")
    if os.geteuid() != 0:
        assert not runner.switch
        assert runner.command(["true"]) == ["true"]
        return
    assert runner.switch
    assert runner.uid != 0
    # access(2) is what PostgreSQL asks about its own programs, and test(1) about these.
    assert subprocess.run(runner.command(["/usr/bin/test", "-r", str(closed / "file")]), check=False).returncode == 0
    assert subprocess.run(runner.command(["/usr/bin/test", "-w", str(closed / "file")]), check=False).returncode == 1
    tries = TRIES.format(owner=str(closed / "file"))
    assert subprocess.run(runner.command([sys.executable, "-I", "-S", "-c", tries]), check=False).returncode == 0
