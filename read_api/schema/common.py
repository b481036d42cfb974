"""What all types share: the Node interface, connections, enums, and how a resolver reaches its operation."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, cast

import strawberry
from msgspec import Struct
from strawberry.types import Info as StrawberryInfo

from infra.queries.rows import Page, Slice
from read_api.context import Context
from read_api.errors import ApiCode, BadInput

T = TypeVar("T")
Info: TypeAlias = StrawberryInfo[Context, None]


def named(value: T, description: str) -> T:
    """A value of an enum with its description; it is read as the value."""
    return cast("T", strawberry.enum_value(value, description=description))


@strawberry.enum(description="One account's vote on a post or comment.")
class Vote(Enum):
    """One account's vote; the value is what counts."""

    UP = named(1, "One more.")
    DOWN = named(-1, "One less.")
    NONE = named(0, "No vote, or a vote withdrawn.")


@strawberry.enum(description="Who may see a community, and who may post there.")
class Visibility(Enum):
    """Who may see a community and post there."""

    PUBLIC = named("public", "Everybody sees and posts.")
    RESTRICTED = named("restricted", "Everybody sees; those who were invited post.")
    PRIVATE = named("private", "Only members see that it has anything in it.")


@strawberry.enum(description="What a post consists of, next to its title.")
class PostKind(Enum):
    """What a post consists of."""

    TEXT = named("text", "A text in Markdown.")
    LINK = named("link", "The address of a page elsewhere.")


@strawberry.enum(description="The order of a feed. Rankings are worked out when they are read.")
class FeedSort(Enum):
    """The order of a feed."""

    HOT = named("HOT", "Score against age: log10(max(2, score + 2)) / (hours + 2)^1.8.")
    NEW = named("NEW", "Newest first.")
    TOP = named("TOP", "Highest score among those submitted in the `period`.")
    RISING = named("RISING", "Most votes in the last hour for their age.")
    CONTROVERSIAL = named("CONTROVERSIAL", "Many votes, up and down in equal parts.")


@strawberry.enum(description="How far back TOP and CONTROVERSIAL look.")
class Period(Enum):
    """How far back a ranking looks."""

    DAY = named("DAY", "24 hours.")
    WEEK = named("WEEK", "7 days.")
    MONTH = named("MONTH", "30 days.")
    YEAR = named("YEAR", "365 days.")
    ALL = named("ALL", "From the beginning.")


@strawberry.enum(description="The order of comments below the same parent.")
class CommentSort(Enum):
    """The order of siblings."""

    BEST = named("BEST", "The lower bound of Wilson's score interval at 80 %.")
    NEW = named("NEW", "Newest first.")
    OLD = named("OLD", "Oldest first: a thread as it was written.")
    TOP = named("TOP", "Highest score first.")
    CONTROVERSIAL = named("CONTROVERSIAL", "Many votes, up and down in equal parts.")


@strawberry.interface(description="Whatever has a global id.")
class Node:
    """Whatever has a global id; each type says its own."""

    @strawberry.field(description="Opaque, and for ever: pass it as you received it.")
    def id(self) -> strawberry.ID:
        """The global id."""
        raise NotImplementedError


INT_MAX = 2**31 - 1
"""The largest ``Int`` of GraphQL (https://spec.graphql.org/, section 3.5.1); archives can bring larger counts."""


def counted(value: int) -> int:
    """The number as near as an ``Int`` of GraphQL can say it."""
    return max(-INT_MAX, min(value, INT_MAX))


@strawberry.type(description="The votes on something. Numbers beyond 2147483647 are shown as that.")
class Score:
    """The votes on something."""

    up: int = strawberry.field(description="Votes up.")
    down: int = strawberry.field(description="Votes down.")
    total: int = strawberry.field(description="Votes up less votes down.")

    @classmethod
    def of(cls, up: int, down: int) -> Score:
        """The score of so many votes."""
        return cls(up=counted(up), down=counted(down), total=counted(up - down))


@strawberry.type(description="Where a page of a connection stands in the whole.")
class PageInfo:
    """Where a page stands in the whole."""

    has_next_page: bool = strawberry.field(
        description="Whether more follow. When paging backwards: whether there is an `endCursor` to go on from."
    )
    has_previous_page: bool = strawberry.field(description="Whether some precede.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last edge; null on an empty page.")


