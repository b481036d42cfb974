"""Up and down votes of every post and comment that has any.

A score is the imported totals plus the differences that its ballots made; each ballot is a stream of its own, so
the sums do not depend on their order.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from domain.ballot import VoteCast
from domain.comment import CommentImported
from domain.event import Event, Id
from domain.post import PostImported
from projections.bulk import Alike
from projections.core import Projection, Row
from schemas.envelope import Recorded

if TYPE_CHECKING:
    from projections.columns import Columns


class Score(Row, frozen=True, gc=False):
    """The votes on one post or comment; ``position`` is that of the last event that changed them."""

    key_fields: ClassVar[tuple[str, ...]] = ("target_id",)
    target_id: Id
    up: int = 0
    down: int = 0
    position: int = 0


scores = Projection("scores", version=1, row=Score, signal=lambda row: f"score:{row.target_id}", local=True)


@scores.on(VoteCast, key=lambda e: e.target_id)
def _(row: Score, e: VoteCast, at: Recorded) -> Score:
    previous, value, position = e.previous, e.value, at.position
    return Score(
        row.target_id,
        row.up + (value > 0) - (previous > 0),
        row.down + (value < 0) - (previous < 0),
        max(row.position, position),
    )


@scores.on(PostImported, key=lambda e: e.post_id if e.up or e.down else None)
def _(row: Score, e: PostImported, at: Recorded) -> Score:
    return Score(row.target_id, row.up + e.up, row.down + e.down, max(row.position, at.position))


@scores.on(CommentImported, key=lambda e: e.comment_id if e.up or e.down else None)
def _(row: Score, e: CommentImported, at: Recorded) -> Score:
    return Score(row.target_id, row.up + e.up, row.down + e.down, max(row.position, at.position))


@scores.in_parts(VoteCast, PostImported, CommentImported, up="sum", down="sum", position="largest")
def _(page: Mapping[type[Event], Alike]) -> "Columns":
    from projections.columns import joined  # noqa: PLC0415 - for rebuilds alone

    return joined([_PARTS[kind](alike) for kind, alike in page.items()])


def _voted(votes: Alike) -> "Columns":
    previous, value = votes.numbers("previous"), votes.numbers("value")
    up, down = (value > 0) * 1 - (previous > 0), (value < 0) * 1 - (previous < 0)
    return votes.ids("target_id"), up, down, votes.positions_array


def _imported(items: Alike, field: str) -> "Columns":
    up, down = items.numbers("up"), items.numbers("down")
    some = (up != 0) | (down != 0)
    return items.ids(field)[some], up[some], down[some], items.positions_array[some]


_PARTS: dict[type[Event], Callable[[Alike], "Columns"]] = {
    VoteCast: _voted,
    PostImported: partial(_imported, field="post_id"),
    CommentImported: partial(_imported, field="comment_id"),
}
