"""Up and down votes of every post and comment that has any.

A score is the imported totals plus the differences that its ballots made; each ballot is a stream of its own, so
the sums do not depend on their order.
"""

from collections.abc import Mapping
from typing import ClassVar

from domain.ballot import VoteCast
from domain.comment import CommentImported
from domain.event import Event, Id
from domain.post import PostImported
from projections.core import Alike, Projection, Row
from schemas.envelope import Recorded


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


@scores.in_bulk(VoteCast)
def _(rows: dict[Id, Score], page: Mapping[type[Event], Alike]) -> None:
    votes = page[VoteCast]
    get = rows.get
    for e, position in zip(votes.events, votes.positions, strict=True):
        target_id, previous, value = e.target_id, e.previous, e.value
        up, down = (value > 0) - (previous > 0), (value < 0) - (previous < 0)
        row = get(target_id)
        if row is None:
            rows[target_id] = Score(target_id, up, down, position)
        else:
            # The row's own id again, as the one that was just decoded would be another object to keep.
            latest = max(row.position, position)
            rows[target_id] = Score(row.target_id, row.up + up, row.down + down, latest)


@scores.on(PostImported, key=lambda e: e.post_id if e.up or e.down else None)
def _(row: Score, e: PostImported, at: Recorded) -> Score:
    return Score(row.target_id, row.up + e.up, row.down + e.down, max(row.position, at.position))


@scores.on(CommentImported, key=lambda e: e.comment_id if e.up or e.down else None)
def _(row: Score, e: CommentImported, at: Recorded) -> Score:
    return Score(row.target_id, row.up + e.up, row.down + e.down, max(row.position, at.position))
