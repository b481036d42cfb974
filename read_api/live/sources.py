"""The topics that there are: a score, the comments of a post, the posts of a community, the replies to an account."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from msgspec import Struct

from domain.event import Id
from infra.queries import live, log
from infra.queries.rows import Connection
from projections.scores import Score
from read_api.live.topics import NOW, Event, Reading, Viewer

Made = Callable[[Any], Any]
"""From a row to the payload of its event."""


class ScoreSource(Struct, frozen=True):
    """The votes on one post or comment. A value: what matters is how it stands."""

    target_id: Id
    community_id: Id | None
    made: Made
    is_value: ClassVar[bool] = True

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"score:{self.target_id}"

    async def start(self, _: Connection) -> int:
        """See ``Source``."""
        return NOW

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``. Without any vote yet the score is zero, as of the beginning of the log."""
        row = await live.score_after(connection, self.target_id, after)
        if row is None and after == NOW:
            row = Score(self.target_id)
        return Reading([] if row is None else [Event(row.position, self.made(row))])

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``."""
        return await _admitted(connection, self.community_id, viewers)


class CommentsSource(Struct, frozen=True):
    """The comments below one post, as they come. One that was deleted meanwhile is passed over."""

    post_id: Id
    community_id: Id | None
    made: Made
    is_value: ClassVar[bool] = False

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"comments:{self.post_id}"

    async def start(self, connection: Connection) -> int:
        """See ``Source``."""
        return await live.comments_start(connection, self.post_id)

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``."""
        rows = await live.comments_after(connection, self.post_id, after, limit)
        return Reading([Event(row.position, self.made(row), row.author_id) for row in rows])

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``."""
        return await _admitted(connection, self.community_id, viewers)


class PostsSource(Struct, frozen=True):
    """The posts of one community, as they come. One that was deleted meanwhile is passed over."""

    community_id: Id
    made: Made
    is_value: ClassVar[bool] = False

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"posts:{self.community_id}"

    async def start(self, connection: Connection) -> int:
        """See ``Source``."""
        return await log.checkpoint(connection, ["posts"])

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``. Who hides from an author is not told by hiding his anonymous posts."""
        found = await live.posts_after(connection, self.community_id, after, limit)
        events = [Event(row.position, self.made(row), None if row.anonymous else row.author_id) for row in found.rows]
        return Reading(events, found.held)

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``."""
        return await _admitted(connection, self.community_id, viewers)


class NotificationsSource(Struct, frozen=True):
    """The replies to one account, for its own eyes."""

    account_id: Id
    made: Made
    is_value: ClassVar[bool] = False

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"notifications:{self.account_id}"

    async def start(self, connection: Connection) -> int:
        """See ``Source``."""
        return await log.checkpoint(connection, ["notifications", "communities"])

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``."""
        found = await live.notifications_after(connection, self.account_id, after, limit)
        return Reading([Event(row.position, self.made(row), row.actor_id) for row in found.rows], found.held)

    async def admitted(self, _: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``. That its session goes on is for the connection to watch."""
        return [viewer for viewer in viewers if viewer == self.account_id]


async def _admitted(
    connection: Connection, community_id: Id | None, viewers: Collection[Viewer]
) -> Collection[Viewer] | None:
    return None if community_id is None else await live.admitted(connection, community_id, viewers)
