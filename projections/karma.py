"""What an author's posts and comments earned in one community: up votes less down votes, imported totals included.

An event without ``author_id`` earns nobody anything: an anonymous post's author must not show in a sum.
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
    from projections.columns import Columns, Numbers


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


@karma.on(PostImported, key=_key)
def _(row: Karma, e: PostImported, at: Recorded) -> Karma:
    earned = row.post_karma + e.up - e.down
    return Karma(row.account_id, row.community_id, earned, row.comment_karma, max(row.position, at.position))


@karma.on(CommentImported, key=_key)
def _(row: Karma, e: CommentImported, at: Recorded) -> Karma:
    earned = row.comment_karma + e.up - e.down
    return Karma(row.account_id, row.community_id, row.post_karma, earned, max(row.position, at.position))


@karma.in_parts(VoteCast, PostImported, CommentImported, post_karma="sum", comment_karma="sum", position="largest")
def _(page: Mapping[type[Event], Alike]) -> "Columns":
    from projections.columns import joined  # noqa: PLC0415 - for rebuilds alone

    return joined([_PARTS[kind](alike) for kind, alike in page.items()])


def _earned(events: Alike, earned: "Numbers", on_posts: "Numbers") -> "Columns":
    authors = events.ids("author_id")
    known = authors.any(axis=1)
    columns = (authors, events.ids("community_id"), on_posts, earned - on_posts, events.positions_array)
    return [column[known] for column in columns]


def _voted(votes: Alike) -> "Columns":
    earned = votes.numbers("value") - votes.numbers("previous")
    return _earned(votes, earned, earned * votes.equal("target", "post"))


def _imported(items: Alike, on_posts: int) -> "Columns":
    earned = items.numbers("up") - items.numbers("down")
    return _earned(items, earned, earned * on_posts)


_PARTS: dict[type[Event], Callable[[Alike], "Columns"]] = {
    VoteCast: _voted,
    PostImported: partial(_imported, on_posts=1),
    CommentImported: partial(_imported, on_posts=0),
}
