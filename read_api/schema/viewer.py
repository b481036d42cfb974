"""What is the viewer's alone."""

from typing import Annotated, TypeAlias

import strawberry

from domain.event import Id
from infra.presence import PresenceUnavailable
from infra.queries import accounts as account_queries
from infra.queries import conversations as conversation_queries
from infra.queries import items
from infra.queries import servers as server_queries
from read_api.schema.accounts import Account
from read_api.schema.comments import Comment
from read_api.schema.common import (
    After,
    Before,
    Connection,
    FeedSort,
    First,
    Info,
    Last,
    Period,
    connection,
    paging,
)
from read_api.schema.conversations import Conversation
from read_api.schema.feeds import FeedSortArgument, PeriodArgument, UntilArgument, feed_page
from read_api.schema.notifications import Notification
from read_api.schema.posts import Post
from read_api.schema.presence_states import PresenceChoice, choice_of
from read_api.schema.servers import Server
from read_api.sessions import Session, own_sessions

Votable: TypeAlias = Annotated[
    Post | Comment, strawberry.union("Votable", description="What can be voted on and saved: a post or a comment.")
]


@strawberry.type(description="What is yours alone.")
class Viewer:
    """What is the viewer's alone."""

    account_id: strawberry.Private[Id]

    @strawberry.field(
        description="Your account, as others see it; null for the moment between signing up and it being shown."
    )
    def account(self, info: Info) -> Account | None:
        """The viewer's account."""
        return info.context.loaders.accounts.get(self.account_id)

    @strawberry.field(
        description="How you are now, invisible or not; null while none of your devices is there, or it cannot be told."
    )
    async def presence(self, info: Info) -> PresenceChoice | None:
        """How the viewer is now."""
        try:
            return choice_of(await info.context.moot.presences.own(self.account_id))
        except PresenceUnavailable:
            return None

    @strawberry.field(description="Where you are signed in, the session used last first.")
    async def sessions(self, info: Info) -> list[Session]:
        """The viewer's sessions."""
        return await own_sessions(info.context)

    @strawberry.field(
        description="Posts of the communities that you are in and of the people whom you follow. Pages are as of the "
        "first one."
    )
    async def home_feed(
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
        """Posts of joined communities and followed people."""
        return await feed_page(
            info, sort=sort, period=period, until=until, first=first, after=after, last=last, before=before, home=True
        )

    @strawberry.field(description="What you saved and may still see, last saved first.")
    async def saved(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Votable]:
        """What the viewer saved."""
        context, scope = info.context, f"saved by {self.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(items.saved_list, self.account_id, asked.slice)
        loaders = context.loaders
        posts = await loaders.posts.load_many([row.target_id for row in found.items if row.target == "post"])
        comments = await loaders.comments.load_many([row.target_id for row in found.items if row.target == "comment"])
        shown: dict[Id, Post | Comment] = {
            **{post.row.post_id: post for post in posts if post},
            **{comment.row.comment_id: comment for comment in comments if comment},
        }
        there = type(found)([row for row in found.items if row.target_id in shown], found.has_next, found.has_previous)
        return connection(context, scope, there.map(lambda row: (shown[row.target_id], row.position)))

    @strawberry.field(description="Replies to you, the newest first; those by people whom you block are left out.")
    async def notifications(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Notification]:
        """Replies to the viewer."""
        context, scope = info.context, f"notifications of {self.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(account_queries.notifications, self.account_id, asked.slice)
        return connection(context, scope, found.map(lambda row: (Notification(row=row), row.position)))

    @strawberry.field(description="The chat servers that you are in, last joined first.")
    async def servers(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Server]:
        """The servers that the viewer is in."""
        context, scope = info.context, f"servers of {self.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(server_queries.mine, self.account_id, asked.slice)
        return connection(context, scope, found.map(lambda one: (context.loaders.server(one), one.member.position)))

    @strawberry.field(description="The conversations that you are in, last joined first.")
    async def conversations(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Conversation]:
        """The conversations that the viewer is in."""
        context, scope = info.context, f"conversations of {self.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(conversation_queries.mine, self.account_id, asked.slice)
        return connection(context, scope, found.map(lambda one: (context.loaders.conversation(one), one.mine.position)))

    @strawberry.field(description="Whom you block, the newest first. Nobody else is told.")
    async def blocked_accounts(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Account]:
        """Whom the viewer blocks."""
        context, scope = info.context, f"blocked by {self.account_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(account_queries.blocks, self.account_id, asked.slice)
        return connection(context, scope, found.map(lambda one: (context.loaders.account(one.profile), one.position)))
