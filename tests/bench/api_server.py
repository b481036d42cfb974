"""One API server as a process of its own, for the bench: ``python -m tests.bench.api_server ours|stock VIEWER``.

Settings come from the environment. Prints its port; ``GET /count`` gives how many statements were sent so far.
"""

import socket
import sys
from typing import Any

import psycopg
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.event import Id
from infra.composition import open_moot
from infra.settings import load_settings
from read_api.app import create_app
from tests.bench.api_stock import StockView


class Counted:
    """An application that also tells how many statements were sent to PostgreSQL."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._sent = 0
        real = psycopg.AsyncCursor.execute

        async def execute(cursor: Any, *arguments: Any, **named: Any) -> Any:
            self._sent += 1
            return await real(cursor, *arguments, **named)

        psycopg.AsyncCursor.execute = execute  # type: ignore[method-assign,assignment]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/count":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(self._sent).encode()})
        else:
            await self._app(scope, receive, send)


async def main(which: str, viewer_id: str) -> None:
    """Serve until killed."""
    async with open_moot(load_settings()) as moot:
        app: ASGIApp = create_app(moot) if which == "ours" else StockView(moot, Id(viewer_id))
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(Counted(app), loop="none", http="httptools", log_config=None, access_log=False)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
