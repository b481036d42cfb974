"""Which ``moot up`` serves a data directory: one at a time, found by the others through a locked file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from infra.failures import Failure

FILE_NAME = "up.lock"
LOOKS_MAX = 50
"""Times that a claim is tried while others only look whether there is one: they hold the lock for an instant."""
LOOK_SECONDS = 0.01
"""Between two of these times."""


class AlreadyServed(Failure):
    """Another ``moot up`` serves this data directory."""


class Instance(Struct, frozen=True):
    """A running ``moot up``. The URLs are empty until it serves."""

    pid: int
    graphql: str = ""
    graphiql: str = ""
    websocket: str = ""
    mail: str = ""
    data_dir: str = ""
    start_seconds: float = 0.0


class Claim:
    """The right to serve a data directory. The kernel takes it back when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def publish(self, instance: Instance) -> None:
        """Let others find this instance."""
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(instance), 0)


@contextmanager
def claim(data_dir: Path) -> Iterator[Claim]:
    """Hold the claim until the block is left. Raises ``AlreadyServed``."""
    descriptor = os.open(data_dir / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _locked(descriptor):
            other = _read(descriptor)
            who = f"process {other.pid}" if other else "another process"
            where = f" at {other.graphql}" if other and other.graphql else ""
            raise AlreadyServed(
                f"{data_dir} is being served already, by {who}{where}.",
                "Two would write to the same views.",
                f"Use that one, stop it ({f'kill {other.pid}' if other else 'Ctrl-C where it runs'}), "
                "or serve another folder: ./task up --data-dir FOLDER",
            )
        held = Claim(descriptor)
        held.publish(Instance(os.getpid()))
        try:
            yield held
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Take the lock, unless somebody serves."""
    for _ in range(LOOKS_MAX):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Nobody serves, or this lock could not be shared: somebody looks.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(LOOK_SECONDS)
    return False


def running(data_dir: Path) -> Instance | None:
    """The instance that serves this data directory, if one does."""
    try:
        descriptor = os.open(data_dir / FILE_NAME, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Instance | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 65_536, 0), type=Instance)
    except msgspec.DecodeError:
        return None
