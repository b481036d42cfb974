"""The envelope an event is stored and sent in: ``{"data": …, "meta": …}`` as JSON.

``data`` comes first so that a fold that needs no metadata never pays for decoding it.
"""

from datetime import datetime

from msgspec import Raw, Struct
from msgspec.json import Decoder

from domain.event import Event, Id


class Metadata(Struct, frozen=True, gc=False):
    """What is true of every event, whatever it says.

    ``command_id`` is derived from the client's idempotency key; ``correlation_id`` is that of the request that
    started it all; ``causation_id`` is the id of the event or command that led to this one, ``None`` for a
    person's own act; ``actor_id`` is who did it, ``None`` for an import. ``occurred_at`` is when it happened,
    ``recorded_at`` when it entered the log; both are UTC.
    """

    command_id: Id
    correlation_id: Id
    causation_id: Id | None
    actor_id: Id | None
    occurred_at: datetime
    recorded_at: datetime


class Undecodable(Event, frozen=True):
    """Stands in for a recorded event that this version of the code cannot read, so that the log can be read past it.

    ``wire`` is its name in the log, ``reason`` why it could not be decoded. It is never stored.
    """

    wire: str
    reason: str


class _Occurred(Struct, frozen=True, gc=False):
    """The one part of the metadata that folds ask for, which costs a third of them all."""

    occurred_at: datetime


_decode_metadata = Decoder(Metadata).decode
_decode_occurred = Decoder(_Occurred).decode


class Recorded(Struct, eq=False, gc=False):
    """An event as it stands in the log: at ``position`` of the whole log, as ``version`` of its stream.

    Positions start at 1, have no gaps and grow in the order of commits. Versions start at 1 in each stream.
    ``raw_meta`` is decoded when it is asked for. Two of them are equal only if they are the same object.
    """

    position: int
    stream_id: Id
    version: int
    event: Event
    raw_meta: Raw | bytes

    @property
    def meta(self) -> Metadata:
        """Who, why and when."""
        return _decode_metadata(self.raw_meta)

    @property
    def occurred_at(self) -> datetime:
        """When it happened, UTC."""
        return _decode_occurred(self.raw_meta).occurred_at

    def __repr__(self) -> str:
        return f"Recorded({self.position}, {self.stream_id}@{self.version}, {self.event!r})"
