"""The topics that there are: a score, the comments of a post, the posts of a community, the replies to an account."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from msgspec import Struct

from domain.event import Id
from infra.queries import conversations, live, log, messages, servers, unread
from infra.queries.channel_viewers import viewers_of_channel
from infra.queries.messages import Changed, MessageLog, On
from infra.queries.rows import Connection
from projections.messages import Message
from projections.scores import Score
from read_api.live.following import NOW, Event, Reading, Viewer

Made = Callable[[Any], Any]
"""From a row to the payload of its event."""


class _Source(Struct, frozen=True):
    """What most have in common: nothing else is to be heard, and they are read whenever something happens."""

    rest_seconds: ClassVar[float] = 0.0
    own_guards: ClassVar[tuple[str, ...]] = ()
    ends_with: ClassVar[Id | None] = None

    @property
    def guards(self) -> Collection[str]:
        """See ``Source``."""
        return ()


class ScoreSource(_Source, frozen=True):
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


class CommentsSource(_Source, frozen=True):
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


class PostsSource(_Source, frozen=True):
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


START_PAGE = 1_000
"""Messages looked at together for where the topic of a channel starts: those that views have not reached everywhere."""


class MessagesSource(_Source, frozen=True):
    """The messages of a channel or conversation as they are sent, edited, deleted, reacted to: each as it is by then.

    Which there are and when they changed is one view, what they say another, maybe in another store: a message whose
    last event the second lacks is held until that view has reached it. If it lacks it then, the event is parked or was
    discarded, and is passed over.

    ``server_id`` is ``None`` for a conversation.
    """

    channel_id: Id
    server_id: Id | None
    log: MessageLog
    made: Callable[[int, Any], Any]
    is_value: ClassVar[bool] = False

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"messages:{self.channel_id}"

    @property
    def guards(self) -> Collection[str]:
        """See ``Source``."""
        places = (self.channel_id,) if self.server_id is None else (self.channel_id, self.server_id)
        return [f"standing:{place}" for place in places]

    async def start(self, connection: Connection) -> int:
        """See ``Source``.

        What is there of a channel, which comes from one partition, may be ahead of what the views have reached in all.
        """
        position = await log.checkpoint(connection, ["channel_messages", "messages"])
        while True:
            reading = await self.read(connection, position, START_PAGE)
            if reading.events:
                position = reading.events[-1].position
            if reading.held or len(reading.events) < START_PAGE:
                return position

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``."""
        events: list[Event] = []
        while wanted := limit - len(events):
            changed = await messages.changed_after(connection, self.channel_id, after, wanted)
            rows = await self._rows(connection, changed)
            reached = 0
            if behind := [one for one in changed if one.message_id not in rows]:
                reached = await log.checkpoint(connection, ["messages"])
                rows |= await self._rows(connection, behind)  # whatever was reached can be read by now
            for one in changed:
                row = rows.get(one.message_id)
                if row is not None:
                    events.append(Event(one.position, self.made(one.position, row), row.author_id))
                elif one.said > reached:  # nothing may be told that comes after it
                    return Reading(events, held=True)
            if len(changed) < wanted:
                break
            after = changed[-1].position
        return Reading(events)

    async def _rows(self, connection: Connection, changed: Collection[Changed]) -> dict[int, Message]:
        """Those of the messages that are whole, by id."""
        said = {one.message_id: one.said for one in changed}
        rows = await self.log.by_ids(On(connection), self.channel_id, list(said)) if said else {}
        return {number: row for number, row in rows.items() if row.position >= said[number]}

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``."""
        known = [one for one in viewers if one is not None]
        if self.server_id is None:
            return await conversations.viewers(connection, self.channel_id, known)
        return await viewers_of_channel(connection, self.channel_id, known)


class UnreadSource(Struct, frozen=True):
    """What one account has not read in one server. A value: what matters is how it stands.

    Each reading makes an event. No position says that nothing changed since another: channels, markers, roles and
    blocks are of several partitions, of which one that is behind brings what has a lower position than was told before.
    ``made`` gets the position of the last message or mark that is there, as a cursor.
    """

    account_id: Id
    server_id: Id
    made: Callable[[Id, int], Any]
    rest_seconds: float
    is_value: ClassVar[bool] = True

    @property
    def channel(self) -> str:
        """See ``Source``."""
        return f"activity:{self.server_id}"

    @property
    def guards(self) -> Collection[str]:
        """See ``Source``. That others come and go changes nothing of what he has not read."""
        return (*self.own_guards, f"structure:{self.server_id}")

    @property
    def own_guards(self) -> Collection[str]:
        """See ``Source``. His own markers are moved by other devices too."""
        return tuple(f"{what}:{self.account_id}" for what in ("reads", "blocks", "membership"))

    @property
    def ends_with(self) -> Id | None:
        """See ``Source``. Each member may follow one."""
        return self.server_id

    async def start(self, _: Connection) -> int:
        """See ``Source``."""
        return NOW

    async def read(self, connection: Connection, after: int, limit: int) -> Reading:
        """See ``Source``."""
        position = await unread.last_change(connection, self.account_id, self.server_id)
        return Reading([Event(max(position, after + 1), self.made(self.server_id, position))])

    async def admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        """See ``Source``."""
        if self.account_id not in viewers or not await servers.inside(connection, self.account_id, [self.server_id]):
            return ()
        return (self.account_id,)


class NotificationsSource(_Source, frozen=True):
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
