"""Who follows whom. A row exists while the following lasts; all its events are of one stream."""

from datetime import datetime
from typing import ClassVar

from domain.event import Id
from domain.follow import AccountFollowed, AccountUnfollowed
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Follow(Row, frozen=True, gc=False):
    """``follower_id`` follows ``followed_id`` since then; ``position`` is that of the event that began it."""

    key_fields: ClassVar[tuple[str, ...]] = ("follower_id", "followed_id")
    follower_id: Id
    followed_id: Id
    since: datetime | None = None
    position: int = 0


follows = Projection("follows", version=1, row=Follow, local=True)


@follows.on(AccountFollowed, key=lambda e: (e.follower_id, e.followed_id))
def _(row: Follow, _e: AccountFollowed, at: Recorded) -> Follow:
    return Follow(row.follower_id, row.followed_id, at.occurred_at, at.position)


@follows.on(AccountUnfollowed, key=lambda e: (e.follower_id, e.followed_id))
def _(_row: Follow, _e: AccountUnfollowed) -> None:
    return None
