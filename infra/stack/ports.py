"""Free ports of the loopback interface, and who holds one that is not free."""

import random
import socket
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from infra.stack.record import StackFailure

HOST = "127.0.0.1"
"""Every server of the stack listens here and nowhere else."""

_LOWEST = 10_240
"""Ports below are where well-known servers listen, PostgreSQL at 5432 and Kafka at 9092 among them."""
_RANGE_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_CLIENTS_FROM = 32_768
"""Where the range of clients begins unless the system says otherwise (Linux's default)."""
_TRIES_MAX = 1_000
"""Ports that are tried for each one wanted; more misses than this mean that none is to be had."""


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """So many different ports on which nobody listens, ``besides`` those.

    None is of the range that the system gives to clients: while a server is down, some client's own end of a
    connection would take its port, and it could not start again.
    """
    highest = max(_clients_from() - 1, _LOWEST + _TRIES_MAX)
    chosen: list[int] = []
    with ExitStack() as held:
        for _ in range(count * _TRIES_MAX):
            if len(chosen) == count:
                return chosen
            port = random.randint(_LOWEST, highest)  # noqa: S311 - so that two stacks rarely try the same one
            bound = _bind(port) if port not in besides else None
            if bound is not None:
                held.enter_context(bound)
                chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise StackFailure(
        f"There are no {count} free ports on {HOST}.",
        f"Tried {count * _TRIES_MAX:,} between {_LOWEST} and {highest}.",
        "See what listens (ss -ltn) and end what is not needed.",
    )


def check_free(name: str, ports: Sequence[int]) -> None:
    """Make sure that a server can listen on all of these. Raises ``StackFailure`` that says who is in the way."""
    for port in ports:
        bound = _bind(port)
        if bound is None:
            raise StackFailure(
                f"Port {port}, which belongs to {name}, is in use.",
                f"{_holder(port)} listens there.",
                "End that program, or give the stack new ports: ./task stack:down, then ./task stack:up --new-ports",
            )
        bound.close()


def _bind(port: int) -> socket.socket | None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # What is left of connections that were closed lately is in nobody's way.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(1)
    except OSError:
        bound.close()
        return None
    return bound


def _clients_from() -> int:
    try:
        return int(_RANGE_OF_CLIENTS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _CLIENTS_FROM


def _holder(port: int) -> str:
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "Another program (ss -ltnp shows which)"
    for connection in found:
        address = connection.laddr
        if connection.status != psutil.CONN_LISTEN or not address or connection.pid is None:
            continue
        if address.port == port:
            try:
                return f"Process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                break
    return "Another program"
