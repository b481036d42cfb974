"""One WebSocket to the API, on which questions and subscriptions go side by side (graphql-transport-ws).

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from infra.failures import Failure
from streams.cli.client import code_of
from streams.cli.console import Refused

ANSWER_SECONDS_MAX: Final = 20.0
"""How long an answer may take; then the connection is given up: the API itself gives up sooner."""
SIGNED_OUT: Final = (4401, 4403)
"""Close codes after which one has to sign in anew."""
TRY_LATER: Final = frozenset({"UNAVAILABLE", "TOO_BUSY", "INTERNAL"})
"""Errors of a moment: the same may be asked again, with the same key."""


class Lost(Failure):
    """There is no connection, or it broke before the answer came: what was asked for may have happened or not."""

    def __init__(self, why: str, *, signed_out: bool = False) -> None:
        super().__init__("The connection to the API was lost.", why, "Is it still up? See: moot doctor")
        self.signed_out = signed_out


class SaidNo(Refused):
    """The API refused. ``code`` is stable, ``what`` a sentence, ``wait_seconds`` how long to wait if that helps."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code = code_of(error)
        self.wait_seconds: int | None = error.get("retryAfterSeconds")
        fix = "Change what it asks for." if self.wait_seconds is None else f"Try again in {self.wait_seconds} s."
        super().__init__(error["message"], f"The API answered {self.code}.", fix)


class Wire:
    """An open, signed-in connection. It is over once ``ended`` is set: everything asked then raises ``Lost``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._end: Lost | None = None
        self.position: str | None = None
        """The newest position that a mutation gave: what is asked next has seen it."""

    async def ask(self, query: str, variables: dict[str, Any], *, position: str | None = None) -> dict[str, Any]:
        """The data of a query or mutation. Raises ``SaidNo`` or ``Lost``."""
        async with self._operation(query, variables, position) as answers:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    return self._data(await answers.get())
            except TimeoutError:
                self._over(Lost(f"No answer came in {ANSWER_SECONDS_MAX:.0f} s."))
                await self._socket.close()
                raise self._lost() from None

    async def change(self, mutation: str, form: dict[str, Any]) -> dict[str, Any]:
        """What a mutation of one field answers to ``$input``. Raises ``SaidNo`` or ``Lost``."""
        (answer,) = (await self.ask(mutation, {"input": form})).values()
        if answer["errors"]:
            raise SaidNo(answer["errors"][0])
        self.position = answer["position"] or self.position
        found: dict[str, Any] = answer
        return found

    async def follow(self, query: str, variables: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The payload of each event of a subscription of one field, until the API ends it."""
        async with self._operation(query, variables, None) as events:
            while (message := await events.get())["type"] != "complete":
                (payload,) = self._data(message).values()
                yield payload

    async def listen(self) -> None:
        """Hand on what arrives until the connection is over; must run beside everything else."""
        try:
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "ping":
                    await self._socket.send(json.dumps({"type": "pong"}))
                elif (waiting := self._waiting.get(message.get("id", ""))) is not None:
                    waiting.put_nowait(message)
        except ConnectionClosed as closed:
            self._over(_lost_by(closed))
        finally:
            self._over(Lost("It was closed."))

    @asynccontextmanager
    async def _operation(
        self, query: str, variables: dict[str, Any], position: str | None
    ) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
        name = str(next(self._numbers))
        payload: dict[str, Any] = {"query": query, "variables": variables}
        if seen := position or self.position:
            payload["extensions"] = {"position": seen}
        answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._waiting[name] = answers
        try:
            await self._send({"type": "subscribe", "id": name, "payload": payload})
            yield answers
        finally:
            del self._waiting[name]
            if self._end is None:
                await self._send({"type": "complete", "id": name})

    async def _send(self, message: dict[str, Any]) -> None:
        if self._end is not None:
            raise self._lost()
        try:
            await self._socket.send(json.dumps(message, ensure_ascii=False))
        except ConnectionClosed as closed:
            self._over(_lost_by(closed))
            raise self._lost() from closed

    def _data(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] == "lost":
            raise self._lost()
        errors = message["payload"] if message["type"] == "error" else message["payload"].get("errors")
        if errors:
            raise SaidNo(errors[0])
        data: dict[str, Any] = message["payload"]["data"]
        return data

    def _over(self, why: Lost) -> None:
        if self._end is None:
            self._end = why
            for answers in self._waiting.values():
                answers.put_nowait({"type": "lost"})

    def _lost(self) -> Lost:
        end = self._end
        assert end is not None
        return Lost(end.why, signed_out=end.signed_out)


@asynccontextmanager
async def opened(url: str, token: str | None) -> AsyncIterator[Wire]:
    """A connection that the API has acknowledged. Raises ``Lost`` if there is none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            socket = await connect(url, subprotocols=["graphql-transport-ws"], max_size=None)  # type: ignore[list-item]
    except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
        raise Lost(f"{error}" or "No answer came.") from error
    async with socket:
        wire = Wire(socket)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                payload = {"authorization": f"Bearer {token}"} if token else {}
                await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
                while json.loads(await socket.recv())["type"] != "connection_ack":
                    await socket.send(json.dumps({"type": "pong"}))
        except ConnectionClosed as closed:
            raise _lost_by(closed) from closed
        except TimeoutError as error:
            raise Lost("It did not let us in.") from error
        listening = asyncio.create_task(wire.listen())
        try:
            yield wire
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _lost_by(closed: ConnectionClosed) -> Lost:
    frame = closed.rcvd
    if frame is None:
        return Lost("It broke off.")
    return Lost(frame.reason or f"It was closed with {frame.code}.", signed_out=frame.code in SIGNED_OUT)
