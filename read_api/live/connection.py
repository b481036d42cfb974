"""One client's socket: the server's side of graphql-transport-ws, to the letter of its protocol page.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import structlog
from msgspec import Struct
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Send

from domain.refusal import Code
from infra.composition import Moot
from infra.session_marks import ended_channel
from infra.sessions import Viewer
from infra.tasks import end
from read_api.bearer import authenticated
from read_api.context import Context
from read_api.cursors import Sealer
from read_api.errors import ApiError
from read_api.execution import UNAVAILABLE, refused
from read_api.live import messages
from read_api.live.messages import (
    CloseCode,
    Complete,
    ConnectionInit,
    InvalidMessage,
    Message,
    Ping,
    Pong,
    Subscribe,
    clipped,
    parsed,
)
from read_api.live.operations import Operation, Operations
from read_api.live.outbox import Outbox

WRITER = "moot-ws-writer"

_log = structlog.get_logger(__name__)


class ConnectionLimits(Struct, frozen=True):
    """The limits of one connection; see the settings of the same names for units and reasons."""

    init_seconds_max: float
    ping_seconds: float
    close_seconds_max: float
    message_bytes_max: int
    operations_max: int
    queue_messages_max: int
    queue_bytes_max: int


class Client(Struct, frozen=True):
    """What the handshake said: for contexts of operations, and for the log."""

    request_id: str
    address: str
    user_agent: str


class Closed(Exception):
    """The connection is to be closed, with this code and reason."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """One accepted socket. ``run`` it until it is closed by either side."""

    def __init__(
        self,
        moot: Moot,
        sealer: Sealer,
        operations: Operations,
        client: Client,
        limits: ConnectionLimits,
        receive: Receive,
        send: Send,
        abort: Callable[[], None] | None = None,
        write_now: Callable[[str], bool] | None = None,
    ) -> None:
        self._moot = moot
        self._sealer = sealer
        self._shared = operations
        self._client = client
        self._limits = limits
        self._receive = receive
        self._send = send
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._closing: asyncio.Future[Closed | None] = self._loop.create_future()
        self._outbox = Outbox(
            self._send_text,
            lambda: self.close(CloseCode.TOO_SLOW, "Too slow: resume from your last cursors"),
            messages_max=limits.queue_messages_max,
            bytes_max=limits.queue_bytes_max,
            send_now=write_now,
        )
        self._operations: dict[str, Operation] = {}
        self._initialising: asyncio.Task[None] | None = None
        self._acknowledged = False
        self._token = ""
        self._viewer: Viewer | None = None
        self._heard = True
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._suspect = False
        self._checking: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        """Serve the client until the connection is over; nothing of it is left behind then."""
        self._after("init", self._limits.init_seconds_max, self._not_initialised)
        self._after("ping", self._limits.ping_seconds, self._ping)
        reader = asyncio.create_task(self._read(), name="moot-ws-reader")
        writer = asyncio.create_task(self._outbox.run(), name=WRITER)
        try:
            over: list[asyncio.Future[Any]] = [reader, writer, self._closing]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            closed = self._closed_by(reader, writer)
            self._outbox.close()
            for operation in tuple(self._operations.values()):
                operation.stop()
            self._operations.clear()
            if closed is not None:
                await self._say_goodbye(writer, closed)
        finally:
            await self._leave_nothing(reader, writer)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection. The first reason counts."""
        if not self._closing.done():
            self._closing.set_result(Closed(code, reason))

    def _closed_by(self, *tasks: "asyncio.Task[None]") -> Closed | None:
        """Why the connection is closed by us; ``None`` if the client went."""
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                if task.get_name() == WRITER and isinstance(error, OSError | RuntimeError):
                    return None  # sent to a socket that had just gone
                return self._reason(error)
        return self._closing.result() if self._closing.done() else None

    def _reason(self, error: BaseException) -> Closed:
        if isinstance(error, Closed):
            return error
        _log.error("websocket.fault", request_id=self._client.request_id, exc_info=error)
        return Closed(CloseCode.INTERNAL_ERROR, "Internal error")

    async def _say_goodbye(self, writer: "asyncio.Task[None]", closed: Closed) -> None:
        """Send the close frame. A client that takes nothing any more is cut off."""
        await end(writer)
        _log.info("websocket.closed", request_id=self._client.request_id, code=int(closed.code), reason=closed.reason)
        try:
            async with asyncio.timeout(self._limits.close_seconds_max):
                await self._send(
                    {"type": "websocket.close", "code": int(closed.code), "reason": clipped(closed.reason)}
                )
        except TimeoutError:
            if self._abort is not None:
                self._abort()
        except (OSError, RuntimeError):  # it went by itself meanwhile
            pass

    async def _leave_nothing(self, *tasks: "asyncio.Task[None]") -> None:
        for timer in self._timers.values():
            timer.cancel()
        await end(*tasks, *(task for task in (self._initialising, self._checking) if task))
        for operation in self._operations.values():  # begun after the others were stopped
            operation.stop()
        await self._stack.aclose()

    def _after(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, then)

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _read(self) -> None:
        while True:
            received: AsgiMessage = await self._receive()
            if received["type"] == "websocket.disconnect":
                return
            self._heard = True
            text = received.get("text")
            if text is None:
                raise Closed(CloseCode.BAD_REQUEST, "Messages are JSON in text frames")
            if len(text) > self._limits.message_bytes_max or (
                4 * len(text) > self._limits.message_bytes_max and len(text.encode()) > self._limits.message_bytes_max
            ):
                raise Closed(CloseCode.MESSAGE_TOO_BIG, f"Messages have at most {self._limits.message_bytes_max} bytes")
            try:
                message = parsed(text)
            except InvalidMessage as invalid:
                raise Closed(CloseCode.BAD_REQUEST, str(invalid)) from None
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Subscribe():
                self._subscribe(message)
            case Complete():
                operation = self._operations.pop(message.id, None)
                if operation is not None:
                    operation.stop()
            case Ping():
                self._outbox.push(messages.pong(message))
            case Pong():
                pass
            case ConnectionInit():
                if self._initialising is not None:
                    raise Closed(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")
                self._timers.pop("init").cancel()
                self._initialising = asyncio.create_task(self._initialise(_authorization(message.payload or {})))
                self._initialising.add_done_callback(self._is_initialised)

    async def _initialise(self, authorization: str) -> None:
        """Acknowledge the client. Meanwhile its messages are read on: what it sends too early is to be told so."""
        await self._sign_in(authorization)
        self._acknowledged = True
        self._outbox.push(messages.CONNECTION_ACK)

    def _is_initialised(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._closing.done():
            self._closing.set_result(self._reason(error))

    async def _sign_in(self, authorization: str) -> None:
        """Learn who this is, and hear of it when that ends."""
        self._token = authorization
        self._viewer = await self._authenticated()
        if self._viewer is None:
            return
        self._after("expiry", self._seconds_until(self._viewer.expires_at), self._expired)
        channel = ended_channel(self._viewer.session_id)
        await self._stack.enter_async_context(self._moot.signals.watch(channel, self._may_have_ended))
        await self._authenticated()  # again: it may have ended while nobody listened yet

    async def _authenticated(self) -> Viewer | None:
        try:
            return await authenticated(self._moot, self._token)
        except ApiError as error:
            raise Closed(CloseCode.FORBIDDEN, f"Forbidden: {error.message}") from None
        except UNAVAILABLE as error:
            _log.warning("websocket.session_unknown", request_id=self._client.request_id, error=repr(error))
            raise Closed(CloseCode.TRY_AGAIN_LATER, "A service that this needs does not answer; try again") from None

    def _seconds_until(self, expires_at: datetime) -> float:
        return max(0.0, (expires_at - self._moot.clock()).total_seconds())

    def _expired(self) -> None:
        self.close(CloseCode.FORBIDDEN, "Forbidden: the access token has expired; connect with a new one")

    def _may_have_ended(self, _: int | None) -> None:
        self._suspect = True
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())

    async def _check(self) -> None:
        while self._suspect:  # again, if it may have ended after the answer was made that this waits for
            self._suspect = False
            try:
                await self._authenticated()
            except Closed as closed:
                if closed.code is not CloseCode.TRY_AGAIN_LATER:  # else it ends with its token at the latest
                    self.close(closed.code, closed.reason)

    def _not_initialised(self) -> None:
        self.close(CloseCode.INITIALISATION_TIMEOUT, "Connection initialisation timeout")

    def _ping(self) -> None:
        """Ask a client that was silent since the last time for a sign of life; give up one that was asked before."""
        if not self._heard:
            self.close(CloseCode.SILENT, "No answer to a ping")
            return
        self._heard = False
        self._outbox.push(messages.PING)
        self._after("ping", self._limits.ping_seconds, self._ping)

    def _subscribe(self, message: Subscribe) -> None:
        if not self._acknowledged:
            raise Closed(CloseCode.UNAUTHORIZED, "Unauthorized")
        identity = message.id
        if identity in self._operations:
            raise Closed(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {identity} already exists")
        if len(self._operations) >= self._limits.operations_max:
            error = ApiError(
                Code.TOO_MANY_REQUESTS,
                f"A connection has at most {self._limits.operations_max} operations at a time; complete one first.",
            )
            errors: list[dict[str, Any]] = refused([error], self._client.request_id)["errors"]
            self._outbox.push(messages.error_message(messages.quoted(identity), errors))
            return
        self._operations[identity] = Operation(
            self._shared, message, self._outbox, self._context, lambda: self._finished(identity)
        )

    def _finished(self, identity: str) -> None:
        self._operations.pop(identity, None)

    def _context(self) -> Context:
        return Context(
            self._moot,
            self._sealer,
            request_id=self._client.request_id,
            viewer_id=self._viewer.account_id if self._viewer else None,
            session_id=self._viewer.session_id if self._viewer else None,
            address=self._client.address,
            client=self._client.user_agent,
        )


def _authorization(payload: Mapping[str, Any]) -> str:
    """What stands there as ``authorization``, in any case, as names of headers are; empty for a visitor.

    Raises ``Closed`` for what is meant as one and cannot be used: nobody is to wonder why he is taken for a visitor.
    """
    values = [value for name, value in payload.items() if name.lower() == "authorization"]
    if not values:
        headers = payload.get("headers")
        if isinstance(headers, Mapping) and any(str(name).lower() == "authorization" for name in headers):
            raise Closed(CloseCode.FORBIDDEN, "Forbidden: put authorization into the payload itself, not into headers")
        return ""
    if len(values) > 1 or not isinstance(values[0], str):
        raise Closed(CloseCode.FORBIDDEN, "Forbidden: authorization must be one text")
    return values[0]
