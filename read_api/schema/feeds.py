"""Feeds of ranked posts, for whatever has one."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from domain.event import Id
from infra.queries import feeds
from infra.queries.feeds import FeedItem, FeedQuery, PageCursor
from projections import ranking
from read_api.errors import ApiCode, BadInput
from read_api.schema.common import Connection, FeedSort, Info, Period, connection, paging

if TYPE_CHECKING:
    from read_api.schema.posts import Post

LazyPost: TypeAlias = Annotated["Post", strawberry.lazy("read_api.schema.posts")]
FeedSortArgument: TypeAlias = Annotated[FeedSort, strawberry.argument(description="The order.")]
PeriodArgument: TypeAlias = Annotated[
    Period, strawberry.argument(description="How far TOP and CONTROVERSIAL look back; other sorts pass it over.")
]
UntilArgument: TypeAlias = Annotated[
    datetime | None,
    strawberry.argument(
        description="The end of the `period` of TOP and CONTROVERSIAL: with YEAR and 2015-01-01T00:00:00Z, the best of "
        "2014. Left out: now."
    ),
]


async def feed_page(
    info: Info,
    *,
    sort: FeedSort,
    period: Period,
    until: datetime | None,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    community_id: Id | None = None,
    home: bool = False,
) -> Connection[LazyPost]:
    """A page of the feed of a community, of all, or of the viewer's home, ranked as of its first page."""
    context = info.context
    until = _in_utc(until)
    # A cursor is good for the very list that it came from, and for the viewer whose blocks and communities shaped it.
    scope = f"feed {community_id} {home} {context.viewer_id} {sort.value} {period.value} {until}"
    asked = paging(context, scope, PageCursor, first, after, last, before)
    query = FeedQuery(
        viewer_id=context.viewer_id,
        sort=ranking.Sort(sort.value),
        period=ranking.Period(period.value),
        until=until,
        community_id=community_id,
        home=home,
        size=asked.size,
        cursor=asked.cursor,
        backward=asked.backward,
    )
    found = await context.loaders.read(feeds.page, query, context.moot.clock())
    return connection(context, scope, found.map(lambda item: (_post(info, item), item.cursor)))


def _post(info: Info, item: FeedItem) -> "Post":
    post = info.context.loaders.post(item.post)
    post.votes = (item.up, item.down)
    post.comments_known = item.comments
    post.author_not_blocked = True  # the feed leaves out those whom the viewer blocks
    return post


def _in_utc(until: datetime | None) -> datetime | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise BadInput(ApiCode.BAD_REQUEST, "A time needs its zone: 2015-01-01T00:00:00Z.", "until")
    try:
        return until.astimezone(UTC)
    except OverflowError:  # its zone carries it out of the years 1 to 9999
        raise BadInput(ApiCode.BAD_REQUEST, "A time must be in the years 1 to 9999 of UTC.", "until") from None
