"""What is checked before anything is started, each with the exact fix."""

import errno
import os
import shutil
import socket

import psutil

from infra.engine_urls import ask_postgres, ask_redis
from infra.failures import Failure
from infra.settings import Settings

PORTS_TRIED = 20
"""Ports after the usual one that are tried before the system chooses one."""


class PreflightFailure(Failure):
    """The machine is not fit to start on. Nothing was started and nothing was changed."""


def check_machine(settings: Settings) -> None:
    """Make sure of the data directory, the disk and the memory. Raises ``PreflightFailure``."""
    _check_folder(settings)
    free = shutil.disk_usage(settings.data_dir).free
    if free < settings.disk_free_min:
        raise PreflightFailure(
            f"The disk is nearly full: {_mb(free)} are free where {settings.data_dir} is.",
            f"Below {_mb(settings.disk_free_min)} PostgreSQL may stop in the middle of a write.",
            f"Free some space (du -sh {settings.data_dir}), or use another disk: ./task up --data-dir FOLDER",
        )
    available = psutil.virtual_memory().available
    if available < settings.memory_free_min:
        raise PreflightFailure(
            f"Only {_mb(available)} of memory are free.",
            f"Below {_mb(settings.memory_free_min)} the kernel may kill an engine.",
            "End something else, or lower the mark: MOOT_MEMORY_FREE_MIN=0 ./task up",
        )


def check_given_engines(settings: Settings) -> None:
    """Make sure that engines of one's own answer, where the settings name any. Raises ``EngineAway``."""
    if settings.database_url is not None:
        ask_postgres(settings.database_url.get_secret_value())
    if settings.redis_url is not None:
        ask_redis(settings.redis_url.get_secret_value())


def listen(settings: Settings, *, exactly: bool) -> socket.socket:
    """A socket bound to the port of the settings, or to the next free one unless it must be ``exactly`` that."""
    wanted = [settings.port]
    if not exactly and settings.port != 0:
        wanted += [*range(settings.port + 1, min(settings.port + PORTS_TRIED, 65_535) + 1), 0]
    for port in wanted:
        bound = _bind(settings.host, port)
        if bound is not None:
            return bound
    raise PreflightFailure(
        f"Port {settings.port} on {settings.host} is in use.",
        "Another program listens there (ss -ltnp shows which).",
        "Stop that program, or leave the port out to get a free one: ./task up",
    )


def _bind(host: str, port: int) -> socket.socket | None:
    """``None`` when the port is taken. Raises ``PreflightFailure`` when the address is none of this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_address(host, port, error) from None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        # Two may bind one address; only one may listen, so this is what shows that the port is free.
        bound.listen(2048)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise _no_address(host, port, error) from None
    return bound


def _no_address(host: str, port: int, error: OSError) -> PreflightFailure:
    return PreflightFailure(
        f"Moot cannot listen on {host}, port {port}.",
        f"{error.strerror or error}.",
        "Ports below 1024 belong to root. Use --port 8000, and MOOT_HOST=127.0.0.1 if you changed the address.",
    )


def _check_folder(settings: Settings) -> None:
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise _not_writable(settings, "It is a file.") from None
    except OSError as error:
        raise _not_writable(settings, f"{error.strerror or error}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(settings, "It belongs to another user.")


def _not_writable(settings: Settings, why: str) -> PreflightFailure:
    return PreflightFailure(
        f"The data directory {settings.data_dir} cannot be written to.",
        why,
        "Make it yours (sudo chown -R $(id -u) FOLDER), or use another: ./task up --data-dir ~/moot-data",
    )


def _mb(size: int) -> str:
    return f"{size // 1024**2:,} MB"
