"""Stop signals at moments at which they could get lost."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from streams.cli.interruption import Ending, Interruption, StopRequest

NUMBER = signal.SIGUSR1
MOMENTS = 5_000
WITHIN_SECONDS = 6e-5
"""As long as it takes to begin to wait."""

REPEAT_SECONDS = 0.05


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


def test_what_was_told_to_end_and_goes_on_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored, done = [], list[str]()
    monkeypatch.setattr(sys, "unraisablehook", lambda one: ignored.append(one.exc_type))
    monkeypatch.setattr("streams.cli.interruption.REPEAT_SECONDS", REPEAT_SECONDS)
    lock = threading.Lock()
    lock.acquire()

    def command() -> None:
        with Ending(NUMBER) as ending:
            try:
                with ending.work():
                    Grave()
                    assert ignored == [SystemExit]
                    lock.acquire()  # whoever was interrupted holds it
            finally:
                time.sleep(4 * REPEAT_SECONDS)  # nothing interrupts what cleans up
                done.append("cleaned")

    with pytest.raises(SystemExit) as ended:
        command()
    assert done == ["cleaned"]
    assert ended.value.code == 128 + NUMBER
    assert [signal.getsignal(number) for number in (NUMBER, signal.SIGALRM)] == [signal.SIG_DFL] * 2


def test_what_is_being_set_up_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins something takes it back himself, in peace."""
    monkeypatch.setattr("streams.cli.interruption.REPEAT_SECONDS", REPEAT_SECONDS)
    done = []

    def command() -> None:
        with Ending(NUMBER):
            try:
                os.kill(os.getpid(), NUMBER)
            finally:
                time.sleep(4 * REPEAT_SECONDS)
                done.append("cleaned")

    with pytest.raises(SystemExit):
        command()
    assert done == ["cleaned"]
