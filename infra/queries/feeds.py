"""Pages of ranked posts: of one community, of all, and a viewer's home.

A page is exact as of a time and a position of the log: those of the first page, carried by its cursors. Votes and
posts that come later change no page after it, so none shows a post twice and none is passed over; a post that
was deleted meanwhile is left out. Nothing is kept on the server for it. What a post shows beside its place (votes,
comments) is as of now.
"""

from datetime import UTC, datetime
from math import inf

from msgspec import Struct

from domain.event import Id
from infra.queries.feed_sql import Scope, statement
from infra.queries.rows import Connection, Page
from projections.posts import Post
from projections.ranking import HOT_AGE_MAX, Period, Sort

_MAX_ID = Id("ffffffff-ffff-ffff-ffff-ffffffffffff")
_MIN_ID = Id("00000000-0000-0000-0000-000000000000")
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_SCORE_BOUND = 2**62
_WALKED = frozenset({Period.DAY, Period.WEEK, Period.MONTH})
"""Periods of Top that are short enough to be read by blocks; the longer ones are read from the best score down."""


class PageCursor(Struct, frozen=True, array_like=True):
    """The place after one post in one feed: good for the same scope, viewer, sort, period and ``until`` alone.

    ``now`` and ``position`` are those of the first page. ``lead`` names the sticky posts that led it.
    """

    now: datetime
    position: int
    rank: float
    submitted_at: datetime
    post_id: Id
    lead: tuple[Id, ...] = ()


class FeedQuery(Struct, frozen=True):
    """What to read: by default, the hottest posts of all.

    ``community_id`` narrows to one community; ``home`` to communities that the viewer is in and people whom the
    viewer follows. ``period`` is for Top and Controversial; it ends at ``until``, or now. ``backward`` reads the
    ``size`` posts before the cursor, and from the very end without one.
    """

    viewer_id: Id | None
    sort: Sort = Sort.HOT
    period: Period = Period.ALL
    until: datetime | None = None
    community_id: Id | None = None
    home: bool = False
    size: int = 25
    cursor: PageCursor | None = None
    backward: bool = False


class FeedItem(Struct, frozen=True):
    """A post in its place. The author of an anonymous one is not for everybody."""

    post: Post
    up: int
    down: int
    comments: int
    cursor: PageCursor


async def page(connection: Connection, query: FeedQuery, now: datetime) -> Page[FeedItem]:
    """The page, as of the cursor's time and position, or as of ``now`` and everything folded so far.

    Shown are posts that are not deleted, of communities that the viewer may see, by nobody whom the viewer
    blocks. Sticky posts lead a community's Hot feed. Rising has posts that gained votes lately, Controversial
    those with votes both ways; the other sorts have all. Home never shows an anonymous post because of its author.
    """
    cursor = query.cursor
    as_of = cursor.now if cursor else now
    scope = Scope.HOME if query.home else Scope.ALL if query.community_id is None else Scope.COMMUNITY
    starts, ends = _window(query, as_of)
    rank, time, post_id = _place(query)
    sql = statement(
        scope, query.sort, walked=query.sort is Sort.TOP and query.period in _WALKED, backward=query.backward
    )
    parameters = {
        "viewer": query.viewer_id,
        "community": query.community_id,
        "now": as_of,
        "from": starts,
        "until": ends,
        "position": cursor.position if cursor else None,
        "lead": list(cursor.lead) if cursor else None,
        "rank": rank,
        "time": time,
        "id": post_id,
        "limit": query.size + 1,
    }
    found = await (await connection.execute(sql.encode(), parameters)).fetchall()
    items = [_item(as_of, *row) for row in found[: query.size]]
    more = len(found) > query.size
    if query.backward:
        return Page(items[::-1], cursor is not None, more)
    return Page(items, more, cursor is not None)


def _item(
    now: datetime,
    position: int,
    lead: list[Id] | None,
    rank: float,
    up: int,
    down: int,
    comments: int,
    *columns: object,
) -> FeedItem:
    post = Post(*columns)  # type: ignore[arg-type]
    assert post.submitted_at is not None
    cursor = PageCursor(now, position, rank, post.submitted_at, post.post_id, tuple(lead or ()))
    return FeedItem(post, up, down, comments, cursor)


def _window(query: FeedQuery, as_of: datetime) -> tuple[datetime, datetime]:
    """When the posts were submitted: after the one, not after the other."""
    if query.sort is Sort.HOT:
        return as_of - HOT_AGE_MAX, _LAST
    length = query.period.length
    if query.sort not in {Sort.TOP, Sort.CONTROVERSIAL} or (length is None and query.until is None):
        return _FIRST, _LAST
    ends = query.until or as_of
    starts = _FIRST if length is None or ends - _FIRST < length else ends - length
    return starts, query.until or _LAST


def _place(query: FeedQuery) -> tuple[float, datetime, Id]:
    """Rank, time and id that the page comes after; beyond either end where there is no cursor."""
    cursor = query.cursor
    if cursor is not None:
        rank = int(cursor.rank) if query.sort is Sort.TOP else cursor.rank
        return rank, cursor.submitted_at, cursor.post_id
    bound = _SCORE_BOUND if query.sort is Sort.TOP else inf
    return (-bound, _FIRST, _MIN_ID) if query.backward else (bound, _LAST, _MAX_ID)
