"""What an account has saved. A row exists while it is saved; all its events are of one stream."""

from datetime import datetime
from typing import ClassVar

from domain.event import Id
from domain.save import ItemSaved, ItemUnsaved
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Saved(Row, frozen=True, gc=False):
    """A saved post or comment; ``position`` orders the list, newest first."""

    key_fields: ClassVar[tuple[str, ...]] = ("account_id", "target_id")
    account_id: Id
    target_id: Id
    target: str = "post"
    saved_at: datetime | None = None
    position: int = 0


saved = Projection("saved", version=1, row=Saved, local=True)


@saved.on(ItemSaved, key=lambda e: (e.account_id, e.target_id))
def _(row: Saved, e: ItemSaved, at: Recorded) -> Saved:
    return Saved(row.account_id, row.target_id, e.target, at.occurred_at, at.position)


@saved.on(ItemUnsaved, key=lambda e: (e.account_id, e.target_id))
def _(_row: Saved, _e: ItemUnsaved) -> None:
    return None