class Sealed(Struct):
    """A cursor that is sealed only if somebody asks for it."""

    context: Context
    scope: str
    payload: Any

    def text(self) -> str:
        """The opaque text."""
        return self.context.sealer.seal(self.scope, self.payload)


@strawberry.type(description="One item of a connection, with its place.")
class Edge(Generic[T]):
    """One item, with its place."""

    node: T = strawberry.field(description="The item.")
    place: strawberry.Private[Sealed]

    @strawberry.field(description="Pass it as `after` or `before` to go on from here.")
    def cursor(self) -> str:
        """The opaque cursor."""
        return self.place.text()


@strawberry.type(description="A page of a list, in Relay's shape.")
class Connection(Generic[T]):
    """A page of a list."""

    edges: list[Edge[T]] = strawberry.field(description="The items with their cursors, in order.")
    has_next: strawberry.Private[bool]
    has_previous: strawberry.Private[bool]

    @strawberry.field(description="The items alone, in order.")
    def nodes(self) -> list[T]:
        """The items alone."""
        return [edge.node for edge in self.edges]

    @strawberry.field(description="Where this page stands in the whole.")
    def page_info(self) -> PageInfo:
        """Where this page stands."""
        return PageInfo(
            has_next_page=self.has_next,
            has_previous_page=self.has_previous,
            start_cursor=self.edges[0].place.text() if self.edges else None,
            end_cursor=self.edges[-1].place.text() if self.edges else None,
        )


class Paging(Struct):
    """Which page is asked for: ``size`` items after the ``cursor``, or before it if ``backward``."""

    size: int
    backward: bool
    cursor: Any

    @property
    def slice(self) -> Slice:
        """The same of a list ordered by position, whose cursors are plain numbers."""
        return Slice(self.size, self.cursor, self.backward)


First: TypeAlias = Annotated[int | None, strawberry.argument(description="How many, from the front: 1 to 100.")]
After: TypeAlias = Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")]
Last: TypeAlias = Annotated[int | None, strawberry.argument(description="How many, from the back: 1 to 100.")]
Before: TypeAlias = Annotated[str | None, strawberry.argument(description="Only what precedes this cursor.")]


def page_size(context: Context, name: str, value: int) -> int:
    """A page size within the limits. Raises ``BadInput``."""
    limit = context.moot.settings.graphql_page_size_max
    if not 1 <= value <= limit:
        raise BadInput(ApiCode.PAGE_TOO_LARGE, f"{name} must be from 1 to {limit}.", name)
    return value


def paging(
    context: Context,
    scope: str,
    kind: Any,
    first: int | None,
    after: str | None,
    last: int | None = None,
    before: str | None = None,
) -> Paging:
    """The page that these arguments mean, its cursor opened as ``kind`` and good for this ``scope`` alone.

    Raises ``BadInput``: exactly one of ``first`` and ``last`` must be given, and the cursor of its direction at most.
    """
    if (first is None) == (last is None):
        raise BadInput(ApiCode.FIRST_OR_LAST, "Give either first or last: how many are wanted.", "first")
    backward = first is None
    if (after if backward else before) is not None:
        raise BadInput(ApiCode.FIRST_OR_LAST, "Give after together with first, or before together with last.")
    token, name = (before, "before") if backward else (after, "after")
    if token is not None:
        # The page goes on where another one ended, as of a position that the replica may not have reached.
        context.reading.on_primary()
    size = page_size(context, "last" if backward else "first", first if first is not None else last or 0)
    return Paging(size, backward, None if token is None else context.sealer.open(scope, token, kind, field=name))


def connection(context: Context, scope: str, page: Page[tuple[T, Any]]) -> Connection[T]:
    """A connection of a page of items, each with the payload of its cursor, which is good for ``scope`` alone."""
    return Connection(
        edges=[Edge(node=node, place=Sealed(context, scope, payload)) for node, payload in page.items],
        has_next=page.has_next,
        has_previous=page.has_previous,
    )
