"""Stop signals of programs without an event loop: none of them is lost, whatever they interrupt."""

import os
import signal
import socket
from types import FrameType
from typing import Self

BYTES = 4096
"""One of each signal, read at once."""


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
