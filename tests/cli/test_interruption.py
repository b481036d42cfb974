"""Stop signals at moments at which they could get lost."""

import os
import random
import signal
import sys
from collections.abc import Iterator

import pytest

from streams.cli.interruption import Interruption, StopRequest

NUMBER = signal.SIGUSR1
MOMENTS = 5_000
WITHIN_SECONDS = 6e-5
"""As long as it takes to begin to wait."""


@pytest.fixture(autouse=True)
def _its_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (NUMBER, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


def test_whoever_waits_for_a_signal_is_woken_at_whatever_moment_it_comes() -> None:
    """A signal that wakes nobody hangs this test."""
    chance = random.Random(1)
    for _ in range(MOMENTS):
        with StopRequest(signal.SIGALRM) as stop:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, WITHIN_SECONDS))
            stop.wait()
            assert stop.came()
