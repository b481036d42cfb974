"""Ports of the native stack."""

from infra.stack import ports


def test_ports_are_different_and_none_of_those_that_are_given_already() -> None:
    found = ports.free_ports(50)
    assert len(set(found)) == 50
    assert min(ports.free_ports(50, besides=range(31_000))) >= 31_000
