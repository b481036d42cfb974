"""Who was put out of a chat server, for those who may do so."""

from __future__ import annotations

from datetime import datetime

import strawberry

from projections.server_bans import ServerBan as BanRow
from read_api.schema.accounts import Account
from read_api.schema.common import Info


@strawberry.type(description="Somebody who may not join a server.")
class ServerBan:
    """A ban."""

    row: strawberry.Private[BanRow]

    @strawberry.field(description="Who is banned.")
    def account(self, info: Info) -> Account | None:
        """Who is banned."""
        return info.context.loaders.accounts.get(self.row.account_id)

    @strawberry.field(description="Who said so.")
    def moderator(self, info: Info) -> Account | None:
        """Who said so."""
        return None if self.row.moderator_id is None else info.context.loaders.accounts.get(self.row.moderator_id)

    @strawberry.field(description="Why, in Markdown.")
    def reason(self) -> str:
        """Why."""
        return self.row.reason

    @strawberry.field(description="When that ends by itself; null if it does not.")
    def until(self) -> datetime | None:
        """When it ends."""
        return self.row.until

    @strawberry.field(description="Whether it still holds; one that has ended is listed until it is taken back.")
    def active(self, info: Info) -> bool:
        """Whether it still holds."""
        return self.row.until is None or self.row.until > info.context.moot.clock()

    @strawberry.field(description="Since when.")
    def banned_at(self) -> datetime | None:
        """Since when."""
        return self.row.since


@strawberry.type(description="Somebody who was kicked out of a server and is not back.")
class ServerKick:
    """A kick."""

    row: strawberry.Private[BanRow]

    @strawberry.field(description="Who was kicked.")
    def account(self, info: Info) -> Account | None:
        """Who was kicked."""
        return info.context.loaders.accounts.get(self.row.account_id)

    @strawberry.field(description="Who did it.")
    def moderator(self, info: Info) -> Account | None:
        """Who did it."""
        return None if self.row.moderator_id is None else info.context.loaders.accounts.get(self.row.moderator_id)

    @strawberry.field(description="Why, in Markdown.")
    def reason(self) -> str:
        """Why."""
        return self.row.reason

    @strawberry.field(description="When.")
    def kicked_at(self) -> datetime | None:
        """When."""
        return self.row.since
