"""The channels of each chat server, in their order.

Fed by the channel's own stream and by that of the server's list, so ``position`` is a maximum. The row of a deleted
channel stays, empty: nobody may be told of it. Whoever follows the server is told of each change, and of each of the
overrides: their own rows do not know the server, and are there before.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.channel import ChannelCreated, ChannelDeleted, ChannelEdited, ChannelKind, OverrideSet
from domain.channel_list import ChannelListed, ChannelPlaced
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Channel(Row, frozen=True, gc=False):
    """A channel; the one with the lowest ``place`` is its server's first.

    ``server_id`` and ``created_at`` are ``None`` until its own first event is folded: nothing to show yet.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id",)
    channel_id: Id
    server_id: Id | None = None
    kind: ChannelKind = "text"
    name: str = ""
    topic: str = ""
    slow_mode_seconds: int = 0
    place: int = 0
    created_at: datetime | None = None
    deleted: bool = False
    position: int = 0


channels = Projection(
    "channels",
    version=1,
    row=Channel,
    signal=lambda row: (f"standing:{row.server_id or row.channel_id}", f"structure:{row.server_id or row.channel_id}"),
    local=True,
)


@channels.on(ChannelCreated, key=lambda e: e.channel_id)
def _(row: Channel, e: ChannelCreated, at: Recorded) -> Channel:
    return replace(
        row,
        server_id=e.server_id,
        kind=e.kind,
        name=e.name,
        topic=e.topic,
        slow_mode_seconds=e.slow_mode_seconds,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@channels.on(ChannelEdited, key=lambda e: e.channel_id)
def _(row: Channel, e: ChannelEdited, at: Recorded) -> Channel:
    return replace(
        row,
        name=e.name,
        topic=e.topic,
        slow_mode_seconds=e.slow_mode_seconds,
        position=max(row.position, at.position),
    )


@channels.on(ChannelDeleted, key=lambda e: e.channel_id)
def _(row: Channel, _e: ChannelDeleted, at: Recorded) -> Channel:
    return replace(row, name="", topic="", deleted=True, position=max(row.position, at.position))


@channels.on(ChannelListed, ChannelPlaced, key=lambda e: e.channel_id)
def _(row: Channel, e: ChannelListed | ChannelPlaced, at: Recorded) -> Channel:
    return replace(row, place=e.place, position=max(row.position, at.position))


@channels.on(OverrideSet, key=lambda e: e.channel_id)
def _(row: Channel, _e: OverrideSet, at: Recorded) -> Channel:
    return replace(row, position=max(row.position, at.position))
