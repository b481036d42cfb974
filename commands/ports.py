"""What commands need of the world. Each port has a real adapter and an in-memory one, and one conformance suite."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from domain.event import Event, Id
from domain.limits import Limits
from schemas.envelope import Metadata, Recorded


class Append(Struct, frozen=True):
    """Events for one stream, given that it stands at ``expected_version`` (0: it does not exist yet).

    Without ``events`` it is a guard: nothing is recorded there, and the stream must stand so all the same.
    """

    stream_id: Id
    expected_version: int
    events: tuple[Event, ...]


class Conflict(Exception):
    """A stream was not at the expected version: somebody else was first. Nothing of the append was recorded.

    ``stream_ids`` are the streams at fault. Load again and decide again.
    """

    def __init__(self, stream_ids: Sequence[Id]) -> None:
        super().__init__(f"streams moved on: {', '.join(stream_ids)}")
        self.stream_ids = tuple(stream_ids)


class StoreUnavailable(Exception):
    """The event store did not answer. What was asked may or may not have happened: retry with the same command id."""


class EventStore(Protocol):
    """The log: streams with optimistic concurrency, and one total order of all events."""

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """The events of each stream, oldest first; one that does not exist is empty, as is one whose id is no UUID."""

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """Record all of it or nothing, durably, with the store's own time as ``recorded_at``.

        All streams stand as expected at the moment at which it is recorded, also those that are only guarded. Who
        guards a stream is in nobody's way, neither of others who guard it nor of who appends to it.

        Gives the position of the last event. Raises ``Conflict``.
        """

    async def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """At most ``limit`` events with a position greater than ``after``, in order."""

    async def head(self) -> int:
        """The position of the newest event; 0 in an empty log."""

    def follow(self, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """All events after that position, in order, in batches, and then new ones as they are committed; endless."""


class IdsUnavailable(Exception):
    """No id can be made right now; nothing was changed. Try again."""


class MessageIds(Protocol):
    """Makes the ids of messages: Snowflakes (``domain.snowflake``), each larger than those before it of this maker."""

    def next(self) -> int:
        """Another one. Raises ``IdsUnavailable``."""


Acts = Literal["messages", "edits", "reactions", "marks"]
"""What is counted apart: messages sent, edits of them, reactions, moves of the read marker."""


class Written(Struct, frozen=True):
    """Something that an account writes in a channel or conversation, by a command.

    ``pause_seconds`` is how long the account has to wait between two messages there, as it is by now.
    """

    account_id: Id
    channel_id: Id
    command_id: Id
    acts: Acts = "messages"
    pause_seconds: int = 0


class Pace(Protocol):
    """How fast somebody may write, whichever process takes it."""

    async def take(self, written: Written, limits: Limits) -> None:
        """Count it, now, unless that command's was counted already.

        Raises ``Refusal`` with ``retry_after_seconds``: ``TOO_MANY_REQUESTS`` beyond ``limits.messages_burst``,
        ``SLOW_MODE``.
        """
