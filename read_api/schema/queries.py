"""Where a query starts."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from domain.event import Id
from domain.invite import id_of
from domain.refusal import Refusal
from infra.queries import accounts as account_queries
from infra.queries import communities as community_queries
from infra.queries import servers as server_queries
from infra.queries.communities import BySize
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, parse_id, subject_id
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
    connection,
    paging,
)
from read_api.schema.communities import Community
from read_api.schema.conversations import Conversation
from read_api.schema.feeds import FeedSortArgument, PeriodArgument, UntilArgument, feed_page
from read_api.schema.messages import located
from read_api.schema.posts import Post
from read_api.schema.servers import Invite
from read_api.schema.viewer import Viewer

if TYPE_CHECKING:
    from read_api.loaders import Loader

NAME_LENGTH_MAX = 256
"""Characters of a name that is looked up; no name has as many."""


@strawberry.type(description="Where a query starts. What a visitor may not see does not exist for him.")
class Query:
    """Where a query starts."""

    @strawberry.field(description="You, and what is yours alone; null for a visitor.")
    def viewer(self, info: Info) -> Viewer | None:
        """The viewer."""
        return None if info.context.viewer_id is None else Viewer(account_id=info.context.viewer_id)

    @strawberry.field(description="Whatever has that id; null if there is nothing, or nothing that you may see.")
    def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="A global id.")]
    ) -> Node | None:
        """Whatever has that id."""
        kind, subject = parse_id(id, "id")
        return _node(info, kind, subject)

    @strawberry.field(description="The same for several at once, in their order; at most 100.")
    def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="Global ids.")]
    ) -> list[Node | None]:
        """Whatever has those ids."""
        limit = info.context.moot.settings.graphql_page_size_max
        if len(ids) > limit:
            raise BadInput(ApiCode.PAGE_TOO_LARGE, f"At most {limit} ids at once.", "ids")
        found = {identity: _node(info, *parse_id(identity, "ids")) for identity in dict.fromkeys(ids)}
        return [found[identity] for identity in ids]

    @strawberry.field(description="The account of that name, without regard to case.")
    async def account(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")]
    ) -> Account | None:
        """The account of that name."""
        if not _possible(name):
            return None
        loaders = info.context.loaders
        rows = await loaders.read(account_queries.by_names, [name])
        return loaders.account(rows[0]) if rows else None

    @strawberry.field(description="The community of that name, without regard to case.")
    async def community(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")]
    ) -> Community | None:
        """The community of that name."""
        if not _possible(name):
            return None
        context = info.context
        rows = await context.loaders.read(community_queries.by_names, context.viewer_id, [name])
        return context.loaders.community(rows[0]) if rows else None

    @strawberry.field(
        description="The communities that you may see, the largest first. Pages are as of the first one: people who "
        "join and leave in between neither hide nor repeat a community."
    )
    async def communities(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Community]:
        """The communities that the viewer may see."""
        context, scope = info.context, "communities"
        asked = paging(context, scope, BySize, first, after, last, before)
        found = await context.loaders.read(
            community_queries.listing, context.viewer_id, size=asked.size, after=asked.cursor, backward=asked.backward
        )
        return connection(
            context,
            scope,
            found.map(lambda item: (context.loaders.community(item.community), item.cursor)),
        )

    @strawberry.field(description="Where the code of an invite leads; null if it lets nobody in (any more).")
    async def invite(
        self, info: Info, code: Annotated[str, strawberry.argument(description="What somebody gave you.")]
    ) -> Invite | None:
        """Where an invite leads."""
        try:
            invite_id = id_of(code)
        except Refusal:
            return None
        context = info.context
        found = await context.loaders.read(server_queries.invited, context.viewer_id, [invite_id], context.moot.clock())
        return Invite(row=found[0].invite, leads_to=found[0].server) if found else None

    @strawberry.field(description="A conversation that you are in; null if there is none, or you are not in it.")
    def conversation(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Conversation | None:
        """A conversation that the viewer is in."""
        return info.context.loaders.conversations.get(subject_id(id, Kind.CONVERSATION, "id"))

    @strawberry.field(
        description="Posts of all communities that you may see, as they rank. Pages are as of the first one: votes "
        "that arrive in between neither hide nor repeat a post."
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
    ) -> Connection[Post]:
        """Posts of all communities."""
        return await feed_page(
            info, sort=sort, period=period, until=until, first=first, after=after, last=last, before=before
        )


def _node(info: Info, kind: Kind, subject: Id) -> Node | None:
    loaders = info.context.loaders
    by_kind: dict[Kind, Loader[Id, Any]] = {
        Kind.ACCOUNT: loaders.accounts,
        Kind.COMMUNITY: loaders.communities,
        Kind.POST: loaders.posts,
        Kind.COMMENT: loaders.comments,
        Kind.SERVER: loaders.servers,
        Kind.CHANNEL: loaders.channels,
        Kind.ROLE: loaders.roles,
        Kind.CONVERSATION: loaders.conversations,
    }
    if kind is Kind.MESSAGE:
        return located(info, subject)  # type: ignore[return-value]  # the executor awaits it
    found: Node | None = by_kind[kind].get(subject)
    return found


def _possible(name: str) -> bool:
    """Whether there could be such a name; PostgreSQL takes no text with a NUL in it."""
    return 0 < len(name) <= NAME_LENGTH_MAX and "\0" not in name
