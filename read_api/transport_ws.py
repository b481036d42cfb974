"""GraphQL over WebSocket: ``graphql-transport-ws`` and nothing else.

The legacy ``graphql-ws`` subprotocol is not spoken: as in the reference implementation, a client that offers nothing
we speak is accepted and closed with 4406, so that it learns why. Browsers let any page open a WebSocket to anywhere;
nothing here acts on cookies, and pages of origins that are not allowed are turned away before the handshake.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send

from infra.composition import Moot
from infra.proxies import networks
from infra.settings import Settings
from infra.telemetry import metrics
from read_api.addresses import address_of
from read_api.cursors import Sealer
from read_api.execution import Engine
from read_api.live.connection import Client, Connection, ConnectionLimits
from read_api.live.following import FollowLimits
from read_api.live.messages import PROTOCOL, CloseCode
from read_api.live.operations import Operations
from read_api.live.registry import Topics
from read_api.live.sockets import ABORT, WRITE_NOW
from read_api.request_ids import request_id_of


def limits_of(settings: Settings) -> ConnectionLimits:
    """The limits of a connection, from the settings."""
    return ConnectionLimits(
        init_seconds_max=settings.websocket_init_seconds_max,
        ping_seconds=settings.websocket_ping_seconds,
        close_seconds_max=settings.websocket_close_seconds_max,
        message_bytes_max=settings.websocket_message_bytes_max,
        operations_max=settings.websocket_operations_max,
        queue_messages_max=settings.websocket_queue_messages_max,
        queue_bytes_max=settings.websocket_queue_bytes_max,
    )


class WebSocketEndpoint:
    """The ASGI application behind ``/graphql`` for WebSockets."""

    def __init__(self, moot: Moot, engine: Engine, sealer: Sealer) -> None:
        settings = moot.settings
        self._moot = moot
        self._sealer = sealer
        self._limits = limits_of(settings)
        self._origins = frozenset(settings.allowed_origins.split())
        self._proxies = networks(settings.trusted_proxies)
        follow = FollowLimits(page=settings.subscription_page_size, backfill_max=settings.subscription_backfill_max)
        self.operations = Operations(engine, Topics(moot.signals, moot.pool, follow))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket, from its handshake to its end."""
        connect = await receive()
        if connect["type"] != "websocket.connect":
            return
        headers = dict(scope["headers"])
        if not self._is_welcome(headers):
            await send({"type": "websocket.close", "code": int(CloseCode.FORBIDDEN), "reason": "Origin not allowed"})
            return
        if PROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            code = int(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE)
            await send({"type": "websocket.close", "code": code, "reason": "Subprotocol not acceptable"})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        user_agent = headers.get(b"user-agent", b"").decode("latin-1")
        client = Client(request_id_of(scope), address_of(scope, self._proxies), user_agent)
        offered = scope.get("extensions") or {}
        abort, write_now = offered.get(ABORT), offered.get(WRITE_NOW)
        with metrics.SOCKETS.track_inprogress():
            await Connection(
                self._moot, self._sealer, self.operations, client, self._limits, receive, send, abort, write_now
            ).run()

    def _is_welcome(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the page that connects, if it is a page, is ours or of an origin that the settings allow."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._origins or "*" in self._origins:
            return True
        try:
            place = urlsplit(origin).netloc
        except ValueError:  # no browser sends such an origin
            return False
        return place == headers.get(b"host", b"").decode("latin-1")


def websocket_route(path: str, moot: Moot, engine: Engine, sealer: Sealer) -> BaseRoute:
    """The route that serves WebSockets at that path."""
    return WebSocketRoute(path, WebSocketEndpoint(moot, engine, sealer))
