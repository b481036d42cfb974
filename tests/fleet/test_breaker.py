"""Breakers against a fake clock: when they open, whom they let through to see, and when they close."""

from collections.abc import Callable

import pytest

from infra.breaker import Breaker, BreakerLimits, CircuitOpen, State, pauses
from infra.telemetry import metrics

LIMITS = BreakerLimits(failures_max=3, open_seconds_min=1.0, open_seconds_max=4.0, probe_seconds_max=2.0)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Without jitter: the pause is its bound."""
    return Breaker("test", LIMITS, clock=clock, jitter=lambda low, high: high)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.failed()


def refused(breaker: Breaker) -> bool:
    try:
        breaker.admit()
    except CircuitOpen:
        return True
    return False


def test_it_opens_after_so_many_failures_in_a_row_and_refuses_without_asking(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.admit()
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN
    assert refused(breaker)


def test_one_is_let_through_to_see_and_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 0.99
    assert refused(breaker)
    clock.now += 0.02
    breaker.admit()
    assert breaker.state is State.HALF_OPEN
    assert refused(breaker)  # the others wait for what that one finds
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    breaker.admit()
    breaker.admit()


def test_each_failed_look_doubles_the_pause_up_to_its_bound(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    for pause in (1.0, 2.0, 4.0, 4.0):
        clock.now += pause - 0.01
        assert refused(breaker)
        clock.now += 0.02
        breaker.admit()
        breaker.failed()
    clock.now += 4.1
    breaker.admit()
    breaker.succeeded()
    fail(breaker, 3)
    clock.now += 1.01  # a success starts afresh
    breaker.admit()


def test_who_was_let_through_and_gave_up_or_never_came_back_keeps_nobody_out(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 1.1
    breaker.admit()
    breaker.left()
    breaker.admit()  # the next one looks
    assert refused(breaker)
    clock.now += 2.1  # and is never heard of again
    breaker.admit()


def test_late_failures_of_calls_from_before_do_not_prolong_the_pause(breaker: Breaker, clock: Clock) -> None:
    for _ in range(6):
        breaker.admit()
    for _ in range(6):
        breaker.failed()
    clock.now += 1.01
    breaker.admit()
    assert breaker.state is State.HALF_OPEN


def test_errors_that_are_answers_do_not_open_it_and_cancellations_are_none(breaker: Breaker, clock: Clock) -> None:
    def is_away(error: BaseException) -> bool:
        return isinstance(error, OSError)

    for _ in range(5):
        with pytest.raises(ValueError, match="an answer"), breaker.guarding(is_away):
            raise ValueError("an answer")
    assert breaker.state is State.CLOSED
    for _ in range(3):
        with pytest.raises(OSError, match="away"), breaker.guarding(is_away):
            raise OSError("away")
    clock.now += 1.1
    with pytest.raises(KeyboardInterrupt), breaker.guarding(is_away):
        raise KeyboardInterrupt
    with breaker.guarding(is_away):
        pass
    assert breaker.state is State.CLOSED


def test_its_state_is_a_metric(breaker: Breaker) -> None:
    def value(name: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, {"dependency": "test"})

    opened = value("moot_breaker_opened_total") or 0
    fail(breaker, 3)
    refused(breaker)
    assert value("moot_breaker_state") == State.OPEN
    assert value("moot_breaker_opened_total") == opened + 1
    assert (value("moot_breaker_refused_total") or 0) >= 1


def test_two_processes_do_not_look_at_the_same_moment() -> None:
    def pause(breaker: Breaker, clock: Clock) -> float:
        fail(breaker, 3)
        began = clock.now
        while refused(breaker):
            clock.now += 0.001
        return round(clock.now - began, 2)

    seen = set()
    for _ in range(20):
        clock = Clock()
        seen.add(pause(Breaker("test", LIMITS, clock=clock), clock))
    assert len(seen) > 5
    assert all(0.5 <= found <= 1.01 for found in seen)


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [(lambda low, high: high, [0.1, 0.2, 0.4, 0.5]), (lambda low, high: low, [0.0, 0.0, 0.0, 0.0])],
)
def test_pauses_are_bounded_in_number_and_length(
    jitter: Callable[[float, float], float], expected: list[float]
) -> None:
    assert list(pauses(5, 0.1, 0.5, jitter=jitter)) == expected
    assert list(pauses(1, 0.1, 0.5)) == []
