"""Embedded engines that exit under a running server are started again, a bounded number of times.

Every user of an engine connects again by itself; what was acknowledged is on the disk, and PostgreSQL recovers it.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

import psycopg
import redis
import structlog

from infra.embedded import Engines
from infra.engine_process import EngineFailure

LOOK_SECONDS = 0.25
"""How often it looks whether the engines are there: two small files and two processes."""

DISK_FULL_BYTES = 32 * 1024**2
"""With less than this free, the disk is why an engine does not start: PostgreSQL takes 16 MB of WAL at a time."""

_log = structlog.get_logger(__name__)


class Supervisor:
    """A context manager: while the block lasts, engines that exited are started again.

    After ``engine_restarts_max`` tries within ``engine_restarts_seconds`` it calls ``give_up`` once, from its own
    thread; leaving the block then raises ``EngineFailure``.
    """

    def __init__(self, engines: Engines, give_up: Callable[[], None]) -> None:
        self._engines = engines
        self._give_up = give_up
        self._tries: deque[float] = deque()
        self._over = Event()
        self._failure: EngineFailure | None = None
        self._thread = Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            gone = self._engines.gone()
            if not gone:
                continue
            self._failure = self._too_often(gone)
            if self._failure is not None:
                _log.error("engine.given_up", engines=gone)
                self._give_up()
                return
            _log.warning("engine.exited", engines=gone)
            try:
                self._engines.start_again()
            except (EngineFailure, psycopg.Error, redis.RedisError, OSError) as error:
                # Processes of a killed PostgreSQL may need a moment to end; the next look tries again.
                _log.warning("engine.not_started", engines=gone, error=str(error))
            else:
                _log.info("engine.started_again", engines=gone)

    def _too_often(self, gone: list[str]) -> EngineFailure | None:
        settings, now = self._engines.settings, time.monotonic()
        while self._tries and now - self._tries[0] > settings.engine_restarts_seconds:
            self._tries.popleft()
        if len(self._tries) < settings.engine_restarts_max:
            self._tries.append(now)
            return None
        free = shutil.disk_usage(settings.data_dir).free
        if free < DISK_FULL_BYTES:
            return EngineFailure(
                f"{' and '.join(gone)} stopped, because the disk is full.",
                f"{free // 1024**2} MB are free for {settings.data_dir}. All that was acknowledged is kept.",
                f"Free at least {settings.disk_free_min // 1024**2} MB and start again: ./task up",
            )
        return EngineFailure(
            f"{' and '.join(gone)} exited, after {len(self._tries)} restarts within"
            f" {settings.engine_restarts_seconds:g} s.",
            f"One more would be no cure. The cause is at the end of its log in {settings.logs_dir}."
            " All that was acknowledged is kept.",
            "Correct the cause and start again: ./task up",
        )
