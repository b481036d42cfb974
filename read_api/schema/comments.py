"""Comments: what they say, where they stand in their thread, and the replies below them."""

from datetime import datetime

import strawberry

from projections.comments import Comment as CommentRow
from read_api.ids import Kind, global_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account, LazyComment
from read_api.schema.common import After, Before, CommentSort, Connection, First, Info, Last, Node, Score, Vote
from read_api.schema.communities import Community
from read_api.schema.posts import Post
from read_api.schema.threads import CommentSortArgument, sibling_page


@strawberry.type(description="A text in Markdown below a post or below another comment.")
class Comment(Node):
    """A comment. ``votes`` and ``author_not_blocked`` are known where it came with something else."""

    row: strawberry.Private[CommentRow]
    votes: strawberry.Private[tuple[int, int] | None] = None
    author_not_blocked: strawberry.Private[bool] = False

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.COMMENT, self.row.comment_id))

    @strawberry.field(description="The post that it is about.")
    def post(self, info: Info) -> Post | None:
        """The post that it is about."""
        return None if self.row.post_id is None else info.context.loaders.posts.get(self.row.post_id)

    @strawberry.field(description="The comment that it replies to; null directly below the post.")
    def parent(self, info: Info) -> LazyComment | None:
        """The comment that it replies to."""
        return None if self.row.parent_id is None else info.context.loaders.comments.get(self.row.parent_id)

    @strawberry.field(description="The community of its post.")
    def community(self, info: Info) -> Community | None:
        """The community of its post."""
        row = self.row
        return None if row.community_id is None else info.context.loaders.communities.get(row.community_id)

    @strawberry.field(description="Who wrote it. Null if it is deleted, or if an archive does not know.")
    def author(self, info: Info) -> Account | None:
        """Who wrote it."""
        row = self.row
        return None if row.author_id is None or row.deleted else info.context.loaders.accounts.get(row.author_id)

    @strawberry.field(description="1 directly below the post, 2 for a reply to that, and so on.")
    def depth(self) -> int:
        """How deep it stands."""
        return self.row.depth

    @strawberry.field(description="The text as it was written, in Markdown; null once deleted, or while `hidden`.")
    async def body(self, info: Info) -> str | None:
        """The text, in Markdown."""
        return None if self.row.deleted or await self._is_hidden(info) else self.row.body

    @strawberry.field(description="The text as HTML that is safe to put into a page; null when `body` is.")
    async def body_html(self, info: Info) -> str | None:
        """The text, as safe HTML."""
        return None if self.row.deleted or await self._is_hidden(info) else await to_html(self.row.body)

    @strawberry.field(description="When it was submitted.")
    def submitted_at(self) -> datetime | None:
        """When it was submitted."""
        return self.row.submitted_at

    @strawberry.field(description="When its text was last replaced; null if never.")
    def edited_at(self) -> datetime | None:
        """When its text was last replaced."""
        return self.row.edited_at

    @strawberry.field(description="Whether it was taken away; its replies stay.")
    def deleted(self) -> bool:
        """Whether it was taken away."""
        return self.row.deleted

    @strawberry.field(description="Whether its text is held back because you block its author.")
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
        found = await info.context.loaders.scores.load(self.row.comment_id)
        return Score.of(up=found.up if found else 0, down=found.down if found else 0)

    @strawberry.field(description="What you voted; NONE for a visitor.")
    def my_vote(self, info: Info) -> Vote:
        """What the viewer voted."""
        return Vote.NONE if info.context.viewer_id is None else info.context.loaders.votes.get(self.row.comment_id)

    @strawberry.field(description="Whether it is on your list of saved things.")
    def saved(self, info: Info) -> bool:
        """Whether the viewer saved it."""
        return info.context.viewer_id is not None and info.context.loaders.saved.get(self.row.comment_id)

    @strawberry.field(description="How many replies are directly below it, deleted ones counted.")
    def reply_count(self) -> int:
        """How many replies are directly below it."""
        return self.row.replies

    @strawberry.field(
        description="The replies directly below it. Deleted ones without replies, and those by people whom you block, "
        "are left out. Pages are as of the first one."
    )
    async def replies(
        self,
        info: Info,
        sort: CommentSortArgument = CommentSort.BEST,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[LazyComment]:
        """The replies directly below it."""
        return await sibling_page(
            info,
            "replies",
            self.row.comment_id,
            sort=sort,
            first=first,
            after=after,
            last=last,
            before=before,
        )

    async def _is_hidden(self, info: Info) -> bool:
        if self.author_not_blocked or self.row.author_id is None:
            return False
        return await info.context.loaders.blocks(self.row.author_id)
