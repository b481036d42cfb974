"""A whole stack: any of its servers started together, attached to, and stopped."""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import psutil
from msgspec import Struct

from infra.engine_process import runner_for
from infra.settings import load_settings
from infra.stack.cassandra import Cassandra
from infra.stack.downloads import Say
from infra.stack.kafka import Kafka
from infra.stack.ports import free_ports
from infra.stack.postgres import Postgres
from infra.stack.proxies import Proxy, Toxiproxy
from infra.stack.record import Book, StackFailure
from infra.stack.redis import Redis
from infra.stack.server import START_SECONDS_MAX, STOP_SECONDS_MAX, Place, Server

KINDS: Final[dict[str, type[Server]]] = {kind.name: kind for kind in (Kafka, Postgres, Redis, Cassandra, Toxiproxy)}
SERVICES: Final = tuple(KINDS)
"""All of them. Any of them can be had without the others."""

VARIABLES: Final = {
    Kafka.name: "MOOT_KAFKA_URL",
    Postgres.name: "MOOT_DATABASE_URL",
    Redis.name: "MOOT_REDIS_URL",
    Cassandra.name: "MOOT_CASSANDRA_URL",
}
"""The setting that points Moot at each."""

S = TypeVar("S", bound=Server)
T = TypeVar("T")

_POLL_SECONDS = 0.05
_PASSWORD_BYTES = 24
"""Of randomness, in every generated password: more than anybody can try."""
_ALONE_SECONDS_MAX = START_SECONDS_MAX + STOP_SECONDS_MAX + 300.0
"""How long to wait for another process that starts or stops the same stack: it may have to download everything."""


class Condition(StrEnum):
    """How a server does."""

    ANSWERS = "answers"
    SILENT = "silent"
    """It runs and does not serve: it is starting, or in trouble."""
    PAUSED = "paused"
    STOPPED = "stopped"


class Status(Struct, frozen=True):
    """One server as it is right now. Without a process, ``pid`` is ``None``; without a first start, ``port`` is."""

    service: str
    title: str
    condition: Condition
    pid: int | None
    port: int | None
    url: str
    proxied_url: str
    start_seconds: float | None
    log: str


class Stack:
    """Servers over one folder. A context manager: leaving it stops those that it has."""

    def __init__(self, place: Place, services: Sequence[str]) -> None:
        self.folder = place.folder
        self.servers: dict[str, Server] = {name: KINDS[name](place) for name in services}
        self._place = place

    @property
    def kafka(self) -> Kafka:
        """The broker."""
        return self._one(Kafka)

    @property
    def postgres(self) -> Postgres:
        """The database server."""
        return self._one(Postgres)

    @property
    def redis(self) -> Redis:
        """The signal server."""
        return self._one(Redis)

    @property
    def cassandra(self) -> Cassandra:
        """The node of the message log."""
        return self._one(Cassandra)

    @property
    def toxiproxy(self) -> Toxiproxy:
        """The fault proxy's own process. Its proxies: ``proxy``."""
        return self._one(Toxiproxy)

    def proxy(self, service: str) -> Proxy:
        """The fault proxy before a server, to cut, partition, slow and heal."""
        return self.toxiproxy.before(service)

    def environment(self, *, proxied: bool = False) -> dict[str, str]:
        """The settings that point Moot at these servers, directly or through the fault proxy."""
        found = {VARIABLES[name]: server for name, server in self.servers.items() if name in VARIABLES}
        return {variable: server.proxied_url if proxied else server.url for variable, server in found.items()}

    def start(self, *, new_ports: bool = False) -> list[str]:
        """Start those that do not run; gives their names. When one fails, those that this call started are stopped.

        Ports stay the same from one start to the next, unless ``new_ports`` are wanted.
        """
        servers = list(self.servers.values())
        self._make_folder()
        with _alone(self.folder):
            self._locate(new_ports=new_ports)
            _together(servers, lambda server: server.fetch())
            idle = [server for server in servers if server.process is None]
            try:
                _together(servers, self._start_one)
            except BaseException:
                _together(idle, lambda server: server.stop())
                raise
        return [server.name for server in idle]

    def stop(self) -> list[str]:
        """Stop those that run, also those that another process started; gives their names."""
        if not self.folder.exists():
            return []
        with _alone(self.folder):
            running = [server for server in self.servers.values() if server.process is not None]
            _together(running, self._stop_one)
        return [server.name for server in running]

    def status(self) -> list["Status"]:
        """How each server does right now; a silent one takes a few seconds to find out about."""
        return _together(list(self.servers.values()), _status_of)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "logs").mkdir(exist_ok=True)
        except OSError as error:
            raise StackFailure(
                f"The stack's folder {self.folder} cannot be made.",
                f"{error.strerror or error}.",
                "Use one that is yours: MOOT_STACK_DIR=~/moot-stack ./task stack:up",
            ) from None

    def _locate(self, *, new_ports: bool) -> None:
        """Give every server its ports, also those that are not wanted yet: each may have to name another's."""
        book = self._place.book
        if new_ports:
            running = [kind.title for name, kind in KINDS.items() if book.process(name) is not None]
            if running:
                raise StackFailure(
                    f"The stack gets no new ports while {', '.join(running)} still runs.",
                    "Its servers have told each other and their clients where they are.",
                    "./task stack:down, and then again.",
                )
            for name in KINDS:
                book.change(name, ports={})
        # Another of these servers may not listen yet where it will.
        given = {port for name in KINDS for port in book.entry(name).ports.values()}
        for name, kind in KINDS.items():
            missing = [port for port in kind.port_names if port not in book.entry(name).ports]
            if missing:
                found = free_ports(len(missing), besides=given)
                given.update(found)
                book.change(name, ports=book.entry(name).ports | dict(zip(missing, found, strict=True)))
            if kind.has_password and not book.entry(name).password:
                book.change(name, password=secrets.token_urlsafe(_PASSWORD_BYTES))
        for server in self.servers.values():
            url, proxied_url = server.locate()
            book.change(server.name, url=url, proxied_url=proxied_url, log=str(server.log))

    def _start_one(self, server: Server) -> None:
        if server.start():
            self._place.say(f"{server.title}: answers at port {server.main_port} after {server.entry.start_seconds} s")
        else:
            self._place.say(f"{server.title}: was running already, at port {server.main_port}")

    def _stop_one(self, server: Server) -> None:
        began = time.monotonic()
        server.stop()
        self._place.say(f"{server.title}: stopped in {time.monotonic() - began:.1f} s")

    def _one(self, kind: type[S]) -> S:
        server = self.servers.get(kind.name)
        if not isinstance(server, kind):
            raise StackFailure(
                f"This stack has no {kind.title}.",
                f"It was opened with {', '.join(self.servers) or 'nothing'}.",
                f"Name {kind.name!r} among its services.",
            )
        return server


