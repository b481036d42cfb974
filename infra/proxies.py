"""Where a request comes from when a reverse proxy stands in front: whose ``X-Forwarded-For`` is believed.

Anybody can send that header. A proxy appends the address that it was called from, so the list is read from its end,
for as long as each address is a proxy that the settings trust; the first that is not is the client, and whatever
precedes it is the client's own word.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

HOPS_MAX = 32
"""Proxies that a request may have come through; what is further away is not looked at."""

Network = IPv4Network | IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """The addresses and networks that are named there, separated by spaces. Raises ``ValueError`` for anything else."""
    return tuple(ip_network(piece) for piece in text.split())


def client_address(peer: str, forwarded: Sequence[bytes], trusted: Sequence[Network]) -> str:
    """The network address of the client: ``peer``, unless that is a trusted proxy that names another.

    ``forwarded`` are the values of the headers ``X-Forwarded-For`` in their order. Where a trusted proxy names nothing
    that is an address, its own counts.
    """
    found = peer
    if not trusted or not forwarded or not _is_among(peer, trusted):
        return found
    hops = b",".join(forwarded).rsplit(b",", HOPS_MAX)[-HOPS_MAX:]
    for hop in reversed(hops):
        address = _address(hop.decode("latin-1"))
        if address is None:
            break
        found = str(address)
        if not _is_among(found, trusted):
            break
    return found


def _is_among(text: str, trusted: Sequence[Network]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``, quoted or not."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
