"""The fault proxy does what it says to each server's connections, in each direction, and takes it back."""

import socket
import time
from uuid import uuid4

import pytest

from infra.stack import Stack
from infra.stack.kafka import brokers
from infra.stack.ports import HOST
from tests.stack.wire import CLIENTS, SECONDS, Client, Connect, Silence

SETTLE_SECONDS_MAX = 5.0
"""How long what was sent may take to a loaded server."""

each = pytest.mark.parametrize("service", list(CLIENTS))


def name() -> str:
    return f"t{uuid4().hex}"


def comes_true(witness: Client, what: str) -> bool:
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while not witness.done(what):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@each
def test_what_goes_through_the_proxy_reaches_the_server(
    stack: Stack, direct: Connect, proxied: Connect, service: str
) -> None:
    client, witness, what = proxied(service), direct(service), name()
    client.do(what)
    assert comes_true(witness, what)


@each
def test_a_partition_cuts_both_directions_of_open_connections(
    stack: Stack, direct: Connect, proxied: Connect, service: str
) -> None:
    client, witness, what = proxied(service), direct(service), name()
    stack.proxy(service).partition()
    with pytest.raises(Silence):
        client.do(what)
    assert not witness.done(what)


@each
def test_nothing_arrives_upstream_of_a_partition_that_way(
    stack: Stack, direct: Connect, proxied: Connect, service: str
) -> None:
    client, witness, what = proxied(service), direct(service), name()
    stack.proxy(service).partition(["upstream"])
    with pytest.raises(Silence):
        client.do(what)
    assert not witness.done(what)


@each
def test_a_partition_of_the_replies_alone_leaves_the_deed_done_and_unacknowledged(
    stack: Stack, direct: Connect, proxied: Connect, service: str
) -> None:
    client, witness, what = proxied(service), direct(service), name()
    stack.proxy(service).partition(["downstream"])
    with pytest.raises(Silence):
        client.do(what)
    assert comes_true(witness, what)


@each
def test_new_connections_into_a_partition_stay_silent_and_healing_brings_all_back(
    stack: Stack, proxied: Connect, service: str
) -> None:
    proxy = stack.proxy(service)
    proxy.partition()
    began = time.monotonic()
    with socket.create_connection((HOST, proxy.port), SECONDS) as connection:
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert time.monotonic() - began >= SECONDS
    proxy.heal()
    client, what = proxied(service), name()
    client.do(what)
    assert client.done(what)


@each
def test_a_cut_refuses_new_connections_and_closes_open_ones(stack: Stack, proxied: Connect, service: str) -> None:
    proxy, client = stack.proxy(service), proxied(service)
    proxy.cut()
    with pytest.raises(Silence):
        client.do(name())
    with pytest.raises(ConnectionError):
        socket.create_connection((HOST, proxy.port), SECONDS)
    proxy.heal()
    proxied(service).do(name())


def test_a_slow_proxy_delays_by_what_was_asked_in_each_direction(stack: Stack, proxied: Connect) -> None:
    client = proxied("redis")
    stack.proxy("redis").slow(150)
    began = time.monotonic()
    client.do(name())
    assert time.monotonic() - began >= 0.3


def test_a_reply_can_be_cut_off_after_the_deed(stack: Stack, direct: Connect, proxied: Connect) -> None:
    client, witness, what = proxied("redis"), direct("redis"), name()
    stack.proxy("redis").cut_after(0)
    with pytest.raises(Silence):
        client.do(what)
    assert comes_true(witness, what)


def test_clients_of_the_proxied_broker_are_told_to_stay_on_the_proxy(stack: Stack) -> None:
    kafka = stack.kafka
    assert brokers(kafka.port("direct")) == [(HOST, kafka.port("direct"))]
    assert brokers(kafka.proxy_port) == [(HOST, kafka.proxy_port)]
    assert kafka.proxied_url == f"{HOST}:{kafka.proxy_port}"
    assert kafka.port("direct") != kafka.proxy_port


def test_a_proxy_can_be_put_before_anything(stack: Stack) -> None:
    proxy = stack.toxiproxy.add(name(), stack.redis.port("server"))
    with socket.create_connection((HOST, proxy.port), SECONDS) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")
    proxy.cut()
    with pytest.raises(ConnectionError):
        socket.create_connection((HOST, proxy.port), SECONDS)


def test_all_proxies_are_whole_again_after_their_process_was_killed(stack: Stack, proxied: Connect) -> None:
    stack.proxy("postgres").cut()
    stack.toxiproxy.kill()
    with pytest.raises(ConnectionError):
        socket.create_connection((HOST, stack.postgres.proxy_port), SECONDS)
    stack.toxiproxy.start()
    for service in CLIENTS:
        proxied(service).do(name())