def default_folder() -> Path:
    """The stack's folder where none is named. What was downloaded is kept there for every other stack as well."""
    return load_settings({name: value for name, value in os.environ.items() if name == "MOOT_STACK_DIR"}).stack_dir


def open_stack(
    folder: Path | None = None,
    services: Sequence[str] = SERVICES,
    *,
    durable: bool = True,
    say: Say = lambda line: None,
) -> Stack:
    """The stack of a folder as it is, running or not; starts nothing. Parameters are those of ``start_stack``."""
    unknown = [name for name in services if name not in KINDS]
    if unknown:
        raise StackFailure(
            f"The stack has no {', '.join(unknown)}.", "Each service goes by its name.", f"Use {', '.join(SERVICES)}."
        )
    folder = (folder or default_folder()).absolute()
    downloads = default_folder() / "downloads"
    return Stack(Place(folder, downloads, runner_for(folder), Book(folder), durable, say), services)


def start_stack(
    folder: Path | None = None,
    services: Sequence[str] = SERVICES,
    *,
    durable: bool = True,
    say: Say = lambda line: None,
) -> Stack:
    """Start servers over a folder, or attach to those that run; returns when all answer.

    ``durable=False`` is for tests: what is committed may be lost when the machine, not only a process, goes down.
    ``say`` is given a line about each thing that takes its time. Raises ``StackFailure`` or ``EngineFailure``.
    """
    stack = open_stack(folder, services, durable=durable, say=say)
    stack.start()
    return stack


def _together(servers: Sequence[Server], act: Callable[[Server], T]) -> list[T]:
    """Do it to all of them at the same time; the first failure is raised once all are done."""
    if not servers:
        return []
    with ThreadPoolExecutor(len(servers)) as threads:
        return [outcome.result() for outcome in [threads.submit(act, server) for server in servers]]


def _status_of(server: Server) -> Status:
    entry = server.entry
    process = server.process
    if process is None:
        condition = Condition.STOPPED
    elif _paused(process):
        condition = Condition.PAUSED
    else:
        condition = Condition.ANSWERS if server.answers() else Condition.SILENT
    return Status(
        service=server.name,
        title=server.title,
        condition=condition,
        pid=None if process is None else process.pid,
        port=server.main_port if entry.ports else None,
        url=entry.url,
        proxied_url=entry.proxied_url,
        start_seconds=entry.start_seconds,
        log=str(server.log),
    )


def _paused(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock under which the servers of a stack start and stop."""
    with (folder / "starting.lock").open("w") as held:
        deadline = time.monotonic() + _ALONE_SECONDS_MAX
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackFailure(
                        "Another process has been starting or stopping this stack for too long.",
                        f"It holds {folder / 'starting.lock'}.",
                        "End that process (fuser shows it) and run this again.",
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield
