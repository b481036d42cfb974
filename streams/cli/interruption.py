"""Stop signals where no event loop hears them: none is lost, whatever it interrupts."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

BYTES = 4096
"""One of each signal, read at once."""

REPEAT_SECONDS = 10.0
"""Until what was told to end, and goes on, is told again. What is being left may take long, too."""


class Interruption:
    """A stop signal raises ``KeyboardInterrupt``, and that it came is remembered. Those that are ignored stay so.

    The exception alone can get lost: Python throws away what is raised while it finalises an object (``__del__`` in the
    Python Language Reference, section 3.3.1), which a collection of garbage does at any place.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self.number: int | None = None
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if a signal came."""
        if self.number is not None:
            raise KeyboardInterrupt

    def repeat(self) -> None:
        """Send this process the signal that came, if one did: it has other handlers by now."""
        if self.number is not None:
            os.kill(os.getpid(), self.number)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self.number = number
        raise KeyboardInterrupt


class StopRequest:
    """Whether one of these signals came, and waiting for it in the main thread. A context manager: in it, one waits.

    A ``threading.Event`` that a handler sets is no way to wait. Its ``set`` needs a lock that the thread which is
    interrupted may hold in ``wait``, and a handler that becomes due just before that blocks is not run. The byte that
    ``signal.set_wakeup_fd`` writes is there in either case.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._came = False
        self._bytes, written = socket.socketpair()
        written.setblocking(False)
        self._written = written
        signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._come)

    def came(self) -> bool:
        """Whether one came. From any thread."""
        return self._came

    def wait(self) -> None:
        """Until one comes."""
        while not self._came:
            self._bytes.recv(BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._written.close()
        self._bytes.close()

    def _come(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True


class Ending:
    """Makes signals that end the process leave the block as Ctrl-C does, with ``SystemExit``. A context manager.

    Signals that are ignored, as under nohup, stay so, and outside the main thread nothing is done. Afterwards they are
    ignored: there is nothing left to hurry. An exception that comes from a handler can get lost (see ``Interruption``),
    or leave a lock behind that whoever ends waits for: so it is repeated while ``work`` is not left.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._before: dict[signal.Signals, Any] = {}
        self._working = False
        self._code = 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (*self._numbers, signal.SIGALRM)}
            for number in self._numbers:
                if self._before[number] is signal.SIG_DFL:
                    signal.signal(number, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def work(self) -> Iterator[None]:
        """What is to be left; to be entered once. What is outside cleans up, and nothing interrupts that again."""
        self._working = True
        try:
            yield
        finally:
            self._working = False
            if self._code:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _end(self, number: int, _: object) -> None:
        for each in self._numbers:
            signal.signal(each, signal.SIG_IGN)
        self._code = 128 + number
        if self._working:
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS, REPEAT_SECONDS)
        raise SystemExit(self._code)

    def _again(self, _number: int, _: object) -> None:
        if self._working:
            raise SystemExit(self._code)
