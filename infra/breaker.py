"""Circuit breakers: who asks a dependency that is away is told so at once, and it is not asked by everybody.

A breaker is closed while its dependency answers. After ``failures_max`` failures in a row it opens: calls are refused
without being made. After a while, longer each time and never the same for two processes, one call is let through to
see; it closes the breaker or opens it again. See docs/dependencies.md for what a refusal means to users, and
docs/adr/0013 for why it is our own.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from threading import Lock
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from infra.setting import group
from infra.telemetry import metrics

if TYPE_CHECKING:
    from infra.settings import Settings

_log = structlog.get_logger(__name__)


class State(IntEnum):
    """As the metric ``moot_breaker_state`` gives it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class BreakerLimits(Struct, frozen=True):
    """Units and reasons are with the settings of the same names, ``breaker_…``."""

    failures_max: int = 5
    open_seconds_min: float = 0.5
    open_seconds_max: float = 5.0
    probe_seconds_max: float = 10.0


def breaker_limits(settings: "Settings") -> BreakerLimits:
    """Those settings that begin with ``breaker_``."""
    return group(settings, "breaker", BreakerLimits)


def show(dependency: str, state: State) -> None:
    """For who pauses between its attempts and so is its own breaker: be seen as one."""
    metrics.BREAKER_STATE.labels(dependency).set(state)


class CircuitOpen(Exception):
    """The dependency did not answer lately, so it was not asked. Nothing happened."""


class Breaker:
    """The breaker of one dependency in one process. May be used from any thread and event loop.

    ``clock`` is monotonic, in seconds. ``refusal`` is what a refused caller gets, so that it is caught with the other
    errors of that client. A call is one ``admit``, and then one of ``succeeded``, ``failed`` and ``left``.
    """

    def __init__(
        self,
        dependency: str,
        limits: BreakerLimits | None = None,
        *,
        refusal: Callable[[str], Exception] = CircuitOpen,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.dependency = dependency
        self._limits = limits or BreakerLimits()
        self._refusal = refusal
        self._clock = clock
        self._jitter = jitter
        self._lock = Lock()
        self._failures = 0
        self._openings = 0
        self._retry_at = 0.0
        self._probing_until: float | None = None
        self.state: State = State.CLOSED
        show(dependency, State.CLOSED)

    def admit(self) -> None:
        """Let the call be made, or raise the refusal."""
        if self.state is State.CLOSED:
            return
        with self._lock:
            now, state = self._clock(), State(self.state)
            if state is State.CLOSED:
                return
            # Whoever was let through to see and never said what he saw is not waited for any longer.
            due = self._retry_at if state is State.OPEN else self._probing_until
            if due is None or now >= due:
                self._probing_until = now + self._limits.probe_seconds_max
                self._become(State.HALF_OPEN)
                return
        metrics.BREAKER_REFUSED.labels(self.dependency).inc()
        raise self._refusal(f"{self.dependency} did not answer lately and was not asked; try again in a moment")

    def succeeded(self) -> None:
        """It answered."""
        if self._failures == 0 and self.state is State.CLOSED:
            return
        with self._lock:
            self._failures = self._openings = 0
            self._probing_until = None
            if self.state is not State.CLOSED:
                self._become(State.CLOSED)
                _log.info("breaker.closed", dependency=self.dependency)

    def failed(self) -> None:
        """It did not answer."""
        with self._lock:
            self._failures += 1
            if self.state is State.OPEN or (self.state is State.CLOSED and self._failures < self._limits.failures_max):
                return
            bound = min(self._limits.open_seconds_max, self._limits.open_seconds_min * 2 ** min(self._openings, 30))
            pause = self._jitter(bound / 2, bound)
            self._openings += 1
            self._retry_at = self._clock() + pause
            self._probing_until = None
            if self.state is State.CLOSED:
                metrics.BREAKER_OPENED.labels(self.dependency).inc()
                _log.warning("breaker.opened", dependency=self.dependency, failures=self._failures)
            self._become(State.OPEN)

    def left(self) -> None:
        """The caller gave up before it knew: somebody else may look."""
        with self._lock:
            if self.state is State.HALF_OPEN:
                self._probing_until = None

    @contextmanager
    def guarding(self, is_away: Callable[[BaseException], bool]) -> Iterator[None]:
        """Around one call. Errors that are not ``is_away`` are answers, too; cancellations are none."""
        self.admit()
        try:
            yield
        except Exception as error:
            if is_away(error):
                self.failed()
            else:
                self.succeeded()
            raise
        except BaseException:
            self.left()
            raise
        else:
            self.succeeded()

    def _become(self, state: State) -> None:
        self.state = state
        show(self.dependency, state)


def pauses(
    attempts: int,
    seconds_min: float,
    seconds_max: float,
    *,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Iterator[float]:
    """The pauses between so many attempts: each up to twice the one before, and any part of it.

    Full jitter, after https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    for number in range(attempts - 1):
        yield jitter(0.0, min(seconds_max, seconds_min * 2 ** min(number, 30)))
