"""One server as a process of its own, for the bench: ``python -m tests.bench.live_server [gateway]``.

Serves the API at ``/graphql`` and, at ``/stock``, the same schema over the same topics by Strawberry's own handler,
which finds the access token in the query string. A ``gateway`` leaves the views to another process.
Settings come from the environment. Prints its port.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL

from infra.composition import Moot, open_moot
from infra.settings import load_settings
from infra.tasks import end
from projections.catalogue import ALL
from read_api.app import create_app
from read_api.bearer import authenticated
from read_api.context import Context
from read_api.cursors import Sealer
from read_api.live.following import Event
from read_api.live.registry import Topics
from read_api.live.sockets import socket_options
from read_api.live.streams import Stream, SubscriptionContext
from read_api.schema import strawberry_schema
from read_api.transport_ws import WebSocketEndpoint
from streams.runner import Runner


class Stock(GraphQL[Context, None]):
    """Strawberry's handler as its documentation has it: every client's operation runs by itself."""

    def __init__(self, moot: Moot, topics: Topics) -> None:
        super().__init__(strawberry_schema, graphql_ide=None)
        self._moot = moot
        self._topics = topics

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        sealer = Sealer(self._moot.secrets.cursor_key)
        said = (request.scope.get("query_string") or b"").decode("latin-1")
        viewer = await authenticated(self._moot, f"Bearer {said}" if said else "")
        caller = Context(self._moot, sealer, request_id="bench", viewer_id=viewer.account_id if viewer else None)
        return SubscriptionContext(caller, self._topics)


class Pulled:
    """A stream to be pulled from, as Strawberry's handler does."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def deliver(self, event: Event) -> None:
        """See ``Sink``."""
        self.events.put_nowait(event)

    async def ready(self) -> None:
        """See ``Sink``."""

    def is_live(self) -> None:
        """See ``Sink``."""


async def pulled(stream: Stream[Any]) -> AsyncIterator[Any]:
    """The payloads of a stream, one by one."""
    sink = Pulled()
    pumping = asyncio.create_task(stream.pump(sink))
    try:
        while True:
            yield (await sink.events.get()).payload
    finally:
        await end(pumping)


class Both:
    """Two applications."""

    def __init__(self, app: ASGIApp, stock: ASGIApp) -> None:
        self._app = app
        self._stock = stock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._stock if scope.get("path") == "/stock" else self._app)(scope, receive, send)


async def main() -> None:
    """Serve until killed."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    Stream.__aiter__ = pulled  # type: ignore[method-assign,assignment]  # ours are pumped, and never iterated
    async with open_moot(load_settings()) as moot:
        runner = None
        if "gateway" not in sys.argv:
            runner = Runner(moot.database_url, moot.store, ALL.values(), moot.publisher)
            runner.start()
            await asyncio.to_thread(runner.wait, await moot.store.head(), 60.0)
        app = create_app(moot)
        endpoint: Any = next(route for route in app.routes if isinstance(route, WebSocketRoute)).endpoint
        assert isinstance(endpoint, WebSocketEndpoint)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        both = Both(app, Stock(moot, endpoint.operations.topics))
        config = uvicorn.Config(
            both,
            loop="none",
            http="httptools",
            log_config=None,
            access_log=False,
            backlog=2048,
            **socket_options(moot.settings),
        )
        await uvicorn.Server(config).serve(sockets=[listener])
        if runner is not None:
            await asyncio.to_thread(runner.stop, 5)


if __name__ == "__main__":
    uvloop.run(main())
