"""Where a request comes from."""

from collections.abc import Sequence

from starlette.types import Scope

from infra.proxies import Network, client_address


def address_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """The network address of the client of a request or a socket, behind trusted proxies or not; empty without one."""
    peer = scope["client"][0] if scope.get("client") else ""
    return client_address(peer, [value for name, value in scope["headers"] if name == b"x-forwarded-for"], proxies)
