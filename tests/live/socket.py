"""A raw client of graphql-transport-ws: it sends what it is told and hides nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.api.stack import Client, Stack

SECONDS = 15.0
PROTOCOL = "graphql-transport-ws"


class Socket:
    """An open WebSocket."""

    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw

    async def send(self, message: Any) -> None:
        await self.raw.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self, *, pings: bool = False) -> Any:
        """The next message; pings are answered and passed over unless asked for."""
        while True:
            frame = await asyncio.wait_for(self.raw.recv(), SECONDS)
            assert isinstance(frame, str), "a binary frame"
            message = json.loads(frame)
            if message == {"type": "ping"} and not pings:
                await self.send({"type": "pong"})
                continue
            return message

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame that ends the connection; all else that comes first is passed over."""
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    await self.raw.recv()
        except ConnectionClosed as closed:
            frame = closed.rcvd
        assert frame is not None, "cut off without a close frame"
        return frame.code, frame.reason

    async def init(self, payload: Any = None, **more: Any) -> None:
        await self.send({"type": "connection_init", **({} if payload is None else {"payload": payload}), **more})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, id_: str, query: str, **payload: Any) -> None:
        await self.send({"id": id_, "type": "subscribe", "payload": {"query": query, **payload}})

    async def next(self, id_: str) -> Any:
        """The data of the next message, which must be a result of that operation."""
        message = await self.receive()
        assert message["type"] == "next", message
        assert message["id"] == id_
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def alive(self) -> None:
        """The socket still answers, and nothing else was on its way."""
        await self.send({"type": "ping", "payload": {"still": "there"}})
        assert await self.receive() == {"type": "pong", "payload": {"still": "there"}}


@asynccontextmanager
async def opened(stack: Stack, *, protocols: tuple[str, ...] = (PROTOCOL,), **more: Any) -> AsyncIterator[Socket]:
    """A socket that has shaken hands and nothing more."""
    url = stack.url.replace("http", "ws", 1) + "/graphql"
    async with connect(url, subprotocols=list(protocols) or None, proxy=None, **more) as raw:  # type: ignore[arg-type]
        yield Socket(raw)


@asynccontextmanager
async def signed_in(stack: Stack, who: Client | None = None, **more: Any) -> AsyncIterator[Socket]:
    """A socket that is acknowledged, of somebody or of a visitor."""
    async with opened(stack, **more) as socket:
        await socket.init(None if who is None else {"authorization": who.http.headers["Authorization"]})
        yield socket
