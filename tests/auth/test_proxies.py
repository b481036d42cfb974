"""Who is counted behind a reverse proxy: whom a proxy that is trusted names, and nobody else's word."""

import pytest

from infra.proxies import HOPS_MAX, client_address, networks
from infra.settings import SettingsError, load_settings

TRUSTED = networks("10.0.0.0/8 192.0.2.1 2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),  # whoever is no proxy of ours may write what he likes
        ("192.0.2.2", ["198.51.100.7"], "192.0.2.2"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:192.0.2.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8::1", ["2001:470::9"], "2001:470::9"),
        ("192.0.2.1", ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),  # from proxy to proxy
        ("192.0.2.1", ["198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        ("192.0.2.1", ["1.1.1.1, 198.51.100.7 , 10.1.2.3"], "198.51.100.7"),  # the first is the client's own word
        ("192.0.2.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),  # ours all the way
        ("192.0.2.1", ["198.51.100.7:5432"], "198.51.100.7"),
        ("192.0.2.1", ['"[2001:470::9]:5432"'], "2001:470::9"),
        ("192.0.2.1", ["[2001:470::9]"], "2001:470::9"),
        ("192.0.2.1", ["198.51.100.7, unknown, 10.1.2.3"], "10.1.2.3"),  # the last that is known
        ("192.0.2.1", ["", " , ", "nonsense"], "192.0.2.1"),
        ("192.0.2.1", ["\xff\x00"], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7" + ", 10.1.2.3" * HOPS_MAX], "10.1.2.3"),
        ("", ["198.51.100.7"], ""),
        ("a-socket", ["198.51.100.7"], "a-socket"),
    ],
)
def test_who_is_behind_a_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, [line.encode("latin-1") for line in forwarded], TRUSTED) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert load_settings({}).trusted_proxies == ""
    assert client_address("127.0.0.1", [b"198.51.100.7"], networks("")) == "127.0.0.1"


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,192.0.2.1", "*"])
def test_what_is_no_network_is_said_with_its_variable(wrong: str) -> None:
    with pytest.raises(SettingsError) as failure:
        load_settings({"MOOT_TRUSTED_PROXIES": f"192.0.2.1 {wrong}"})
    assert "MOOT_TRUSTED_PROXIES" in failure.value.why
    assert wrong in failure.value.why
