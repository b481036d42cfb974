"""How far each account has read in each channel, as it said last. One row an account and channel that it said it of."""

from typing import ClassVar

from domain import snowflake
from domain.event import Id
from domain.read_marker import MarkerMoved
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ReadMarker(Row, frozen=True, gc=False):
    """The account has read the channel up to that message; ``position`` is that of its saying so."""

    key_fields: ClassVar[tuple[str, ...]] = ("account_id", "channel_id")
    account_id: Id
    channel_id: Id
    message_id: int = 0
    position: int = 0


read_markers = Projection(
    "read_markers", version=1, row=ReadMarker, signal=lambda row: f"reads:{row.account_id}", local=True
)


@read_markers.on(MarkerMoved, key=lambda e: (e.account_id, e.channel_id))
def _(row: ReadMarker, e: MarkerMoved, at: Recorded) -> ReadMarker:
    if at.position < row.position:
        return row
    return ReadMarker(row.account_id, row.channel_id, snowflake.of_id(e.message_id), at.position)
