"""Pages of comments, for whatever has some below it."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from domain.event import Id
from infra.queries import comments as comment_queries
from infra.queries.comments import CommentCursor, CommentItem, ThreadCursor, ThreadItem
from infra.queries.rows import Page
from projections import ranking
from read_api.schema.common import CommentSort, Connection, Info, connection, paging

if TYPE_CHECKING:
    from read_api.loaders import Loaders
    from read_api.schema.comments import Comment

LazyComment: TypeAlias = Annotated["Comment", strawberry.lazy("read_api.schema.comments")]
CommentSortArgument: TypeAlias = Annotated[
    CommentSort, strawberry.argument(description="The order of comments below the same parent.")
]


async def sibling_page(
    info: Info,
    which: str,
    parent_id: Id,
    *,
    sort: CommentSort,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> Connection[LazyComment]:
    """A page of the comments directly below a post (``which`` is ``top_level``) or a comment (``replies``)."""
    context = info.context
    scope = f"{which} {parent_id} {context.viewer_id} {sort.value}"
    asked = paging(context, scope, CommentCursor, first, after, last, before)
    order = ranking.CommentSort(sort.value)
    loaders = context.loaders
    if asked.cursor is None:  # first pages of many parents come together
        found = await loaders.siblings(which, order, asked.size, backward=asked.backward).load(parent_id)
    else:
        query = comment_queries.top_level if which == "top_level" else comment_queries.replies
        pages = await loaders.read(
            query,
            context.viewer_id,
            [parent_id],
            sort=order,
            size=asked.size,
            cursor=asked.cursor,
            backward=asked.backward,
        )
        found = pages[parent_id]
    page: Page[CommentItem] = found
    return connection(context, scope, page.map(lambda item: (_comment(loaders, item), item.cursor)))


async def thread_page(
    info: Info, post_id: Id, *, sort: CommentSort, first: int | None, after: str | None
) -> Connection[LazyComment]:
    """A page of the whole thread below a post, each comment before its replies."""
    context = info.context
    scope = f"thread {post_id} {context.viewer_id} {sort.value}"
    asked = paging(context, scope, ThreadCursor, first, after)
    loaders = context.loaders
    page = await loaders.read(
        comment_queries.thread,
        context.viewer_id,
        post_id,
        sort=ranking.CommentSort(sort.value),
        size=asked.size,
        cursor=asked.cursor,
    )
    return connection(context, scope, page.map(lambda item: (_comment(loaders, item), item.cursor)))


def _comment(loaders: "Loaders", item: CommentItem | ThreadItem) -> "Comment":
    comment = loaders.comment(item.comment)
    comment.votes = (item.up, item.down)
    comment.author_not_blocked = True  # threads leave out those whom the viewer blocks
    return comment
