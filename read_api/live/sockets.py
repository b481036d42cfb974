"""How the server must be run for WebSockets: options for uvicorn, and the one thing its protocol class lacks."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from infra.settings import Settings

ABORT = "moot.abort"
"""The ASGI extension by which a server offers to cut a connection off."""

WRITE_NOW = "moot.write-now"
"""The ASGI extension by which a server offers to write a text frame at once: ``Callable[[str], bool]``, which says
whether it did. It does not while the client has yet to read what was written before, nor to a socket that is closing.
"""


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, with the offer to cut off a client that reads nothing any more.

    ASGI knows only polite closing, which waits behind what the client does not read. And it offers to write without a
    turn of the event loop: thousands of sockets are told the same in one.
    """

    def handle_connect(self, event: Request) -> None:
        """Take the handshake; the application starts afterwards, in the next turn of the event loop."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][ABORT] = self.transport.abort
            scope["extensions"][WRITE_NOW] = self._write_now

    def _write_now(self, text: str) -> bool:
        """See ``WRITE_NOW``. A whole text frame changes nothing in the state of ``conn``, which is passed by."""
        conn = self.conn
        if conn.extensions or not self.writable.is_set() or conn.state is not State.OPEN or self.transport.is_closing():
            return False
        payload = text.encode()
        self.transport.write(_head(len(payload)) + payload)
        return True


def _head(length: int) -> bytes:
    """The head of a whole text frame without extensions, of a server: RFC 6455, section 5.2."""
    if length < 126:
        return bytes((0x81, length))
    return b"\x81\x7e" + length.to_bytes(2, "big") if length < 65_536 else b"\x81\x7f" + length.to_bytes(8, "big")


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
