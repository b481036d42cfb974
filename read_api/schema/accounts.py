"""Accounts: who somebody is, what he wrote and earned, and how the viewer stands to him."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import strawberry

from infra.queries import accounts as account_queries
from infra.queries import communities as community_queries
from infra.queries import items
from infra.queries.items import ByTime
from projections.profiles import Profile
from read_api.ids import Kind, global_id
from read_api.schema.common import (
    After,
    Before,
    Connection,
    First,
    Info,
    Last,
    Node,
    connection,
    counted,
    page_size,
    paging,
)

if TYPE_CHECKING:
    from read_api.schema.comments import Comment
    from read_api.schema.communities import Community
    from read_api.schema.posts import Post

LazyPost: TypeAlias = Annotated["Post", strawberry.lazy("read_api.schema.posts")]
LazyComment: TypeAlias = Annotated["Comment", strawberry.lazy("read_api.schema.comments")]
LazyCommunity: TypeAlias = Annotated["Community", strawberry.lazy("read_api.schema.communities")]
LazyAccount: TypeAlias = Annotated["Account", strawberry.lazy("read_api.schema.accounts")]


@strawberry.type(
    description="What an author's posts and comments earned: votes up less votes down. Numbers beyond 2147483647, "
    "either way, are shown as that."
)
class Karma:
    """What an author earned."""

    post_karma: strawberry.Private[int]
    comment_karma: strawberry.Private[int]

    @strawberry.field(description="By posts that were not anonymous.")
    def posts(self) -> int:
        """By posts that were not anonymous."""
        return counted(self.post_karma)

    @strawberry.field(description="By comments.")
    def comments(self) -> int:
        """By comments."""
        return counted(self.comment_karma)

    @strawberry.field(description="By both.")
    def total(self) -> int:
        """By both."""
        return counted(self.post_karma + self.comment_karma)


@strawberry.type(description="What an author earned in one community.")
class CommunityKarma(Karma):
    """What an author earned in one community."""

    community_id: strawberry.Private[Any]

    @strawberry.field(description="Where it was earned; null if it is hidden from you now.")
    def community(self, info: Info) -> LazyCommunity | None:
        """Where it was earned."""
        return info.context.loaders.communities.get(self.community_id)


@strawberry.type(description="Somebody, as others see him.")
class Account(Node):
    """Somebody, as others see him."""

    row: strawberry.Private[Profile]

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.ACCOUNT, self.row.account_id))

    @strawberry.field(description="Unique without regard to case, and for good.")
    def name(self) -> str:
        """The unique name."""
        return self.row.name

    @strawberry.field(description="What the account is shown as.")
    def display_name(self) -> str:
        """What it is shown as."""
        return self.row.display_name or self.row.name

    @strawberry.field(description="Whether it came with an archive: then nobody can sign in to it.")
    def imported(self) -> bool:
        """Whether it came with an archive."""
        return self.row.imported

    @strawberry.field(
        description="When it was registered. Where it came with an archive, the time of the first of its posts and "
        "comments that the import met, which need not be the oldest."
    )
    def created_at(self) -> datetime | None:
        """When it was registered, or the time of what the import met it with."""
        return self.row.created_at

    @strawberry.field(description="How many follow it.")
    def follower_count(self) -> int:
        """How many follow it."""
        return self.row.followers

    @strawberry.field(description="How many it follows.")
    def following_count(self) -> int:
        """How many it follows."""
        return self.row.following

    @strawberry.field(description="What it earned, in all communities that you may see together.")
    async def karma(self, info: Info) -> Karma:
        """What it earned in all that the viewer sees."""
        found = await info.context.loaders.karma.load(self.row.account_id)
        return Karma(post_karma=found.post_karma if found else 0, comment_karma=found.comment_karma if found else 0)

    @strawberry.field(description="Where it earned most, of the communities that you may see; at most 100.")
    async def karma_by_community(
        self, info: Info, first: Annotated[int, strawberry.argument(description="How many: 1 to 100.")] = 10
    ) -> list[CommunityKarma]:
        """Where it earned most."""
        context = info.context
        rows = await context.loaders.read(
            account_queries.karma_by_community,
            context.viewer_id,
            self.row.account_id,
            first=page_size(context, "first", first),
        )
        return [
            CommunityKarma(post_karma=row.post_karma, comment_karma=row.comment_karma, community_id=row.community_id)
            for row in rows
        ]

    @strawberry.field(description="Its posts, the newest first. Anonymous ones are shown to the account itself alone.")
    async def posts(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[LazyPost]:
        """Its posts, the newest first."""
        context, scope = info.context, f"posts of {self.row.account_id}"
        asked = paging(context, scope, ByTime, first, after, last, before)
        found = await context.loaders.read(
            items.posts_of,
            context.viewer_id,
            self.row.account_id,
            size=asked.size,
            cursor=asked.cursor,
            backward=asked.backward,
        )
        return connection(
            context,
            scope,
            found.map(lambda row: (context.loaders.post(row), (row.submitted_at, row.post_id))),
        )

    @strawberry.field(description="Its comments, the newest first.")
    async def comments(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[LazyComment]:
        """Its comments, the newest first."""
        context, scope = info.context, f"comments of {self.row.account_id}"
        asked = paging(context, scope, ByTime, first, after, last, before)
        found = await context.loaders.read(
            items.comments_of,
            context.viewer_id,
            self.row.account_id,
            size=asked.size,
            cursor=asked.cursor,
            backward=asked.backward,
        )
        return connection(
            context,
            scope,
            found.map(lambda row: (context.loaders.comment(row), (row.submitted_at, row.comment_id))),
        )

    @strawberry.field(description="Who follows it, the newest first.")
    async def followers(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[LazyAccount]:
        """Who follows it."""
        return await self._related(info, account_queries.followers, "followers", first, after, last, before)

    @strawberry.field(description="Whom it follows, the newest first.")
    async def following(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[LazyAccount]:
        """Whom it follows."""
        return await self._related(info, account_queries.following, "following", first, after, last, before)

    @strawberry.field(description="The communities that it is in, of those that you may see, last joined first.")
    async def communities(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[LazyCommunity]:
        """The communities that it is in."""
        context, scope = info.context, f"communities of {self.row.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(
            community_queries.joined, context.viewer_id, self.row.account_id, asked.slice
        )
        return connection(
            context, scope, found.map(lambda one: (context.loaders.community(one.community), one.position))
        )

    @strawberry.field(description="Whether this is you.")
    def is_viewer(self, info: Info) -> bool:
        """Whether this is the viewer."""
        return self.row.account_id == info.context.viewer_id

    @strawberry.field(description="Whether you follow it.")
    def viewer_follows(self, info: Info) -> bool:
        """Whether the viewer follows it."""
        return info.context.viewer_id is not None and info.context.loaders.followed.get(self.row.account_id)

    @strawberry.field(description="Whether you block it.")
    def viewer_blocks(self, info: Info) -> bool:
        """Whether the viewer blocks it."""
        return info.context.viewer_id is not None and info.context.loaders.blocked.get(self.row.account_id)

    async def _related(
        self,
        info: Info,
        query: Any,
        which: str,
        first: int | None,
        after: str | None,
        last: int | None,
        before: str | None,
    ) -> Connection[LazyAccount]:
        context, scope = info.context, f"{which} of {self.row.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(query, self.row.account_id, asked.slice)
        return connection(context, scope, found.map(lambda one: (context.loaders.account(one.profile), one.position)))
