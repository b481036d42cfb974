"""The embedded engines: a real PostgreSQL and a real Redis under the data directory, shared by all who use it.

They outlive a process that is killed, and the next one attaches to them. Each user of the engines holds a shared
lock while it needs them; the kernel lets go of it when a process dies, however it dies. Whoever leaves last stops
them. Starting and stopping happen under a second, exclusive lock, one at a time.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from infra.embedded_postgres import EmbeddedPostgres
from infra.embedded_redis import EmbeddedRedis
from infra.engine_process import EngineFailure, runner_for, socket_folder
from infra.settings import Settings

_POLL_SECONDS = 0.05


class Engines:
    """Where the engines answer. A context manager: leaving it stops those that nobody else uses.

    ``settings`` are those that were given, and where the engines answer. ``started`` names those that this call
    started; the others were running already or are not ours.
    """

    def __init__(self, settings: Settings, engines: list[EmbeddedPostgres | EmbeddedRedis], users: int) -> None:
        self.started = [engine.name for engine in engines if engine.started]
        urls = {
            "database_url" if isinstance(engine, EmbeddedPostgres) else "redis_url": SecretStr(engine.url)
            for engine in engines
        }
        self.settings = settings.model_copy(update=urls)
        self.database_url, self.redis_url = self.settings.engine_urls()
        self._engines = engines
        self._users = users

    def close(self) -> bool:
        """Leave the engines; true when they were stopped because nobody else uses them. Again: does nothing."""
        if self._users < 0:
            return False
        with _starting(self.settings):
            last = _try_lock(self._users, fcntl.LOCK_EX)
            if last and self._engines:
                _together(self._engines, "stop")
            os.close(self._users)
            self._users = -1
        return last

    def gone(self) -> list[str]:
        """The names of our engines whose process has exited."""
        return [engine.name for engine in self._engines if not engine.alive()]

    def start_again(self) -> None:
        """Start those that exited. Raises ``EngineFailure``."""
        with _starting(self.settings):
            _together([engine for engine in self._engines if not engine.alive()], "start")

    def __enter__(self) -> "Engines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_engines(settings: Settings, *, durable: bool = True) -> Engines:
    """Start the embedded engines at the same time, or attach to those that run. Raises ``EngineFailure``.

    Engines given by settings (``database_url``, ``redis_url``) are left alone. ``durable=False`` is for tests: what
    is committed may be lost when the machine, not only the process, goes down.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _starting(settings):
        users = _open(settings.data_dir / "engines.lock")
        _try_lock(users, fcntl.LOCK_SH)
        engines = _embedded(settings, durable=durable)
        try:
            _together(engines, "start")
        except BaseException:
            if _try_lock(users, fcntl.LOCK_EX):
                _together(engines, "stop")
            os.close(users)
            raise
    return Engines(settings, engines, users)


def stop_engines(settings: Settings) -> bool:
    """Stop engines that a killed process left behind; false when somebody uses them. Raises ``EngineFailure``."""
    if not settings.data_dir.is_dir():
        return True
    with _starting(settings):
        users = _open(settings.data_dir / "engines.lock")
        try:
            if not _try_lock(users, fcntl.LOCK_EX):
                return False
            _together(_embedded(settings), "stop")
        finally:
            os.close(users)
    return True


def has_data(settings: Settings) -> bool:
    """Whether the data directory holds a database already."""
    return (settings.data_dir / "postgres" / "PG_VERSION").exists()


def _embedded(settings: Settings, *, durable: bool = True) -> list[EmbeddedPostgres | EmbeddedRedis]:
    if not settings.embedded:
        return []
    runner = runner_for(settings.data_dir / "postgres")
    sockets = socket_folder(settings.data_dir, runner)
    settings.logs_dir.mkdir(mode=0o700, exist_ok=True)
    engines: list[EmbeddedPostgres | EmbeddedRedis] = []
    if settings.database_url is None:
        engines.append(EmbeddedPostgres(settings, runner, sockets, durable=durable))
    if settings.redis_url is None:
        engines.append(EmbeddedRedis(settings, runner, sockets))
    return engines


def _together(engines: list[EmbeddedPostgres | EmbeddedRedis], verb: str) -> None:
    """Start or stop all of them at the same time; the first failure is raised once all are done."""
    if not engines:
        return
    with ThreadPoolExecutor(len(engines)) as threads:
        for outcome in [threads.submit(getattr(engine, verb)) for engine in engines]:
            outcome.result()


@contextmanager
def _starting(settings: Settings) -> Iterator[None]:
    """Hold the lock under which engines start and stop."""
    descriptor = _open(settings.data_dir / "starting.lock")
    try:
        deadline = time.monotonic() + settings.engine_start_seconds_max + settings.engine_stop_seconds_max
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EngineFailure(
                    "Another process has been starting or stopping the engines for too long.",
                    f"It holds {settings.data_dir / 'starting.lock'}.",
                    "End that process (fuser shows it) and start again.",
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """A lock file's descriptor; engines that we start do not inherit it (PEP 446)."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise EngineFailure(
            f"{path} cannot be opened.",
            "The data directory belongs to another user.",
            "Run as that user (sudo ./task up), or use another folder: MOOT_DATA_DIR=~/moot-data ./task up",
        ) from None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
