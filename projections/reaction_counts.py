"""How many reacted to a message with each emoji. A row exists while anybody does."""

from typing import Any, ClassVar

from domain import snowflake
from domain.reaction import ReactionAdded, ReactionRemoved
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ReactionCount(Row, frozen=True, gc=False):
    """So many react to the message with the emoji; ``position`` is that of the last change."""

    key_fields: ClassVar[tuple[str, ...]] = ("message_id", "emoji")
    message_id: int
    emoji: str
    count: int = 0
    position: int = 0


reaction_counts = Projection("reaction_counts", version=1, row=ReactionCount, local=True)


def _key(e: Any) -> tuple[int, str]:
    return snowflake.of_id(e.message_id), e.emoji


@reaction_counts.on(ReactionAdded, key=_key)
def _(row: ReactionCount, _e: ReactionAdded, at: Recorded) -> ReactionCount:
    return ReactionCount(row.message_id, row.emoji, row.count + 1, max(row.position, at.position))


@reaction_counts.on(ReactionRemoved, key=_key)
def _(row: ReactionCount, _e: ReactionRemoved, at: Recorded) -> ReactionCount | None:
    if row.count == 1:
        return None
    return ReactionCount(row.message_id, row.emoji, row.count - 1, max(row.position, at.position))
