"""Communities: what they say of themselves, who is in them, their feed, and what the viewer is in them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from infra.queries import communities as community_queries
from projections.communities import Community as CommunityRow
from projections.memberships import Membership as MembershipRow
from read_api.ids import Kind, global_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account
from read_api.schema.common import (
    After,
    Before,
    Connection,
    FeedSort,
    First,
    Info,
    Last,
    Node,
    Period,
    Visibility,
    connection,
    paging,
)
from read_api.schema.feeds import FeedSortArgument, PeriodArgument, UntilArgument, feed_page

if TYPE_CHECKING:
    from read_api.schema.posts import Post

LazyPost: TypeAlias = Annotated["Post", strawberry.lazy("read_api.schema.posts")]


@strawberry.type(description="What you are in a community.")
class Membership:
    """What somebody is in a community."""

    row: strawberry.Private[MembershipRow]

    @strawberry.field(description="Whether you were let in: to join it if it is private, to post if it is restricted.")
    def invited(self) -> bool:
        """Whether the account was invited."""
        return self.row.invited

    @strawberry.field(description="Whether you are a member.")
    def joined(self) -> bool:
        """Whether the account is a member."""
        return self.row.joined

    @strawberry.field(description="Whether you moderate it.")
    def moderator(self) -> bool:
        """Whether the account is a moderator."""
        return self.row.moderator

    @strawberry.field(description="When you last became a member.")
    def joined_at(self) -> datetime | None:
        """When the account last became a member."""
        return self.row.joined_at


@strawberry.type(description="A named place for posts, with rules of who may see it and who may post.")
class Community(Node):
    """A named place for posts."""

    row: strawberry.Private[CommunityRow]

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.COMMUNITY, self.row.community_id))

    @strawberry.field(description="Unique without regard to case, and for good.")
    def name(self) -> str:
        """The unique name."""
        return self.row.name

    @strawberry.field(description="What is shown as its heading.")
    def title(self) -> str:
        """The heading."""
        return self.row.title or self.row.name

    @strawberry.field(description="What it is about, and its rules, in Markdown.")
    def description(self) -> str:
        """What it is about, in Markdown."""
        return self.row.description

    @strawberry.field(description="The description as HTML that is safe to put into a page.")
    async def description_html(self) -> str:
        """What it is about, as safe HTML."""
        return await to_html(self.row.description)

    @strawberry.field(description="Who sees it, and who may post.")
    def visibility(self) -> Visibility:
        """Who sees it, and who may post."""
        return Visibility(self.row.visibility)

    @strawberry.field(description="Whether posts may be anonymous.")
    def anonymous_allowed(self) -> bool:
        """Whether posts may be anonymous."""
        return self.row.anonymous_allowed

    @strawberry.field(description="Whether it came with an archive.")
    def imported(self) -> bool:
        """Whether it came with an archive."""
        return self.row.imported

    @strawberry.field(
        description="When it was opened. Where it came with an archive, the time of the first of its posts and "
        "comments that the import met, which need not be the oldest."
    )
    def created_at(self) -> datetime | None:
        """When it was opened, or the time of what the import met it with."""
        return self.row.created_at

    @strawberry.field(description="How many members it has.")
    def member_count(self) -> int:
        """How many members it has."""
        return self.row.members

    @strawberry.field(description="How many posts it has, deleted ones not counted.")
    def post_count(self) -> int:
        """How many posts it has."""
        return self.row.posts

    @strawberry.field(description="Who opened it; null for one that was imported.")
    def creator(self, info: Info) -> Account | None:
        """Who opened it."""
        return None if self.row.creator_id is None else info.context.loaders.accounts.get(self.row.creator_id)

    @strawberry.field(description="What you are in it; null for a visitor, or if it knows nothing of you.")
    async def viewer_membership(self, info: Info) -> Membership | None:
        """What the viewer is in it."""
        if info.context.viewer_id is None:
            return None
        row = await info.context.loaders.memberships.load(self.row.community_id)
        return None if row is None else Membership(row=row)

    @strawberry.field(description="Its members, last joined first. Of a private community, for members only.")
    async def members(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Account]:
        """Its members, last joined first."""
        return await self._members(info, first, after, last, before, moderators=False)

    @strawberry.field(description="Its moderators, last joined first. Of a private community, for members only.")
    async def moderators(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Account]:
        """Its moderators, last joined first."""
        return await self._members(info, first, after, last, before, moderators=True)

    async def _members(
        self,
        info: Info,
        first: int | None,
        after: str | None,
        last: int | None,
        before: str | None,
        *,
        moderators: bool,
    ) -> Connection[Account]:
        context = info.context
        scope = f"{'moderators' if moderators else 'members'} of {self.row.community_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(
            community_queries.members, context.viewer_id, self.row.community_id, asked.slice, moderators=moderators
        )
        return connection(context, scope, found.map(lambda one: (context.loaders.account(one.profile), one.position)))

    @strawberry.field(
        description="Its posts as they rank; of a private community, for members only. Pages are as of the first one: "
        "votes that arrive in between neither hide nor repeat a post."
    )
    async def feed(
        self,
        info: Info,
        sort: FeedSortArgument = FeedSort.HOT,
        period: PeriodArgument = Period.ALL,
        until: UntilArgument = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[LazyPost]:
        """Its posts as they rank."""
        return await feed_page(
            info,
            sort=sort,
            period=period,
            until=until,
            first=first,
            after=after,
            last=last,
            before=before,
            community_id=self.row.community_id,
        )
