"""Real ``moot chat`` processes for tests: in a pipe and in a terminal, and a network that cuts connections."""

import contextlib
import fcntl
import os
import pty
import queue
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.settings import ROOT
from tests.serving import environment

SECONDS = 60.0
"""How long anything may take on a machine that runs other tests at the same time."""


def command(folder: Path, *given: str) -> list[str]:
    return [sys.executable, "-P", "-m", "streams.cli", "chat", *given, "--data-dir", str(folder)]


class Piped:
    """A talk in a pipe. ``said`` is what was read from its standard output so far, ``told`` from the error's."""

    def __init__(self, folder: Path, *given: str, **more: str) -> None:
        self.process = subprocess.Popen(
            command(folder, *given),
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said: list[str] = []
        self.told: list[str] = []
        self._readers: list[threading.Thread] = []
        self._lines: queue.Queue[tuple[list[str], str]] = queue.Queue()
        self._streams: list[tuple[list[str], list[str]]] = []
        for stream, kept in ((self.process.stdout, self.said), (self.process.stderr, self.told)):
            left: list[str] = []
            self._streams.append((kept, left))
            self._readers.append(threading.Thread(target=self._read, args=(stream, left), daemon=True))
            self._readers[-1].start()

    def _read(self, stream: Any, left: list[str]) -> None:
        for line in stream:
            self._lines.put((left, line.decode().rstrip("\n")))

    def type(self, *lines: str | bytes) -> None:
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
        self.process.stdin.flush()

    def until(self, pattern: str) -> str:
        """The first line, of those of its stream not yet waited for, in which this is found.

        Which of two streams is read first is nobody's promise: waiting for a line of one passes over none of the other.
        """
        deadline = time.monotonic() + SECONDS
        while (line := self._found(pattern)) is None:
            try:
                left, more = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{pattern!r} did not come: {self.said} {self.told} {self._streams}") from None
            left.append(more)
        return line

    def _found(self, pattern: str) -> str | None:
        for kept, left in self._streams:
            for index, line in enumerate(left):
                if re.search(pattern, line):
                    kept.extend(left[: index + 1])
                    del left[: index + 1]
                    return line
        return None

    def end(self) -> int:
        """End its input and wait; gives the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        while not self._lines.empty():
            left, line = self._lines.get_nowait()
            left.append(line)
        for kept, left in self._streams:
            kept.extend(left)
            left.clear()
        return code

    def __enter__(self) -> "Piped":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr] - all three are pipes


class Terminal:
    """A talk in a terminal of its own, of that size. ``shown`` is all that was written to it."""

    def __init__(self, folder: Path, *given: str, columns: int = 80, rows: int = 24) -> None:
        self._end, inner = pty.openpty()
        self.shown = ""
        self._size(inner, columns, rows)
        self.process = subprocess.Popen(
            command(folder, *given),
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), TERM="xterm-256color"),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        self._size(self._end, columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def until(self, text: str) -> None:
        """Read on until this has been shown since the last time."""
        deadline, seen = time.monotonic() + SECONDS, ""
        while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
            assert time.monotonic() < deadline, f"{text!r} did not come: {seen[-2000:]!r}"
            seen += self._more()

    def exit_code(self) -> int:
        """Read to the end."""
        with contextlib.suppress(OSError):
            while self.process.poll() is None:
                self._more()
        return self.process.wait(SECONDS)

    def _more(self) -> str:
        if not select.select([self._end], [], [], 0.5)[0]:
            return ""
        more = os.read(self._end, 65_536).decode(errors="replace")
        if "\x1b[6n" in more:
            self.type("\x1b[1;1R")  # where the cursor is, as any terminal answers
        self.shown += more
        return more

    @staticmethod
    def _size(end: int, columns: int, rows: int) -> None:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


class Cutter:
    """A network in front of a port that cuts each connection off after so many pieces of what the server says.

    The next piece is swallowed: whoever waits for an answer does not learn what became of his question.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.pieces_max = 10**9
        self.cuts = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._pass, args=(near,)))
                self._threads[-1].start()

    def _pass(self, near: socket.socket) -> None:
        pieces = 0
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    piece = source.recv(65_536)
                    pieces += source is far
                    if not piece:
                        return
                    if pieces > self.pieces_max:
                        self.cuts += 1
                        return
                    (near if source is far else far).sendall(piece)

    def close(self) -> None:
        """Wait for the last connection to end by itself: whoever used it is gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)


@contextlib.contextmanager
def cutting(port: int) -> Iterator[Cutter]:
    cutter = Cutter(port)
    try:
        yield cutter
    finally:
        cutter.close()
