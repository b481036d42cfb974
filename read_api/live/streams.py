"""What a subscription's resolver gives: a stream of payloads, to be pulled one by one or, faster, pumped."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, Protocol, TypeVar

from read_api.context import Context
from read_api.live.topics import Event, Follower, Source, Topics, Viewer

T = TypeVar("T")


class SubscriptionContext(Context):
    """The context in which a subscription starts: it also knows the topics of this process."""

    __slots__ = ("topics",)

    def __init__(self, caller: Context, topics: Topics) -> None:
        super().__init__(
            caller.moot,
            caller.sealer,
            request_id=caller.request_id,
            viewer_id=caller.viewer_id,
            session_id=caller.session_id,
            position=caller.position,
        )
        self.topics = topics


class Sink(Protocol):
    """Where a stream is pumped into: first what was missed, at the pace of ``ready``, then what happens."""

    def deliver(self, event: Event) -> None:
        """Take the next event; called in the event loop, returns at once."""
        ...

    async def ready(self) -> None:
        """Wait until there is room for more."""
        ...

    def is_live(self) -> None:
        """From now on events come as they happen, whether there is room or not."""
        ...


class _Pulled:
    """A sink to be pulled from."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def deliver(self, event: Event) -> None:
        self.events.put_nowait(event)

    async def ready(self) -> None:
        pass

    def is_live(self) -> None:
        pass


class Stream(AsyncIterator[T], Generic[T]):
    """The payloads of one source for one viewer, from a position on. Used once, in either way."""

    def __init__(self, topics: Topics, source: Source, viewer: Viewer, after: int) -> None:
        self._topics = topics
        self._source = source
        self._viewer = viewer
        self._after = after
        self._pulled = _Pulled()
        self._pumping: asyncio.Task[None] | None = None
        self._follower: Follower | None = None

    async def pump(self, sink: Sink) -> None:
        """Deliver all events until cancelled.

        Raises what ends the stream: an ``ApiError``, or what ``fail`` was given.
        """
        follower = self._follower = Follower(self._viewer, self._after, sink.deliver)
        async with self._topics.following(self._source, follower, sink.ready):
            await sink.ready()
            sink.is_live()
            await follower.ended

    def fail(self, error: Exception) -> None:
        """End the pumping with this error."""
        if self._follower is not None:
            self._follower.end(error)

    async def __anext__(self) -> T:
        """The next payload. Raises the ``ApiError`` that ends the stream."""
        if self._pumping is None:
            self._pumping = asyncio.create_task(self.pump(self._pulled))
        pulling = asyncio.ensure_future(self._pulled.events.get())
        try:
            await asyncio.wait([pulling, self._pumping], return_when=asyncio.FIRST_COMPLETED)
            if pulling.done():
                payload: T = pulling.result().payload
                return payload
        finally:
            pulling.cancel()
        await self._pumping
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Pull no more."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.wait([self._pumping])
