"""Who blocks whom. A row exists while the block lasts; all its events are of one stream."""

from datetime import datetime
from typing import ClassVar

from domain.block import AccountBlocked, AccountUnblocked
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Block(Row, frozen=True, gc=False):
    """``blocker_id`` blocks ``blocked_id`` since then; ``position`` is that of the event that began it."""

    key_fields: ClassVar[tuple[str, ...]] = ("blocker_id", "blocked_id")
    blocker_id: Id
    blocked_id: Id
    since: datetime | None = None
    position: int = 0


blocks = Projection(
    "blocks",
    version=2,
    row=Block,
    signal=lambda row: (f"blocks:{row.blocker_id}", f"company:{row.blocker_id}", f"company:{row.blocked_id}"),
    local=True,
)


@blocks.on(AccountBlocked, key=lambda e: (e.blocker_id, e.blocked_id))
def _(row: Block, _e: AccountBlocked, at: Recorded) -> Block:
    return Block(row.blocker_id, row.blocked_id, at.occurred_at, at.position)


@blocks.on(AccountUnblocked, key=lambda e: (e.blocker_id, e.blocked_id))
def _(_row: Block, _e: AccountUnblocked) -> None:
    return None
