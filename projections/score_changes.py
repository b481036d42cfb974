"""Every single change of a score, so that a ranking can be told as of any past position.

One row a vote event. Imported totals are no changes: they come with the post or comment itself.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from domain.ballot import VoteCast
from domain.event import Event, Id
from projections.bulk import Alike
from projections.core import Projection, Row
from schemas.envelope import Recorded

if TYPE_CHECKING:
    from projections.columns import Columns

NOBODY = Id("00000000-0000-0000-0000-000000000000")


class ScoreChange(Row, frozen=True, gc=False):
    """What the event at ``position`` did to the votes on the target: each of ``up`` and ``down`` is -1, 0 or 1."""

    key_fields: ClassVar[tuple[str, ...]] = ("position",)
    position: int
    target_id: Id = NOBODY
    post_id: Id = NOBODY
    community_id: Id = NOBODY
    occurred_at: datetime | None = None
    up: int = 0
    down: int = 0


score_changes = Projection("score_changes", version=1, row=ScoreChange, local=True)


@score_changes.on(VoteCast, keys=lambda _, at: (at.position,))
def _(row: ScoreChange, e: VoteCast, at: Recorded) -> ScoreChange:
    previous, value = e.previous, e.value
    return ScoreChange(
        row.position,
        e.target_id,
        e.post_id,
        e.community_id,
        at.occurred_at,
        (value > 0) - (previous > 0),
        (value < 0) - (previous < 0),
    )


@score_changes.in_columns()
def _(page: Mapping[type[Event], Alike]) -> "Columns":
    votes = page[VoteCast]
    previous, value = votes.numbers("previous"), votes.numbers("value")
    return (
        votes.positions_array,
        votes.ids("target_id"),
        votes.ids("post_id"),
        votes.ids("community_id"),
        votes.times,
        (value > 0) * 1 - (previous > 0),
        (value < 0) * 1 - (previous < 0),
    )
