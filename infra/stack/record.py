"""``state.json``: which servers a stack has, on which ports, and as which processes they run.

Written whole and put in place by a rename, so that whoever reads it finds one state or the next. It holds passwords,
and is for its owner alone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct

from infra.failures import Failure

FILE_NAME = "state.json"

_BORN_SECONDS_OFF_MAX = 1.0
"""How far two readings of a process's start may be apart: the system counts in hundredths from a clock that is set."""


class StackFailure(Failure):
    """The native stack does not start, does not answer or does not stop."""


class Entry(Struct, frozen=True):
    """One server: what stays as long as its data does, and the process that runs now, if one does."""

    ports: dict[str, int] = {}
    password: str = ""
    url: str = ""
    proxied_url: str = ""
    """The same server behind the fault proxy."""
    log: str = ""
    pid: int | None = None
    born: float | None = None
    """When that process started, in seconds since 1970. A process id alone may be somebody else's by now."""
    start_seconds: float | None = None
    """How long it took from its start to its first answer."""


class State(Struct, frozen=True):
    """What ``state.json`` holds."""

    services: dict[str, Entry] = {}


class Book:
    """The record of one stack. Each change reads, changes and writes it under a lock that other processes respect."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock = folder / "state.lock"

    def read(self) -> State:
        """What is recorded; nothing when there is no stack yet. Raises ``StackFailure``."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.DecodeError as error:
            raise StackFailure(
                f"{self.path} cannot be read.",
                f"It was changed by something else: {error}.",
                f"End the servers whose command lines name {self.path.parent} and remove that folder.",
            ) from None

    def entry(self, name: str) -> Entry:
        """What is recorded of one server."""
        return self.read().services.get(name, Entry())

    def change(self, name: str, **values: Any) -> Entry:
        """Change what is recorded of one server; gives what is recorded then."""
        with self._locked():
            state = self.read()
            entry = msgspec.structs.replace(state.services.get(name, Entry()), **values)
            self._write(State({**state.services, name: entry}))
        return entry

    def started(self, name: str, pid: int) -> None:
        """Record the process that a server runs as."""
        self.change(name, pid=pid, born=psutil.Process(pid).create_time(), start_seconds=None)

    def stopped(self, name: str) -> None:
        """Record that a server runs no more."""
        self.change(name, pid=None, born=None, start_seconds=None)

    def process(self, name: str) -> psutil.Process | None:
        """The running process of a server: the very one that was recorded, not one that has its id by now."""
        entry = self.entry(name)
        if entry.pid is None or entry.born is None:
            return None
        try:
            process = psutil.Process(entry.pid)
            same = abs(process.create_time() - entry.born) <= _BORN_SECONDS_OFF_MAX
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _write(self, state: State) -> None:
        draft = self.path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        draft.replace(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
