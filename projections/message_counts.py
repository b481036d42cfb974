"""How many messages each channel has by month, day and minute: so many are unread without a look at each.

From these it is also known in which months a channel has any.
"""

from typing import Any, ClassVar, Final

from msgspec.structs import replace

from domain import snowflake
from domain.event import Id
from domain.message import MessageDeleted, MessageSent
from projections.core import Projection, Row
from schemas.envelope import Recorded

MONTH: Final = 0
DAY: Final = 1
MINUTE: Final = 2


class MessageCount(Row, frozen=True, gc=False):
    """The messages of one month, day or minute (``level``), numbered as in ``domain.snowflake``.

    ``sent`` counts the deleted ones too, ``live`` does not.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "level", "number")
    channel_id: Id
    level: int
    number: int
    sent: int = 0
    live: int = 0


message_counts = Projection("message_counts", version=1, row=MessageCount, local=True)


def _keys(e: Any, _at: Recorded) -> tuple[tuple[Id, int, int], ...]:
    of = snowflake.of_id(e.message_id)
    return (
        (e.channel_id, MONTH, snowflake.month(of)),
        (e.channel_id, DAY, snowflake.day(of)),
        (e.channel_id, MINUTE, snowflake.minute(of)),
    )


@message_counts.on(MessageSent, keys=_keys)
def _(row: MessageCount, _e: MessageSent) -> MessageCount:
    return replace(row, sent=row.sent + 1, live=row.live + 1)


@message_counts.on(MessageDeleted, keys=_keys)
def _(row: MessageCount, _e: MessageDeleted) -> MessageCount:
    return replace(row, live=row.live - 1)
