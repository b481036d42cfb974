"""An account's own votes, to show it what it voted. A row exists while the vote is not withdrawn.

All events of a row are of one ballot, so their order holds everywhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from domain.ballot import VoteCast
from domain.event import Event, Id
from projections.bulk import Alike
from projections.core import Projection, Row
from schemas.envelope import Recorded

if TYPE_CHECKING:
    from projections.columns import Columns


class Vote(Row, frozen=True, gc=False):
    """What the voter's vote on the target is: 1 up, -1 down."""

    key_fields: ClassVar[tuple[str, ...]] = ("voter_id", "target_id")
    voter_id: Id
    target_id: Id
    value: int = 0
    position: int = 0


votes = Projection("votes", version=1, row=Vote, local=True)


@votes.on(VoteCast, key=lambda e: (e.voter_id, e.target_id))
def _(row: Vote, e: VoteCast, at: Recorded) -> Vote | None:
    return Vote(row.voter_id, row.target_id, e.value, at.position) if e.value else None


@votes.in_parts(VoteCast, value="last", position="last", gone_at_zero="value")
def _(page: Mapping[type[Event], Alike]) -> "Columns":
    cast = page[VoteCast]
    return cast.ids("voter_id"), cast.ids("target_id"), cast.numbers("value"), cast.positions_array
