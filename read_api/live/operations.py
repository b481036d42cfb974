"""One operation of a client: a query, a mutation or a subscription, from ``subscribe`` to its last message."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, Executor, GraphQLError, OperationType, create_source_event_stream

from infra.telemetry import tracing
from read_api.context import Context
from read_api.cursors import open_position
from read_api.errors import ApiCode, ApiError
from read_api.execution import Engine, Prepared, Refused, Response, refused
from read_api.live import messages
from read_api.live.following import Event
from read_api.live.messages import Subscribe, SubscribePayload
from read_api.live.outbox import Outbox
from read_api.live.registry import Topics
from read_api.live.rendering import Rendered, Renderer, Selection
from read_api.live.streams import Stream, SubscriptionContext
from read_api.request_ids import correlation_id


class Failed(Exception):
    """The operation ends with an ``error`` message that carries these errors, as the client reads them."""

    def __init__(self, response: Response) -> None:
        super().__init__(response["errors"][0]["message"])
        self.errors: list[dict[str, Any]] = response["errors"]


class Stopped(Exception):
    """The client wants nothing more of the operation."""


class Operations:
    """Runs the operations of all connections: what they have in common."""

    def __init__(self, engine: Engine, topics: Topics) -> None:
        self.engine = engine
        self.topics = topics
        self.renderer = Renderer(engine)


class Operation:
    """One operation. ``caller`` makes its context; ``finished`` is called just before its last message."""

    __slots__ = (
        "_awaited",
        "_caller",
        "_finished",
        "_id",
        "_live",
        "_mutates",
        "_outbox",
        "_pending",
        "_render",
        "_shared",
        "_silent",
        "_stream",
        "task",
    )

    def __init__(
        self,
        shared: Operations,
        message: Subscribe,
        outbox: Outbox,
        caller: Callable[[], Context],
        finished: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._id = messages.quoted(message.id)
        self._outbox = outbox
        self._caller = caller
        self._finished = finished
        self._pending: deque[tuple[Event, Rendered]] = deque()
        self._awaited: asyncio.Future[Any] | None = None
        self._stream: Stream[Any] | None = None
        self._render: Callable[[Event], Rendered]
        self._live = False
        self._silent = False
        self._mutates = False
        self.task = asyncio.create_task(self._run(message.payload))

    def stop(self) -> None:
        """Send nothing more, not even what waits to be sent. A mutation that has begun is not broken off."""
        self._silent = True
        self._pending.clear()
        self._outbox.forget(self)
        if self._stream is not None:
            self._stream.fail(Stopped())
        if not self._mutates:
            self.task.cancel()

    def _push(self, frame: str) -> None:
        if not self._silent:
            self._outbox.push(frame, self)

    async def _run(self, request: SubscribePayload) -> None:
        context = self._caller()
        last = messages.complete_message(self._id)
        try:
            await self._execute(request, context)
        except Failed as failure:
            last = messages.error_message(self._id, failure.errors)
        except Stopped:
            return
        except Refused as refusal:
            last = messages.error_message(self._id, refused(refusal.errors, context.request_id)["errors"])
        except Exception as error:  # noqa: BLE001 - logged, and masked for the client, by `refused`
            shown = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
            last = messages.error_message(self._id, refused([shown], context.request_id)["errors"])
        self._pending.clear()
        if not self._silent:
            self._finished()
            self._push(last)

    async def _execute(self, request: SubscribePayload, context: Context) -> None:
        engine = self._shared.engine
        context.position = _position(request, context)
        prepared = engine.prepare(request.query)
        kind = prepared.operation(request.operationName).kind
        if kind is OperationType.SUBSCRIPTION:
            await self._follow(request, prepared, context)
            return
        await self._outbox.room()
        self._mutates = kind is OperationType.MUTATION
        trace = correlation_id(context.request_id).replace("-", "")
        with tracing.request("websocket.operation", trace, kind=kind.value):
            response = await engine.execute(prepared, request.operationName, request.variables, context)
        if "data" not in response:
            raise Failed(response)
        await self._outbox.room()
        self._push(messages.next_message(self._id, messages.json_text(response)))

    async def _follow(self, request: SubscribePayload, prepared: Prepared, context: Context) -> None:
        engine = self._shared.engine
        engine.weigh(prepared.operation(request.operationName), request.variables)
        if context.position is not None:
            await context.moot.progress.wait(context.position)
        stream = await self._source(request, prepared, SubscriptionContext(context, self._shared.topics))
        selection = Selection(request.query, prepared, request.operationName, request.variables)
        self._render = partial(self._shared.renderer.render, selection=selection, caller=context)
        if not self._silent:  # a cancellation can get lost on its way through a database driver: see `infra.tasks`
            self._stream = stream
            await stream.pump(self)

    def deliver(self, event: Event) -> None:
        """See ``Sink``."""
        try:
            self._pending.append((event, self._render(event)))
            self._flush()
        except Exception as error:  # noqa: BLE001 - it ends this operation, and no other follower's
            self._fail(error)
        missed_max = 0 if self._live else self._shared.topics.limits.backfill_max
        if len(self._pending) > self._outbox.messages_max + missed_max:
            self._outbox.overflow()

    async def ready(self) -> None:
        """See ``Sink``. What was missed goes at the pace of the client."""
        while self._pending and not self._outbox.closed:
            if self._awaited is not None:
                await asyncio.wait([self._awaited])
            await self._outbox.room()
            self._flush()

    def is_live(self) -> None:
        """See ``Sink``."""
        self._live = True
        self._flush()

    def _flush(self) -> None:
        """Push what is rendered, in order, up to the first that is not; before it is live, as long as there is room."""
        pending = self._pending
        while pending and self._awaited is None and (self._live or self._outbox.has_room):
            event, rendered = pending[0]
            if not isinstance(rendered, str):
                if not rendered.done():
                    self._awaited = rendered
                    rendered.add_done_callback(self._rendered)
                    return
                text = rendered.result()
                if text is None:  # made for somebody else, and not good for this viewer
                    pending[0] = event, self._render(event)
                    continue
                rendered = text
            pending.popleft()
            self._push(messages.next_message(self._id, rendered))

    def _rendered(self, rendered: asyncio.Future[Any]) -> None:
        self._awaited = None
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - it ends this operation, and no other follower's
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._pending.clear()
        assert self._stream is not None
        self._stream.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def _source(self, request: SubscribePayload, prepared: Prepared, context: SubscriptionContext) -> Stream[Any]:
        executor = Executor.build(
            self._shared.engine.schema,
            prepared.document,
            context_value=context,
            raw_variable_values=request.variables or {},
            operation_name=request.operationName or None,
        )
        if isinstance(executor, list):
            raise Failed(refused(executor, context.request_id))
        stream: Any = create_source_event_stream(executor)
        if isawaitable(stream):
            stream = await stream
        if isinstance(stream, ExecutionResult):
            raise Failed(refused(list(stream.errors or ()), context.request_id))
        assert isinstance(stream, Stream)
        return stream


def _position(request: SubscribePayload, context: Context) -> int | None:
    token = (request.extensions or {}).get("position")
    if token is None or token == "":
        return None
    if not isinstance(token, str):
        raise ApiError(ApiCode.POSITION_INVALID, "extensions.position must be a token that a mutation gave out.")
    return open_position(context.sealer, token)
