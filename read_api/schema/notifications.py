"""What somebody was told: for his eyes only."""

from datetime import datetime

import strawberry

from projections.notifications import Notification as NotificationRow
from read_api.schema.accounts import Account
from read_api.schema.comments import Comment
from read_api.schema.common import Info


@strawberry.type(description="Somebody replied to you.")
class Notification:
    """Somebody replied to the viewer."""

    row: strawberry.Private[NotificationRow]

    @strawberry.field(description="When.")
    def occurred_at(self) -> datetime | None:
        """When it happened."""
        return self.row.occurred_at

    @strawberry.field(description="Who replied.")
    def actor(self, info: Info) -> Account | None:
        """Who replied."""
        return None if self.row.actor_id is None else info.context.loaders.accounts.get(self.row.actor_id)

    @strawberry.field(description="The reply, with its post and parent; null if it is hidden from you now.")
    def comment(self, info: Info) -> Comment | None:
        """The reply."""
        return None if self.row.comment_id is None else info.context.loaders.comments.get(self.row.comment_id)
