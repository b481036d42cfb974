"""Who reacted to which message with what. A row exists while they do."""

from typing import Any, ClassVar

from domain import snowflake
from domain.event import Id
from domain.reaction import ReactionAdded, ReactionRemoved
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Reaction(Row, frozen=True, gc=False):
    """The account reacts to the message with the emoji; ``position`` is since when."""

    key_fields: ClassVar[tuple[str, ...]] = ("message_id", "emoji", "account_id")
    message_id: int
    emoji: str
    account_id: Id
    position: int = 0


reactions = Projection("reactions", version=1, row=Reaction, local=True)


def _key(e: Any) -> tuple[int, str, Id]:
    return snowflake.of_id(e.message_id), e.emoji, e.account_id


@reactions.on(ReactionAdded, key=_key)
def _(row: Reaction, _e: ReactionAdded, at: Recorded) -> Reaction:
    return Reaction(row.message_id, row.emoji, row.account_id, at.position)


@reactions.on(ReactionRemoved, key=_key)
def _(_row: Reaction, _e: ReactionRemoved) -> None:
    return None
