"""Posts: what they say, who wrote them, how they stand, and the comments below them."""

import asyncio
from datetime import datetime

import strawberry

from projections.posts import Post as PostRow
from read_api.ids import Kind, global_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account
from read_api.schema.common import (
    After,
    Before,
    CommentSort,
    Connection,
    First,
    Info,
    Last,
    Node,
    PostKind,
    Score,
    Vote,
)
from read_api.schema.communities import Community
from read_api.schema.threads import CommentSortArgument, LazyComment, sibling_page, thread_page


@strawberry.type(description="A title with a text in Markdown or a link, in one community.")
class Post(Node):
    """A post. ``votes`` (up, down), ``comments_known`` and ``author_not_blocked`` come with a page of a feed."""

    row: strawberry.Private[PostRow]
    votes: strawberry.Private[tuple[int, int] | None] = None
    comments_known: strawberry.Private[int | None] = None
    author_not_blocked: strawberry.Private[bool] = False

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.POST, self.row.post_id))

    @strawberry.field(description="Where it was posted.")
    def community(self, info: Info) -> Community | None:
        """Where it was posted."""
        assert self.row.community_id is not None
        return info.context.loaders.communities.get(self.row.community_id)

    @strawberry.field(
        description="Who wrote it. Null if it is deleted, if an archive does not know, or if it is anonymous and you "
        "are neither its author nor a moderator of its community."
    )
    def author(self, info: Info) -> Account | None:
        """Who wrote it, as far as the viewer may know."""
        row, context = self.row, info.context
        if row.author_id is None or row.deleted:
            return None
        if row.anonymous and row.author_id != context.viewer_id:
            return self._anonymous_author(info)  # type: ignore[return-value]  # the executor awaits it
        return context.loaders.accounts.get(row.author_id)

    async def _anonymous_author(self, info: Info) -> Account | None:
        row, context = self.row, info.context
        if context.viewer_id is None or row.community_id is None or row.author_id is None:
            return None
        loaders = context.loaders
        # Asked together, so that a page with anonymous posts costs no statement more than one without; the community
        # brings the viewer's standing in it.
        author, _ = await asyncio.gather(
            loaders.accounts.load(row.author_id), loaders.communities.load(row.community_id)
        )
        standing = await loaders.memberships.load(row.community_id)
        return author if standing is not None and standing.moderator else None

    @strawberry.field(description="Whether only moderators are shown its author.")
    def anonymous(self) -> bool:
        """Whether only moderators are shown its author."""
        return self.row.anonymous

    @strawberry.field(description="What it consists of, next to the title.")
    def kind(self) -> PostKind:
        """What it consists of."""
        return PostKind(self.row.kind)

    @strawberry.field(
        description="One line; null once deleted. It is shown even while `hidden`, to tell what is held back."
    )
    def title(self) -> str | None:
        """One line."""
        return None if self.row.deleted else self.row.title

    @strawberry.field(description="The text as it was written, in Markdown; null once deleted, or while `hidden`.")
    async def body(self, info: Info) -> str | None:
        """The text, in Markdown."""
        return None if self.row.deleted or await self._is_hidden(info) else self.row.body

    @strawberry.field(description="The text as HTML that is safe to put into a page; null when `body` is.")
    async def body_html(self, info: Info) -> str | None:
        """The text, as safe HTML."""
        return None if self.row.deleted or await self._is_hidden(info) else await to_html(self.row.body)

    @strawberry.field(description="Where a link leads; null for a text, once deleted, or while `hidden`.")
    async def url(self, info: Info) -> str | None:
        """Where a link leads."""
        row = self.row
        return None if row.deleted or row.url is None or await self._is_hidden(info) else row.url

    @strawberry.field(description="When it was submitted.")
    def submitted_at(self) -> datetime | None:
        """When it was submitted."""
        return self.row.submitted_at

    @strawberry.field(description="When its text was last replaced; null if never.")
    def edited_at(self) -> datetime | None:
        """When its text was last replaced."""
        return self.row.edited_at

    @strawberry.field(description="Whether it was taken away; its comments stay.")
    def deleted(self) -> bool:
        """Whether it was taken away."""
        return self.row.deleted

    @strawberry.field(description="Whether only moderators may comment.")
    def locked(self) -> bool:
        """Whether only moderators may comment."""
        return self.row.locked

    @strawberry.field(description="Whether a moderator has it lead its community's Hot feed.")
    def sticky(self) -> bool:
        """Whether it leads its community's Hot feed."""
        return self.row.sticky

    @strawberry.field(description="Whether its text, or where it leads, is held back because you block its author.")
    async def hidden(self, info: Info) -> bool:
        """Whether its text is held back."""
        return await self._is_hidden(info)

    @strawberry.field(description="The votes on it.")
    def score(self, info: Info) -> Score:
        """The votes on it."""
        if self.votes is not None:
            return Score.of(up=self.votes[0], down=self.votes[1])
        return self._loaded_score(info)  # type: ignore[return-value]  # the executor awaits it

    async def _loaded_score(self, info: Info) -> Score:
        found = await info.context.loaders.post_standings.load(self.row.post_id)
        return Score.of(up=found.up if found else 0, down=found.down if found else 0)

    @strawberry.field(description="How many comments are below it, at any depth, deleted ones not counted.")
    def comment_count(self, info: Info) -> int:
        """How many comments are below it."""
        if self.comments_known is not None:
            return self.comments_known
        return self._loaded_comment_count(info)  # type: ignore[return-value]  # the executor awaits it

    async def _loaded_comment_count(self, info: Info) -> int:
        found = await info.context.loaders.post_standings.load(self.row.post_id)
        return found.comments if found else 0

    @strawberry.field(description="What you voted; NONE for a visitor.")
    def my_vote(self, info: Info) -> Vote:
        """What the viewer voted."""
        return Vote.NONE if info.context.viewer_id is None else info.context.loaders.votes.get(self.row.post_id)

    @strawberry.field(description="Whether it is on your list of saved things.")
    def saved(self, info: Info) -> bool:
        """Whether the viewer saved it."""
        return info.context.viewer_id is not None and info.context.loaders.saved.get(self.row.post_id)

    @strawberry.field(
        description="The comments directly below it. Deleted ones without replies, and those by people whom you block, "
        "are left out. Pages are as of the first one."
    )
    async def comments(
        self,
        info: Info,
        sort: CommentSortArgument = CommentSort.BEST,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[LazyComment]:
        """The comments directly below it."""
        return await sibling_page(
            info,
            "top_level",
            self.row.post_id,
            sort=sort,
            first=first,
            after=after,
            last=last,
            before=before,
        )

    @strawberry.field(
        description="All comments below it in the order of display, each before its replies: `depth` says how far to "
        "indent. Deleted ones without replies, people whom you block and what is below them are left out."
    )
    async def thread(
        self,
        info: Info,
        sort: CommentSortArgument = CommentSort.BEST,
        first: First = None,
        after: After = None,
    ) -> Connection[LazyComment]:
        """All comments below it in the order of display."""
        return await thread_page(info, self.row.post_id, sort=sort, first=first, after=after)

    async def _is_hidden(self, info: Info) -> bool:
        if self.author_not_blocked or self.row.anonymous or self.row.author_id is None:
            return False
        return await info.context.loaders.blocks(self.row.author_id)
