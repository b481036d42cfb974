"""One server of the stack: a process over a folder, on ports of its own, that can be hurt and started again."""

import atexit
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psutil
from msgspec import Struct

from infra.engine_process import Runner, all_gone, spawn_recorded, stop, wait_until
from infra.stack.downloads import Say
from infra.stack.ports import check_free
from infra.stack.record import Book, Entry, StackFailure

START_SECONDS_MAX = 120.0
"""How long a server may take to its first answer. Kafka takes 3 s on a quiet machine, and a loaded one is many times
slower; recovery after a SIGKILL reads what was written since the last checkpoint."""
STOP_SECONDS_MAX = 30.0
"""How long a server may take to stop in good order before it is killed. Docker's patience is 10 s; a shutdown of
PostgreSQL writes a checkpoint first."""
_GONE_SECONDS_MAX = 10.0
"""How long the kernel may take to bury processes after a SIGKILL."""
_FIX = "Look for the cause in its log; end what else keeps this machine busy, and run it again."


_CHILDREN: list[subprocess.Popen[bytes]] = []
"""The servers that this process started. They may outlive it, and whoever ended one need not be who started it here."""


@atexit.register
def _let_go() -> None:
    """Nobody need be told, by a warning, of those that are meant to go on."""
    for child in _CHILDREN:
        child.returncode = 0


class Place(Struct, frozen=True):
    """What all servers of one stack share."""

    folder: Path
    downloads: Path
    runner: Runner
    book: Book
    durable: bool
    say: Say


class Server(ABC):
    """A server over a folder. What is recorded of it is the truth: several processes may hold one of these.

    All methods that change something wait until it is so, and raise ``StackFailure`` or ``EngineFailure``.
    """

    name: ClassVar[str]
    """As options and ``state.json`` have it."""
    title: ClassVar[str]
    """As people have it."""
    port_names: ClassVar[tuple[str, ...]]
    """What it listens for, each on a port of its own."""
    gently: ClassVar[signal.Signals] = signal.SIGTERM
    """The signal upon which it stops in good order."""

    has_password: ClassVar[bool] = False
    """Whether clients need one; it is generated, and stays as long as the data."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder / self.name
        self.log = place.folder / "logs" / f"{self.name}.log"
        self._changing = threading.RLock()

    @property
    def entry(self) -> Entry:
        """What is recorded of it."""
        return self.place.book.entry(self.name)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self.entry.url

    @property
    def proxied_url(self) -> str:
        """Where clients find it behind the fault proxy."""
        return self.entry.proxied_url

    @property
    def process(self) -> psutil.Process | None:
        """Its main process, also when it was started by somebody else; ``None`` when it does not run."""
        _ask_about_children()
        return self.place.book.process(self.name)

    @property
    def main_port(self) -> int:
        """The port on which clients find it."""
        return self.port(self.port_names[0])

    def port(self, name: str) -> int:
        """The port on which it listens for this."""
        ports = self.entry.ports
        if name not in ports:
            raise StackFailure(
                f"{self.title} has no ports yet.",
                f"The stack in {self.place.folder} was never started.",
                "Start it: ./task stack:up, or start_stack in Python.",
            )
        return ports[name]

    @property
    def proxy_port(self) -> int:
        """The port of the fault proxy before it, which may run or not."""
        return self.place.book.entry("toxiproxy").ports[self.name]

    @abstractmethod
    def locate(self) -> tuple[str, str]:
        """The URL for clients and the one behind the fault proxy, from the ports and the password."""

    @abstractmethod
    def fetch(self) -> None:
        """Make sure of what it is made of; download what is missing."""

    @abstractmethod
    def prepare(self) -> None:
        """Make its folder and its configuration, unless they are there."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line of its process."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client right now, found out within a few seconds."""

    def settle(self) -> None:  # noqa: B027 - most have nothing to do here
        """What is left to do once it answers."""

    def write(self, name: str, text: str) -> Path:
        """Write a file of its own into its folder, which others cannot read; gives its path."""
        path = self.place.runner.own(self.folder) / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        os.chown(path, self.place.runner.uid, self.place.runner.gid)
        return path

    def start(self) -> bool:
        """Start it, or attach to the one that runs; returns when it answers. True when this call started it."""
        with self._changing:
            if self.process is not None and self._attached():
                return False
            began = time.monotonic()
            check_free(self.title, list(self.entry.ports.values()))
            self.prepare()
            book = self.place.book
            child = spawn_recorded(
                self.place.runner, self.command(), self.log, self.folder, lambda pid: book.started(self.name, pid)
            )
            _CHILDREN.append(child)
            wait_until(self.answers, child, self.title, self.log, START_SECONDS_MAX, fix=_FIX)
            self.settle()
            book.change(self.name, start_seconds=round(time.monotonic() - began, 2))
            return True

    def stop(self) -> None:
        """Stop it in good order; what it acknowledged is on disk. Does nothing when it does not run."""
        with self._changing:
            process = self.process
            if process is not None:
                # One that is paused hears nothing but SIGKILL.
                self.resume()
                stop(process.pid, self.title, STOP_SECONDS_MAX, gently=self.gently, at_once=signal.SIGKILL)
            self._buried()

    def kill(self) -> None:
        """SIGKILL all of its processes at the same instant, as near as can be; returns when they are gone."""
        with self._changing:
            family = self._family(signal.SIGSTOP)
            for process in family:
                _send(process, signal.SIGKILL)
            if not all_gone(family, _GONE_SECONDS_MAX):
                raise StackFailure(
                    f"{self.title} is still there {_GONE_SECONDS_MAX:g} s after it was killed.",
                    "It may hang in the kernel, on a disk.",
                    "Look at what the disk does, and try again.",
                )
            self._buried()

    def pause(self) -> None:
        """SIGSTOP all of its processes: connections stay open and nothing answers."""
        with self._changing:
            self._family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT all of its processes; what clients sent meanwhile is served then."""
        with self._changing:
            for process in reversed(self._family()):
                _send(process, signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in good order and start it on the same ports, over the same data."""
        with self._changing:
            self.stop()
            self.start()

    def _family(self, number: signal.Signals | None = None) -> list[psutil.Process]:
        """Its main process and all below it, each sent this signal before its children are counted."""
        main = self.process
        family = [] if main is None else [main]
        for process in family:
            if number is not None:
                _send(process, number)
            try:
                family.extend(process.children())
            except psutil.NoSuchProcess:
                continue
        return family

    def _attached(self) -> bool:
        """Wait for one that runs already, paused perhaps; false when it was on its way out."""
        self.resume()
        wait_until(
            lambda: self.answers() or self.process is None, None, self.title, self.log, START_SECONDS_MAX, fix=_FIX
        )
        if self.process is None:
            return False
        # Whoever started it may have been killed before this.
        self.settle()
        return True

    def _buried(self) -> None:
        _ask_about_children()
        if self.entry.pid is not None:
            self.place.book.stopped(self.name)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _ask_about_children() -> None:
    """Let go of those that ended: until their starter asks, the system keeps their process ids for them."""
    for child in list(_CHILDREN):
        if child.poll() is not None and child in _CHILDREN:
            _CHILDREN.remove(child)
