"""Subscriptions: what is told as it happens.

Every payload has a ``cursor``. Whoever lost the connection subscribes again with the last cursor as ``after`` and
misses nothing and gets nothing twice. The ``position`` of a mutation is such a cursor too: what happened after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated, Any, TypeAlias

import strawberry

from domain.event import Id
from infra.queries import items
from projections.comments import Comment as CommentRow
from projections.messages import Message as MessageRow
from projections.notifications import Notification as NotificationRow
from projections.posts import Post as PostRow
from projections.scores import Score as ScoreRow
from read_api.cursors import POSITION_SCOPE, seal_position
from read_api.errors import ApiCode
from read_api.ids import Kind, place_id, subject_id
from read_api.ids import target_id as parse_target
from read_api.live.following import NOW, Source, gone
from read_api.live.sources import (
    CommentsSource,
    MessagesSource,
    NotificationsSource,
    PostsSource,
    ScoreSource,
    UnreadSource,
)
from read_api.live.streams import Stream, SubscriptionContext, watching
from read_api.schema.comments import Comment
from read_api.schema.common import Info, Node, Score
from read_api.schema.messages import Message
from read_api.schema.notifications import Notification
from read_api.schema.posts import Post
from read_api.schema.servers import Server

AfterEvent: TypeAlias = Annotated[
    str | None,
    strawberry.argument(
        description="The last `cursor` you got, or the `position` of a mutation: what happened since comes first. "
        "Without it, what happens from now on."
    ),
]


@strawberry.type(description="Something that happened, and from where to go on.")
class LiveEvent:
    """Something that happened, at a position of the log."""

    position: strawberry.Private[int]

    @strawberry.field(description="Subscribe with it as `after` to go on from here.")
    def cursor(self, info: Info) -> str:
        """The opaque cursor."""
        return seal_position(info.context.sealer, self.position)


@strawberry.type(description="The votes on a post or comment, as they stand now.")
class ScoreChanged(LiveEvent):
    """How the votes on something stand."""

    row: strawberry.Private[ScoreRow]
    kind: strawberry.Private[Kind]

    @strawberry.field(description="The post or comment; null if you may not see it any more.")
    def target(self, info: Info) -> Node | None:
        """What is voted on."""
        loaders = info.context.loaders
        return (loaders.posts if self.kind is Kind.POST else loaders.comments).get(self.row.target_id)

    @strawberry.field(description="The votes on it.")
    def score(self) -> Score:
        """The votes on it."""
        return Score.of(up=self.row.up, down=self.row.down)


@strawberry.type(description="Somebody commented.")
class CommentAdded(LiveEvent):
    """A new comment."""

    row: strawberry.Private[CommentRow]

    @strawberry.field(description="The comment. People you block are left out.")
    def comment(self) -> Comment:
        """The new comment."""
        return Comment(row=self.row, author_not_blocked=True)


@strawberry.type(description="Somebody posted.")
class PostAdded(LiveEvent):
    """A new post."""

    row: strawberry.Private[PostRow]

    @strawberry.field(description="The post. People you block are left out.")
    def post(self) -> Post:
        """The new post."""
        return Post(row=self.row, author_not_blocked=True)


@strawberry.type(description="A message was sent, edited, deleted or reacted to.")
class MessageChanged(LiveEvent):
    """A message as it is now."""

    row: strawberry.Private[MessageRow]

    @strawberry.field(description="The message as it is now. People you block are left out.")
    def message(self) -> Message:
        """The message as it is now."""
        return Message(row=self.row, author_not_blocked=True)


@strawberry.type(description="What you have not read in a server may be something else now.")
class UnreadChanged(LiveEvent):
    """What the viewer has not read in a server."""

    server_id: strawberry.Private[Id]

    @strawberry.field(description="The server: ask its channels for `unread`. Null if you are not in it any more.")
    def server(self, info: Info) -> Server | None:
        """The server."""
        return info.context.loaders.servers.get(self.server_id)


@strawberry.type(description="Somebody replied to you.")
class NotificationAdded(LiveEvent):
    """A new reply to the viewer."""

    row: strawberry.Private[NotificationRow]

    @strawberry.field(description="The notification. People you block are left out.")
    def notification(self) -> Notification:
        """The new notification."""
        return Notification(row=self.row)


@strawberry.type(description="What is told as it happens, over WebSocket.")
class Subscription:
    """What is told as it happens."""

    @strawberry.subscription(
        description="How the votes on a post or comment stand, now and later. Several changes may come as one."
    )
    async def score_changed(
        self,
        info: Info,
        target_id: Annotated[strawberry.ID, strawberry.argument(description="Of the post or comment.")],
        after: AfterEvent = None,
    ) -> AsyncIterable[ScoreChanged]:
        """The votes on a post or comment."""
        context = _context(info)
        kind, target = parse_target(target_id, "targetId")
        community = await _community_of(context, kind, target)
        return _stream(context, ScoreSource(target, community, _MADE_SCORE[kind]), after)

    @strawberry.subscription(description="New comments below a post, at any depth.")
    async def comment_added(
        self,
        info: Info,
        post_id: Annotated[strawberry.ID, strawberry.argument(description="Of the post.")],
        after: AfterEvent = None,
    ) -> AsyncIterable[CommentAdded]:
        """New comments below a post."""
        context = _context(info)
        post = subject_id(post_id, Kind.POST, "postId")
        community = await _community_of(context, Kind.POST, post)
        return _stream(context, CommentsSource(post, community, _comment_added), after)

    @strawberry.subscription(description="New posts of a community.")
    async def post_added(
        self,
        info: Info,
        community_id: Annotated[strawberry.ID, strawberry.argument(description="Of the community.")],
        after: AfterEvent = None,
    ) -> AsyncIterable[PostAdded]:
        """New posts of a community."""
        context = _context(info)
        community = subject_id(community_id, Kind.COMMUNITY, "communityId")
        if await context.loaders.communities.load(community) is None:
            raise gone()
        source = PostsSource(community, _post_added)
        async with context.moot.pool.connection() as connection:
            admitted = await source.admitted(connection, [context.viewer_id])
        if admitted is not None and context.viewer_id not in admitted:
            raise gone()  # invited, and sees that the community exists: its posts come with joining
        return _stream(context, source, after)

    @strawberry.subscription(
        description="The messages of a channel or conversation, as they are sent, edited, deleted and reacted to: each "
        "as it is by then, so several changes of one may come as one. Ends when you may not see it any more."
    )
    async def message_changed(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Of the channel or conversation.")],
        after: AfterEvent = None,
    ) -> AsyncIterable[MessageChanged]:
        """The messages of a channel."""
        context = _context(info)
        kind, place = place_id(channel_id, "channelId")
        server = None
        if kind is Kind.CHANNEL:
            channel = await context.loaders.channels.load(place)
            server = channel.inside.server.server_id if channel is not None else None
        if server is None and await context.loaders.conversations.load(place) is None:
            raise gone()
        source = MessagesSource(place, server, context.moot.messages, _changed)
        return _stream(context, source, after)

    @strawberry.subscription(
        description="What you have not read in a server: as it stands, whatever the cursor, and whenever it may have "
        "changed: something is said there, you move a marker on any device, block somebody, or your roles or the "
        "channels change. Ends when you are not in the server any more."
    )
    async def unread_changed(
        self,
        info: Info,
        server_id: Annotated[strawberry.ID, strawberry.argument(description="Of the server.")],
        after: AfterEvent = None,
    ) -> AsyncIterable[UnreadChanged]:
        """What the viewer has not read in a server."""
        context = _context(info)
        server = subject_id(server_id, Kind.SERVER, "serverId")
        viewer = context.require_viewer()
        if await context.loaders.servers.load(server) is None:
            raise gone()
        rest_seconds = context.moot.settings.unread_rest_seconds
        source = UnreadSource(viewer, server, _unread_changed, rest_seconds)
        if after is not None:
            _opened(context, after)
        return Stream(context.topics, source, context.viewer_id, NOW)  # how it stands comes first, whatever was told

    @strawberry.subscription(description="New replies to you.")
    async def notification_added(self, info: Info, after: AfterEvent = None) -> AsyncIterable[NotificationAdded]:
        """New replies to the viewer."""
        context = _context(info)
        return _stream(context, NotificationsSource(context.require_viewer(), _notification_added), after)


def _score_of_post(row: ScoreRow) -> ScoreChanged:
    return ScoreChanged(position=row.position, row=row, kind=Kind.POST)


def _score_of_comment(row: ScoreRow) -> ScoreChanged:
    return ScoreChanged(position=row.position, row=row, kind=Kind.COMMENT)


_MADE_SCORE = {Kind.POST: _score_of_post, Kind.COMMENT: _score_of_comment}


def _comment_added(row: CommentRow) -> CommentAdded:
    return CommentAdded(position=row.position, row=row)


def _post_added(row: PostRow) -> PostAdded:
    return PostAdded(position=row.position, row=row)


def _changed(position: int, row: MessageRow) -> MessageChanged:
    return MessageChanged(position=position, row=row)


def _unread_changed(server_id: Id, position: int) -> UnreadChanged:
    return UnreadChanged(position=position, server_id=server_id)


def _notification_added(row: NotificationRow) -> NotificationAdded:
    return NotificationAdded(position=row.position, row=row)


def _context(info: Info) -> SubscriptionContext:
    return watching(info.context)


async def _community_of(context: SubscriptionContext, kind: Kind, identity: Id) -> Id | None:
    """The community of a post or comment that the viewer may see and that is not deleted. Raises ``ApiError``."""
    async with context.moot.pool.connection() as connection:
        query = items.posts if kind is Kind.POST else items.comments
        rows = await query(connection, context.viewer_id, [identity])
    if not rows or rows[0].deleted:
        raise gone()
    return rows[0].community_id


def _stream(context: SubscriptionContext, source: Source, after: str | None) -> Stream[Any]:
    position = NOW if after is None else _opened(context, after)
    return Stream(context.topics, source, context.viewer_id, position)


def _opened(context: SubscriptionContext, after: str) -> int:
    """The position of a cursor. Raises ``ApiError``."""
    return context.sealer.open(POSITION_SCOPE, after, int, code=ApiCode.CURSOR_INVALID, field="after")
