"""Each server, hurt in every way that the fault tests hurt it, serves again on the same port over the same data."""

import socket
import threading
import time

import psutil
import psycopg
import pytest
import redis

from infra.stack import SERVICES, Condition, Stack, StackFailure
from infra.stack.cassandra import USER
from infra.stack.cql import CqlConnection, Refused
from infra.stack.ports import HOST
from tests.stack.wire import CLIENTS, SECONDS, Connect

each = pytest.mark.parametrize("service", SERVICES)
ROLE_SECONDS_MAX = 10.0
"""Cassandra knows a role for two seconds as it was."""


def condition(stack: Stack, service: str) -> Condition:
    return next(one.condition for one in stack.status() if one.service == service)


@each
def test_a_killed_server_is_gone_with_all_its_processes_and_starts_on_the_same_ports(
    stack: Stack, service: str
) -> None:
    server = stack.servers[service]
    before, main = server.entry, server.process
    assert main is not None
    family = [main, *main.children(recursive=True)]
    server.kill()
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert (condition(stack, service), server.process) == (Condition.STOPPED, None)
    assert not server.answers()
    assert server.start()
    assert server.answers()
    assert (server.entry.ports, server.url, server.proxied_url) == (before.ports, before.url, before.proxied_url)
    assert server.entry.pid != before.pid


@each
def test_a_paused_server_is_silent_and_answers_once_it_is_resumed(stack: Stack, service: str) -> None:
    server = stack.servers[service]
    pid = server.entry.pid
    server.pause()
    assert not server.answers()
    assert condition(stack, service) is Condition.PAUSED
    server.resume()
    assert server.answers()
    assert (condition(stack, service), server.entry.pid) == (Condition.ANSWERS, pid)


@each
def test_a_paused_server_can_be_stopped_in_good_order(stack: Stack, service: str) -> None:
    server = stack.servers[service]
    server.pause()
    server.stop()
    assert server.process is None
    assert not server.stop()


@each
def test_a_restart_is_another_process_on_the_same_ports(stack: Stack, service: str) -> None:
    server = stack.servers[service]
    before = server.entry
    server.restart()
    assert server.answers()
    assert server.entry.ports == before.ports
    assert server.entry.pid != before.pid


@each
def test_a_port_that_somebody_took_is_named_with_who_took_it(stack: Stack, service: str) -> None:
    server = stack.servers[service]
    server.stop()
    port = server.main_port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, port))
        taken.listen()
        with pytest.raises(StackFailure) as failure:
            server.start()
    assert f"Port {port}, which belongs to {server.title}, is in use." in failure.value.what
    assert f"Process {psutil.Process().pid} " in failure.value.why
    assert server.start()


@pytest.mark.parametrize("service", ["kafka", "postgres", "cassandra"])
def test_what_was_acknowledged_is_there_after_a_kill_and_after_a_restart(
    stack: Stack, direct: Connect, service: str
) -> None:
    what = f"kept_{service}_{time.time_ns()}"
    direct(service).do(what)
    for hurt in (stack.servers[service].kill, stack.servers[service].restart):
        hurt()
        stack.servers[service].start()
        assert direct(service).done(what)


def test_redis_is_empty_after_a_restart(stack: Stack, direct: Connect) -> None:
    direct("redis").do("signal")
    stack.redis.restart()
    assert not direct("redis").done("signal")


@pytest.mark.parametrize("service", list(CLIENTS))
def test_a_connection_that_was_open_before_a_pause_is_served_after_it(
    stack: Stack, direct: Connect, service: str
) -> None:
    client, what = direct(service), f"paused_{time.time_ns()}"
    stack.servers[service].pause()
    later = threading.Timer(0.3, stack.servers[service].resume)
    later.start()
    client.do(what)
    later.join()
    assert client.done(what)


def test_nobody_gets_in_without_the_password(stack: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication failed"):
        psycopg.connect(host=HOST, port=stack.postgres.port("server"), user="moot", dbname="moot", passfile="/dev/null")
    with redis.Redis(HOST, stack.redis.port("server")) as client, pytest.raises(redis.AuthenticationError):
        client.get("x")
    with pytest.raises(Refused):
        CqlConnection(HOST, stack.cassandra.main_port, USER, "guessed", seconds=SECONDS)


def test_nobody_gets_into_cassandra_as_the_user_whom_every_new_node_has(stack: Stack) -> None:
    deadline = time.monotonic() + ROLE_SECONDS_MAX

    def knock() -> None:
        while time.monotonic() < deadline:
            CqlConnection(HOST, stack.cassandra.main_port, "cassandra", "cassandra", seconds=SECONDS).close()

    with pytest.raises(Refused, match="not permitted to log in"):
        knock()
