"""What a subscription's resolver gives: a stream of payloads, to be pumped into a sink."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Generic, Protocol, TypeVar

from read_api.context import Context
from read_api.live.following import Event, Follower, Scene, Source, Viewer
from read_api.live.registry import Topics

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


def watching(context: Context) -> SubscriptionContext:
    """The context of a resolver of a subscription, as what it is."""
    assert isinstance(context, SubscriptionContext)
    return context


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


class Stream(AsyncIterable[T], Generic[T]):
    """The payloads of one source or scene for one viewer, from a position on. Used once."""

    def __init__(self, topics: Topics, source: Source | Scene, viewer: Viewer, after: int) -> None:
        self._topics = topics
        self._source = source
        self._viewer = viewer
        self._after = after
        self._follower: Follower | None = None
        self._failure: Exception | None = None

    async def pump(self, sink: Sink) -> None:
        """Deliver all events until cancelled.

        Raises what ends the stream: an ``ApiError``, or what ``fail`` was given.
        """
        follower = self._follower = Follower(self._viewer, self._after, sink.deliver)
        if self._failure is not None:
            raise self._failure
        async with self._topics.following(self._source, follower, sink.ready):
            await sink.ready()
            sink.is_live()
            await follower.ended

    def fail(self, error: Exception) -> None:
        """End the pumping with this error, even if it has yet to begin."""
        self._failure = error
        if self._follower is not None:
            self._follower.end(error)

    def __aiter__(self) -> AsyncIterator[T]:
        """Not for use: graphql-core takes a source only if it can be iterated, and this one is pumped."""
        raise TypeError("A stream is pumped, not iterated.")
