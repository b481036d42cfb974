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


_decode_metadata = Decoder(Metadata).decode


class Recorded:
    """An event as it stands in the log: at ``position`` of the whole log, as ``version`` of its stream.

    Positions start at 1, have no gaps and grow in the order of commits. Versions start at 1 in each stream.
    ``meta`` is decoded when first asked for.
    """

    __slots__ = ("_meta", "event", "position", "raw_meta", "stream_id", "version")

    def __init__(self, position: int, stream_id: Id, version: int, event: Event, raw_meta: Raw | bytes) -> None:
        self.position = position
        self.stream_id = stream_id
        self.version = version
        self.event = event
        self.raw_meta = raw_meta
        self._meta: Metadata | None = None

    @property
    def meta(self) -> Metadata:
        """Who, why and when."""
        if self._meta is None:
            self._meta = _decode_metadata(self.raw_meta)
        return self._meta

    @property
    def occurred_at(self) -> datetime:
        """When it happened, UTC."""
        return self.meta.occurred_at

    def __repr__(self) -> str:
        return f"Recorded({self.position}, {self.stream_id}@{self.version}, {self.event!r})"
