"""Ctrl-C while a program starts."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from streams.cli.interruption import Interruption

NUMBER = signal.SIGUSR1


@pytest.fixture(autouse=True)
def _its_handler() -> Iterator[None]:
    before = signal.getsignal(NUMBER)
    yield
    signal.signal(NUMBER, before)


class Grave:
    """Something that a stop signal finds while it is finalised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), NUMBER)
        for _ in range(100):
            pass


def test_what_python_throws_away_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: ignored.append(one.exc_type))
    interruption = Interruption(NUMBER)
    interruption.check()
    interruption.repeat()
    Grave()
    assert ignored == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    heard: list[int] = []
    signal.signal(NUMBER, lambda number, _: heard.append(number))
    interruption.repeat()
    assert heard == [NUMBER]


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(NUMBER, signal.SIG_IGN)
    interruption = Interruption(NUMBER)
    os.kill(os.getpid(), NUMBER)
    interruption.check()
    assert signal.getsignal(NUMBER) is signal.SIG_IGN
