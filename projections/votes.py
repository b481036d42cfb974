"""An account's own votes, to show it what it voted. A row exists while the vote is not withdrawn.

All events of a row are of one ballot, so their order holds everywhere.
"""

from collections.abc import Mapping
from typing import ClassVar

from domain.ballot import VoteCast
from domain.event import Event, Id
from projections.core import Alike, Projection, Row
from schemas.envelope import Recorded


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


@votes.in_bulk(VoteCast)
def _(rows: dict[tuple[Id, Id], Vote], page: Mapping[type[Event], Alike]) -> None:
    cast = page[VoteCast]
    for e, position in zip(cast.events, cast.positions, strict=True):
        voter_id, target_id, value = e.voter_id, e.target_id, e.value
        if value:
            rows[voter_id, target_id] = Vote(voter_id, target_id, value, position)
        else:
            rows.pop((voter_id, target_id), None)
