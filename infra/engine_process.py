"""What the two embedded engines have in common: a folder, a user to run as, a log, a start and a stop."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import psutil
from msgspec import Struct

from infra.failures import Failure

SOCKET_PATH_LENGTH_MAX = 100
"""Bytes of a socket's path. Linux takes 107 (unix(7)), macOS 103."""

_POLL_SECONDS = 0.01
_LOG_LINES_SHOWN = 12
_GATE = 'read -r go || exit 1; exec "$@" </dev/null'
"""A shell that becomes the program when it is told to, and ends when whoever should tell it is gone."""


class EngineFailure(Failure):
    """An embedded engine does not start, does not answer or does not stop."""


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it: what it does on import is not wanted here."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EngineFailure(f"The package {name} is not installed.", "It brings an engine.", "Run ./task up")
    return Path(spec.submodule_search_locations[0])


class Runner(Struct, frozen=True):
    """Who the engines run as: this user, or where this is root somebody without rights."""

    uid: int
    gid: int
    switch: bool
    """Whether that is another user than this process's own."""

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs these as this user."""
        if not self.switch:
            return list(arguments)
        launcher = str(Path(__file__).with_name("unprivileged.py"))
        return [sys.executable, "-I", "-S", launcher, str(self.uid), str(self.gid), *arguments]

    def own(self, folder: Path) -> Path:
        """Make the folder if it is missing, for this user alone."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.switch and folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, self.gid)
        return folder


def new_draft(folder: Path, runner: Runner) -> Path:
    """An empty folder beside this one, in which to make what will be renamed to it. Those of earlier tries go."""
    for old in folder.parent.glob(f"{folder.name}.new*"):
        shutil.rmtree(old, ignore_errors=True)
    return runner.own(folder.with_name(f"{folder.name}.new-{secrets.token_hex(4)}"))


def runner_for(folder: Path) -> Runner:
    """Who runs the engines over this folder: its owner. Raises ``EngineFailure`` when that is not for us to say."""
    owner = folder.stat().st_uid if folder.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner != os.geteuid():
            raise EngineFailure(
                f"{folder} belongs to {_user_name(owner)}, and you are {_user_name(os.geteuid())}.",
                "It was made by another user, root perhaps.",
                "Run as that user (sudo ./task up), or use another folder: MOOT_DATA_DIR=~/moot-data ./task up",
            )
        return Runner(os.geteuid(), os.getegid(), switch=False)
    if owner is not None and owner != 0:
        return Runner(owner, folder.stat().st_gid, switch=True)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EngineFailure(
            "You are root, and this machine has no user called nobody.",
            "PostgreSQL refuses to run as root.",
            "Run as an ordinary user, or add that one: useradd --system nobody",
        ) from None
    return Runner(nobody.pw_uid, nobody.pw_gid, switch=True)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def socket_folder(data_dir: Path, runner: Runner) -> Path:
    """A folder for the engines' sockets: in the data directory, or below the temporary one where that is too deep."""
    folder = data_dir / "run"
    if len(os.fsencode(folder / ".s.PGSQL.5432.lock")) > SOCKET_PATH_LENGTH_MAX:
        # The same on every start, whatever TMPDIR says then: the next start must find what this one leaves behind.
        folder = Path("/tmp") / f"moot-{sha256(os.fsencode(data_dir)).hexdigest()[:16]}"  # noqa: S108 - see below
    runner.own(folder)
    found = folder.lstat()
    # Anybody can make a folder there; only one that is ours and closed to others will do.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != runner.uid or found.st_mode & 0o077:
        raise EngineFailure(
            f"{folder} is not a private folder of the engines' user.",
            f"Sockets belong there; {data_dir} is too deep for them ({tempfile.gettempdir()} is shared).",
            f"Remove {folder}, or use a folder with a shorter path: MOOT_DATA_DIR=~/moot-data ./task up",
        )
    return folder


def spawn(
    runner: Runner, arguments: Sequence[str], log: Path, cwd: Path, *, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start an engine in a session of its own, so that Ctrl-C in the terminal does not reach it before us."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            runner.command(arguments),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )


def spawn_recorded(
    runner: Runner, arguments: Sequence[str], log: Path, cwd: Path, record: Callable[[int], None]
) -> subprocess.Popen[bytes]:
    """Start an engine once ``record`` has noted its process id: nothing ever runs that the record does not name.

    The process exists before that and waits; when this one is killed meanwhile, it ends without having done anything.
    """
    process = spawn(runner, ["/bin/sh", "-c", _GATE, "gate", *arguments], log, cwd, stdin=subprocess.PIPE)
    assert process.stdin is not None
    with process.stdin as gate:
        record(process.pid)
        gate.write(b"\n")
    return process


def wait_until(
    answers: Callable[[], bool],
    process: subprocess.Popen[bytes] | None,
    name: str,
    log: Path,
    seconds_max: float,
    *,
    fix: str = "Wait for its recovery with MOOT_ENGINE_START_SECONDS_MAX=600 ./task up",
) -> None:
    """Return as soon as the engine answers. Raises ``EngineFailure`` with the end of its log when it does not."""
    deadline = time.monotonic() + seconds_max
    while not answers():
        if process is not None and process.poll() is not None:
            raise did_not_start(name, log)
        if time.monotonic() > deadline:
            raise EngineFailure(
                f"{name} did not answer within {seconds_max:g} s.",
                _end_of(log),
                fix,
            )
        time.sleep(_POLL_SECONDS)


def did_not_start(name: str, log: Path) -> EngineFailure:
    """The failure that shows the end of the engine's log."""
    return EngineFailure(f"{name} did not start.", _end_of(log), f"Correct the cause; the whole log is {log}")


def stop(pid: int, name: str, seconds_max: float, *, gently: signal.Signals, at_once: signal.Signals) -> None:
    """Stop a process by its id and wait until it is gone; ``at_once`` when it takes longer than ``seconds_max``."""
    try:
        process = psutil.Process(pid)
        process.send_signal(gently)
        if not all_gone([process], seconds_max):
            process.send_signal(at_once)
            if not all_gone([process], seconds_max):
                raise EngineFailure(
                    f"{name} (process {pid}) does not stop.", "It may hang in the kernel, on a disk.", f"kill -9 {pid}"
                )
    except psutil.NoSuchProcess:
        return


def all_gone(processes: Sequence[psutil.Process], seconds_max: float) -> bool:
    """Wait until none of these runs; false when one still does after so long.

    One that ended and that its parent has not asked about yet counts as gone: in a container, nobody may ever ask.
    """
    deadline = time.monotonic() + seconds_max
    while any(_runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _runs(process: psutil.Process) -> bool:
    """Whether it holds files and ports yet. Its first thread may have ended before the others, in a killed JVM say."""
    try:
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _end_of(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"Its log cannot be read: {error}"
    return "The end of its log:\n  " + "\n  ".join(lines[-_LOG_LINES_SHOWN:])
