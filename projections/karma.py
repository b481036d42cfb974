"""What an author's posts and comments earned in one community: up votes less down votes, imported totals included.

An event without ``author_id`` earns nobody anything: an anonymous post's author must not show in a sum.
"""

from collections.abc import Mapping
from typing import ClassVar

from domain.ballot import VoteCast
from domain.comment import CommentImported
from domain.event import Event, Id
from domain.post import PostImported
from projections.core import Alike, Projection, Row
from schemas.envelope import Recorded


class Karma(Row, frozen=True, gc=False):
    """One author's karma in one community; ``position`` is that of the last event that changed it."""

    key_fields: ClassVar[tuple[str, ...]] = ("account_id", "community_id")
    account_id: Id
    community_id: Id
    post_karma: int = 0
    comment_karma: int = 0
    position: int = 0


karma = Projection("karma", version=1, row=Karma)


def _key(e: VoteCast | PostImported | CommentImported) -> tuple[Id, Id] | None:
    return None if e.author_id is None else (e.author_id, e.community_id)


@karma.on(VoteCast, key=_key)
def _(row: Karma, e: VoteCast, at: Recorded) -> Karma:
    earned = e.value - e.previous
    on_post = e.target == "post"
    return Karma(
        row.account_id,
        row.community_id,
        row.post_karma + earned if on_post else row.post_karma,
        row.comment_karma if on_post else row.comment_karma + earned,
        max(row.position, at.position),
    )


@karma.in_bulk(VoteCast)
def _(rows: dict[tuple[Id, Id], Karma], page: Mapping[type[Event], Alike]) -> None:
    votes = page[VoteCast]
    earned: dict[tuple[Id, Id], list[int]] = {}
    for e, position in zip(votes.events, votes.positions, strict=True):
        author_id = e.author_id
        if author_id is None:
            continue
        key = (author_id, e.community_id)
        sums = earned.get(key)
        if sums is None:
            sums = earned[key] = [0, 0, 0]
        sums[e.target != "post"] += e.value - e.previous
        sums[2] = position
    for key, (on_posts, on_comments, position) in earned.items():
        row = rows.get(key) or Karma(*key)
        rows[key] = Karma(*key, row.post_karma + on_posts, row.comment_karma + on_comments, max(row.position, position))


@karma.on(PostImported, key=_key)
def _(row: Karma, e: PostImported, at: Recorded) -> Karma:
    earned = row.post_karma + e.up - e.down
    return Karma(row.account_id, row.community_id, earned, row.comment_karma, max(row.position, at.position))


@karma.on(CommentImported, key=_key)
def _(row: Karma, e: CommentImported, at: Recorded) -> Karma:
    earned = row.comment_karma + e.up - e.down
    return Karma(row.account_id, row.community_id, row.post_karma, earned, max(row.position, at.position))
