"""Who was replied to, by which comment. One row a reply that somebody is to be told of; rows never change."""

from datetime import datetime
from typing import ClassVar

from domain.comment import CommentSubmitted
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Notification(Row, frozen=True, gc=False):
    """``actor_id`` replied to ``account_id`` with that comment. ``position`` orders them and resumes a subscription."""

    key_fields: ClassVar[tuple[str, ...]] = ("account_id", "position")
    account_id: Id
    position: int
    actor_id: Id | None = None
    comment_id: Id | None = None
    post_id: Id | None = None
    occurred_at: datetime | None = None


notifications = Projection(
    "notifications", version=1, row=Notification, signal=lambda row: f"notifications:{row.account_id}", local=True
)


@notifications.on(
    CommentSubmitted, keys=lambda e, at: () if e.replied_to_id is None else ((e.replied_to_id, at.position),)
)
def _(row: Notification, e: CommentSubmitted, at: Recorded) -> Notification:
    return Notification(row.account_id, row.position, e.author_id, e.comment_id, e.post_id, at.occurred_at)
