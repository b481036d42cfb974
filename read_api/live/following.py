"""What can be followed and by whom: events, the sources that they come from, those who follow, what has no past."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct
from psycopg_pool import AsyncConnectionPool

from domain.event import Id
from infra.queries.rows import Connection
from infra.signals import Signals
from read_api.errors import ApiCode, ApiError

Viewer = Id | None
"""Who follows: an account, or ``None``, a visitor."""

Pool = AsyncConnectionPool[Connection]

Ready = Callable[[], Awaitable[None]]
"""Returns when what was delivered has been dealt with and there is room for more."""

NOW: Final = -1
"""In place of a position: from now on."""


class FollowLimits(Struct, frozen=True):
    """``backfill_max``: events behind which a cursor is too old. They are delivered ``page`` at a time."""

    page: int = 100
    backfill_max: int = 1000


class Event:
    """Something that happened in a topic: ``payload`` for whoever follows, at ``position`` of the log.

    ``author_id`` is who did it, for those who block him. ``renderings`` holds what was made of the payload, by
    selection: followers who asked for the same get the same bytes. ``making`` is done when what is being made for the
    first of them is.
    """

    __slots__ = ("author_id", "making", "payload", "position", "renderings")

    def __init__(self, position: int, payload: Any, author_id: Id | None = None) -> None:
        self.position = position
        self.payload = payload
        self.author_id = author_id
        self.renderings: dict[Any, Any] = {}
        self.making: asyncio.Future[Any] | None = None


class Reading(Struct, frozen=True):
    """What was read of a topic: ``events``, the first first.

    ``held``: more is there that may not be told before the views have come further.
    """

    events: Sequence[Event]
    held: bool = False


class Source(Protocol):
    """Where the events of one topic come from, and who may see them. Equal sources are one topic."""

    @property
    def channel(self) -> str:
        """The channel on which changes are signalled."""
        ...

    @property
    def is_value(self) -> bool:
        """Whether only the newest event counts; it is then sent to begin with. There always is one."""
        ...

    @property
    def guards(self) -> Collection[str]:
        """Further channels: on a signal of theirs it is asked anew who may follow, and read.

        Where there are none, nothing says when that changes: it is asked for whatever happens.
        """
        ...

    @property
    def own_guards(self) -> Collection[str]:
        """Those of the guards that tell of who follows, and of nobody else: what can wait does not wait with these."""
        ...

    @property
    def rest_seconds(self) -> float:
        """How long it is not read again after it was read: what happens meanwhile is told together.

        More than zero says that it can wait: it is read in turn with all others of which that is true.
        """
        ...

    @property
    def ends_with(self) -> Id | None:
        """The server of which it is a part, where that has many: they end with it, in no turn."""
        ...

    async def start(self, connection: Connection) -> int:
        """A position up to which every event is there to be read; ``NOW`` for a value."""
        ...

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """At most ``limit`` events after that position. None that comes before them can still appear."""
        ...

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """Those who may follow now; all of them: ``None``."""
        ...


def gone() -> ApiError:
    """What was never there, is deleted, or is no longer to be seen: a follower is not told which."""
    return ApiError(ApiCode.NOT_FOUND, "There is nothing here that you may follow.")


class Follower:
    """One who follows a topic from after ``position``, or from ``NOW``.

    ``deliver`` is called in the event loop and returns at once. ``ended`` raises the ``ApiError`` that says why nothing
    more comes.
    """

    __slots__ = ("deliver", "ended", "position", "viewer")

    def __init__(self, viewer: Viewer, position: int, deliver: Callable[[Event], None]) -> None:
        self.viewer = viewer
        self.position = position
        self.deliver = deliver
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, event: Event, hidden: Collection[tuple[Viewer, Id]] = ()) -> None:
        """Deliver the event unless this follower had it, or does not want to hear from its author."""
        if event.position <= self.position or self.ended.done():
            return
        self.position = event.position
        if event.author_id is None or (self.viewer, event.author_id) not in hidden:
            self.deliver(event)

    def end(self, error: Exception) -> None:
        """Nothing more comes, for this reason."""
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # whoever waits for it raises it; nobody has to wait


class Followed(Protocol):
    """What is followed, while anybody does."""

    async def open(self) -> None:
        """Begin to listen. Called once, before anything else."""
        ...

    async def close(self) -> None:
        """Stop listening."""
        ...

    async def follow(self, follower: Follower, ready: Ready) -> None:
        """Deliver to it from its position on; what comes first page by page, each when ``ready`` returns."""
        ...

    def leave(self, follower: Follower) -> None:
        """Deliver nothing more to it."""
        ...


class Scene(ABC):
    """What has no positions and no past, such as who is present. Equal scenes are one topic."""

    @abstractmethod
    def topic(self, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> Followed:
        """How it is followed. ``turns`` is for those that there may be thousands of: see ``SceneTopic``."""
