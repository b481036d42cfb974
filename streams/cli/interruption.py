"""Stop signals while a program starts: none of them is lost."""

import os
import signal
from types import FrameType


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
