"""How the server must be run for WebSockets: options for uvicorn, and the one thing its protocol class lacks."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from infra.settings import Settings

ABORT = "moot.abort"
"""The ASGI extension by which a server offers to cut a connection off."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, with the offer to cut off a client that reads nothing any more.

    ASGI knows only polite closing, which waits behind what the client does not read.
    """

    def handle_connect(self, event: Request) -> None:
        """Take the handshake; the application starts afterwards, in the next turn of the event loop."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][ABORT] = self.transport.abort


def socket_options(settings: Settings) -> dict[str, Any]:
    """Options for ``uvicorn.Config``.

    No compression: it would be done once for each client, to what is serialised once for all. No pings of uvicorn's
    own: the protocol has its own, which also pass proxies that answer the others themselves.
    """
    return {
        "ws": SocketProtocol,
        "ws_max_size": settings.websocket_message_bytes_max,
        "ws_per_message_deflate": False,
        "ws_ping_interval": None,
    }
