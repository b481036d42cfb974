"""Addresses of a Cassandra: what each part says. What is none is refused in tests/tidy/test_settings.py."""

import pytest

from infra.cassandra.address import Address, parse


def test_the_shortest_address_and_the_longest() -> None:
    assert parse("cassandra://db/moot") == Address((("db", 9042),), "moot")
    assert parse(
        "cassandra://a%40b:p%3Aq@one:1,[::1]:2,three/k_1?datacenter=east&tls=on&ca=%2Fetc%2Fca.pem"
    ) == Address((("one", 1), ("::1", 2), ("three", 9042)), "k_1", "a@b", "p:q", "east", True, "/etc/ca.pem")


@pytest.mark.parametrize(("end", "tls"), [("", False), ("?tls=off", False), ("?tls=on", True)])
def test_tls_is_off_unless_it_is_wanted(end: str, tls: bool) -> None:
    assert parse(f"cassandra://db/moot{end}").tls is tls


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_a_port_is_one(port: str) -> None:
    with pytest.raises(ValueError, match="it looks like cassandra://"):
        parse(f"cassandra://db:{port}/moot")
