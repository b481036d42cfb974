"""The same page of posts by Strawberry as its documentation has it: types, ``DataLoader``s, its own ASGI view.

It reads the same rows with the same statements; what differs is everything above them.
"""

from collections.abc import Sequence
from typing import Any

import strawberry
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader

from domain.event import Id
from infra.queries import accounts, communities, feeds, items
from infra.queries.feeds import FeedQuery
from projections import ranking
from projections.posts import Post as PostRow


@strawberry.type
class Account:
    """Somebody."""

    id: strawberry.ID
    name: str


@strawberry.type
class Community:
    """A place for posts."""

    id: strawberry.ID
    name: str


@strawberry.type
class Score:
    """Votes."""

    up: int
    down: int
    total: int


@strawberry.type
class Post:
    """A post."""

    row: strawberry.Private[PostRow]
    id: strawberry.ID
    title: str
    score: Score
    comment_count: int

    @strawberry.field
    async def author(self, info: strawberry.Info) -> Account | None:
        """Who wrote it."""
        return await info.context["accounts"].load(self.row.author_id) if self.row.author_id else None

    @strawberry.field
    async def community(self, info: strawberry.Info) -> Community | None:
        """Where."""
        return await info.context["communities"].load(self.row.community_id)

    @strawberry.field
    async def my_vote(self, info: strawberry.Info) -> int:
        """What the viewer voted."""
        found: int = await info.context["votes"].load(self.row.post_id)
        return found


@strawberry.type
class Edge:
    """An item with its place."""

    cursor: str
    node: Post


@strawberry.type
class PageInfo:
    """Where the page stands."""

    end_cursor: str | None
    has_next_page: bool


@strawberry.type
class Connection:
    """A page."""

    edges: list[Edge]
    page_info: PageInfo


@strawberry.type
class Query:
    """Where a query starts."""

    @strawberry.field
    async def feed(self, info: strawberry.Info, sort: str, first: int) -> Connection:
        """A page of the feed of all."""
        moot, viewer_id = info.context["moot"], info.context["viewer_id"]
        query = FeedQuery(viewer_id=viewer_id, sort=ranking.Sort(sort), size=first)
        async with moot.pool.connection() as connection:
            page = await feeds.page(connection, query, moot.clock())
        edges = [
            Edge(
                cursor=str(item.cursor.rank),
                node=Post(
                    row=item.post,
                    id=strawberry.ID(item.post.post_id),
                    title=item.post.title,
                    score=Score(up=item.up, down=item.down, total=item.up - item.down),
                    comment_count=item.comments,
                ),
            )
            for item in page.items
        ]
        return Connection(
            edges=edges,
            page_info=PageInfo(end_cursor=edges[-1].cursor if edges else None, has_next_page=page.has_next),
        )


class StockView(GraphQL[dict[str, Any], None]):
    """Strawberry's view with a context of loaders for each request."""

    def __init__(self, moot: Any, viewer_id: Id) -> None:
        super().__init__(strawberry.Schema(query=Query))
        self._moot = moot
        self._viewer_id = viewer_id

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> dict[str, Any]:
        """The loaders of one request."""
        pool: AsyncConnectionPool[AsyncConnection[Any]] = self._moot.pool
        viewer_id = self._viewer_id

        async def load_accounts(ids: list[Id]) -> Sequence[Account | None]:
            async with pool.connection() as connection:
                rows = {row.account_id: row for row in await accounts.by_ids(connection, ids)}
            return [Account(id=strawberry.ID(one), name=rows[one].name) if one in rows else None for one in ids]

        async def load_communities(ids: list[Id]) -> Sequence[Community | None]:
            async with pool.connection() as connection:
                rows = {row.community_id: row for row in await communities.by_ids(connection, viewer_id, ids)}
            return [Community(id=strawberry.ID(one), name=rows[one].name) if one in rows else None for one in ids]

        async def load_votes(ids: list[Id]) -> Sequence[int]:
            async with pool.connection() as connection:
                rows = {row.target_id: row.value for row in await items.votes(connection, viewer_id, ids)}
            return [rows.get(one, 0) for one in ids]

        return {
            "moot": self._moot,
            "viewer_id": viewer_id,
            "accounts": DataLoader(load_fn=load_accounts),
            "communities": DataLoader(load_fn=load_communities),
            "votes": DataLoader(load_fn=load_votes),
        }
