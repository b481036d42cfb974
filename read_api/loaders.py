"""Look-ups in batches: what the fields of one operation ask for in the same moment goes out as one statement.

A loader answers at once with what it already knows, so that a resolver of something loaded before costs no
coroutine; otherwise with a future, which the executor awaits. Nothing is remembered beyond one operation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from psycopg import AsyncConnection

from domain.event import Id
from infra.presence import Presences, PresenceUnavailable
from infra.queries import accounts, comments, communities, conversations, items, messages, servers, unread
from infra.queries.comments import CommentItem
from infra.queries.conversations import Joined
from infra.queries.messages import MessageLog
from infra.queries.rows import Page
from infra.queries.servers import Inside, Placed
from infra.reads import Reading
from projections.comments import Comment as CommentRow
from projections.communities import Community as CommunityRow
from projections.feed import FeedPost
from projections.memberships import Membership
from projections.posts import Post as PostRow
from projections.profiles import Profile
from projections.ranking import CommentSort
from projections.reaction_counts import ReactionCount
from projections.scores import Score as ScoreRow
from read_api.schema.accounts import Account
from read_api.schema.comments import Comment
from read_api.schema.common import Vote
from read_api.schema.communities import Community
from read_api.schema.conversations import Conversation
from read_api.schema.messages import Message
from read_api.schema.posts import Post
from read_api.schema.presence_states import PresenceState
from read_api.schema.servers import Channel, Role, Server

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Connection = AsyncConnection[Any]


_TURNS = 3
"""Turns of the event loop before a batch leaves: resolvers that are coroutines start a turn after those that are not,
and what they await a turn after that."""


class Batches(Generic[K, V]):
    """Batches look-ups by key with one function, which gives those it found; the rest get ``missing``."""

    __slots__ = ("_ask", "_known", "_missing", "_tasks", "_waiting")

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], missing: V) -> None:
        self._ask = ask
        self._missing = missing
        self._known: dict[K, V] = {}
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, key: K) -> V:
        """For resolvers: the value if it is known already, else a future of it. The executor takes either."""
        if key in self._known:
            return self._known[key]
        return cast("V", self._future(key))

    async def load(self, key: K) -> V:
        """The value."""
        if key in self._known:
            return self._known[key]
        return await self._future(key)

    async def load_many(self, keys: Sequence[K]) -> list[V]:
        """The values, in the order of the keys, in one batch."""
        futures = [self._future(key) for key in keys if key not in self._known]
        if futures:
            await asyncio.gather(*futures)
        return [self._known[key] for key in keys]

    def prime(self, key: K, value: V) -> None:
        """Remember what came from elsewhere."""
        self._known[key] = value

    def _future(self, key: K) -> asyncio.Future[V]:
        future = self._waiting.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(self._dispatch, _TURNS)
            future = self._waiting[key] = loop.create_future()
        return future

    def _dispatch(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._dispatch, turns - 1)
            return
        waiting, self._waiting = self._waiting, {}
        task = asyncio.create_task(self._answer(waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: dict[K, asyncio.Future[V]]) -> None:
        try:
            keys = list(waiting)
            found = await self._ask(keys)
        except BaseException as error:
            for future in waiting.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # it is reported by whoever waits; nobody has to
            if not isinstance(error, Exception):
                raise
            return
        for key, future in waiting.items():
            value = self._known[key] = found.get(key, self._missing)
            if not future.done():
                future.set_result(value)


class Loader(Batches[K, V]):
    """The same from the views."""

    __slots__ = ()

    def __init__(
        self,
        reading: Reading,
        fetch: Callable[[Connection, Sequence[K]], Awaitable[Mapping[K, V]]],
        missing: V,
    ) -> None:
        super().__init__(lambda keys: reading.run(lambda connection: fetch(connection, keys)), missing)


class Loaders:
    """The loaders of one operation. Those of a visitor know without asking that he voted and saved nothing."""

    def __init__(self, reading: Reading, viewer_id: Id | None, message_log: MessageLog, presences: Presences) -> None:
        self._reading = reading
        self._message_log = message_log
        self._viewer_id = viewer_id
        self._of_presences = presences
        self._siblings: dict[tuple[str, CommentSort, int, bool], Loader[Id, Page[CommentItem]]] = {}
        self.accounts: Loader[Id, Account | None] = Loader(reading, self._accounts, None)
        self.communities: Loader[Id, Community | None] = Loader(reading, self._communities, None)
        self.posts: Loader[Id, Post | None] = Loader(reading, self._posts, None)
        self.comments: Loader[Id, Comment | None] = Loader(reading, self._comments, None)
        self.post_standings: Loader[Id, FeedPost | None] = Loader(reading, self._post_standings, None)
        self.scores: Loader[Id, ScoreRow | None] = Loader(reading, self._scores, None)
        self.karma: Loader[Id, accounts.TotalKarma | None] = Loader(reading, self._karma, None)
        self.votes: Loader[Id, Vote] = Loader(reading, self._votes, Vote.NONE)
        self.saved: Loader[Id, bool] = Loader(reading, self._saved, False)
        self.memberships: Loader[Id, Membership | None] = Loader(reading, self._memberships, None)
        self.servers: Loader[Id, Server | None] = Loader(reading, self._servers, None)
        self.roles: Loader[Id, Role | None] = Loader(reading, self._roles, None)
        self.channels: Loader[Id, Channel | None] = Loader(reading, self._channels, None)
        self.channels_of: Loader[Id, Sequence[Channel]] = Loader(reading, self._channels_of, ())
        self.messages: Loader[tuple[Id, int], Message | None] = Loader(reading, self._messages, None)
        self.reactions: Loader[int, Sequence[ReactionCount]] = Loader(reading, messages.reactions, ())
        self.reacted: Loader[int, Collection[str]] = Loader(reading, self._reacted, ())
        self.unread: Loader[Id, unread.Unread] = Loader(reading, self._unread, unread.Unread())
        self.conversations: Loader[Id, Conversation | None] = Loader(reading, self._conversations, None)
        self.presences: Batches[Id, PresenceState | None] = Batches(self._presences, PresenceState.OFFLINE)
        self.followed: Loader[Id, bool] = Loader(reading, self._followed, False)
        self.blocked: Loader[Id, bool] = Loader(reading, self._blocked, False)
        self.apart: Loader[Id, bool] = Loader(reading, self._apart, False)

    def siblings(self, which: str, sort: CommentSort, size: int, *, backward: bool) -> Loader[Id, Page[CommentItem]]:
        """First pages of comments directly below posts (``top_level``) or comments (``replies``), by what is above."""
        key = (which, sort, size, backward)
        found = self._siblings.get(key)
        if found is None:
            query = comments.top_level if which == "top_level" else comments.replies

            async def fetch(connection: Connection, ids: Sequence[Id]) -> Mapping[Id, Page[CommentItem]]:
                return await query(connection, self._viewer_id, ids, sort=sort, size=size, backward=backward)

            found = self._siblings[key] = Loader(self._reading, fetch, Page([], has_next=False, has_previous=False))
        return found

    def read(self, query: Callable[..., Awaitable[V]], *arguments: Any, **named: Any) -> Coroutine[Any, Any, V]:
        """Run one of the functions of ``infra.queries`` on a connection of its own."""
        return self._reading.run(lambda connection: query(connection, *arguments, **named))

    async def blocks(self, account_id: Id) -> bool:
        """Whether the viewer blocks the account."""
        return self._viewer_id is not None and await self.blocked.load(account_id)

    async def reacted_with(self, message_id: int) -> Collection[str]:
        """The emoji with which the viewer reacts to the message."""
        return () if self._viewer_id is None else await self.reacted.load(message_id)

    async def is_mentioned(self, channel_id: Id, mentioned: Collection[Id]) -> bool:
        """Whether a message there that mentions these accounts and roles mentions the viewer."""
        if self._viewer_id is None:
            return False
        if self._viewer_id in mentioned:
            return True
        channel = await self.channels.load(channel_id)
        return channel is not None and not channel.inside.targets.isdisjoint(mentioned)

    def account(self, row: Profile) -> Account:
        """The account of a row that came with something else; it is not looked up again."""
        account = Account(row=row)
        self.accounts.prime(row.account_id, account)
        return account

    def community(self, row: CommunityRow) -> Community:
        """The community of a row that came with something else."""
        community = Community(row=row)
        self.communities.prime(row.community_id, community)
        return community

    def post(self, row: PostRow) -> Post:
        """The post of a row that came with something else."""
        post = Post(row=row)
        self.posts.prime(row.post_id, post)
        return post

    def comment(self, row: CommentRow) -> Comment:
        """The comment of a row that came with something else."""
        comment = Comment(row=row)
        self.comments.prime(row.comment_id, comment)
        return comment

    def server(self, inside: Inside) -> Server:
        """The server that came with something else."""
        server = Server(inside=inside)
        self.servers.prime(inside.server.server_id, server)
        return server

    def conversation(self, joined: Joined) -> Conversation:
        """The conversation that came with something else."""
        conversation = Conversation(joined=joined)
        self.conversations.prime(joined.conversation.conversation_id, conversation)
        return conversation

    async def _accounts(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Account | None]:
        return {row.account_id: Account(row=row) for row in await accounts.by_ids(connection, ids)}

    async def _communities(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Community | None]:
        found = await communities.with_standings(connection, self._viewer_id, ids)
        for row, standing in found:
            self.memberships.prime(row.community_id, standing)
        return {row.community_id: Community(row=row) for row, _ in found}

    async def _posts(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Post | None]:
        return {row.post_id: Post(row=row) for row in await items.posts(connection, self._viewer_id, ids)}

    async def _comments(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Comment | None]:
        return {row.comment_id: Comment(row=row) for row in await items.comments(connection, self._viewer_id, ids)}

    async def _post_standings(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, FeedPost | None]:
        return {row.post_id: row for row in await items.standings(connection, ids)}

    async def _scores(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, ScoreRow | None]:
        return {row.target_id: row for row in await items.scores(connection, ids)}

    async def _karma(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, accounts.TotalKarma | None]:
        return {row.account_id: row for row in await accounts.karma(connection, self._viewer_id, ids)}

    async def _votes(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Vote]:
        assert self._viewer_id is not None
        return {row.target_id: Vote(row.value) for row in await items.votes(connection, self._viewer_id, ids)}

    async def _saved(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, bool]:
        assert self._viewer_id is not None
        return {row.target_id: True for row in await items.saved(connection, self._viewer_id, ids)}

    async def _memberships(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Membership | None]:
        assert self._viewer_id is not None
        return {row.community_id: row for row in await communities.memberships(connection, self._viewer_id, ids)}

    async def _inside(self, connection: Connection, server_ids: Sequence[Id]) -> dict[Id, Inside]:
        if self._viewer_id is None or not server_ids:
            return {}
        return {one.server.server_id: one for one in await servers.inside(connection, self._viewer_id, server_ids)}

    async def _servers(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Server | None]:
        async with servers.one_moment(connection):
            found = await self._inside(connection, ids)
        return {server_id: Server(inside=inside) for server_id, inside in found.items()}

    async def _roles(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Role | None]:
        async with servers.one_moment(connection):
            server_ids = await servers.servers_of_roles(connection, ids)
            found = await self._inside(connection, list(set(server_ids.values())))
        every = {role.role_id: role for inside in found.values() for role in inside.roles}
        return {role_id: Role(row=every[role_id]) for role_id in ids if role_id in every}

    async def _channels(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Channel | None]:
        async with servers.one_moment(connection):
            placed = await servers.channels(connection, ids)
            server_ids = {one.channel.server_id for one in placed if one.channel.server_id is not None}
            found = await self._inside(connection, list(server_ids))
        return {channel.channel_id: channel for channel in _visible(placed, found)}

    async def _channels_of(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Sequence[Channel]]:
        async with servers.one_moment(connection):
            placed = await servers.channels_of(connection, ids)
            found = await self._inside(connection, ids)
        return {server_id: _visible(channels, found) for server_id, channels in placed.items()}

    async def _messages(
        self, connection: Connection, keys: Sequence[tuple[Id, int]]
    ) -> dict[tuple[Id, int], Message | None]:
        found = await self._message_log.by_keys(messages.On(connection), keys)
        return {key: Message(row=row) for key, row in found.items()}

    async def _reacted(self, connection: Connection, ids: Sequence[int]) -> Mapping[int, Collection[str]]:
        assert self._viewer_id is not None
        return await messages.reacted(connection, self._viewer_id, ids)

    async def _unread(self, connection: Connection, ids: Sequence[Id]) -> Mapping[Id, unread.Unread]:
        viewer_id = self._viewer_id
        assert viewer_id is not None
        async with servers.one_moment(connection):
            placed = await servers.channels(connection, ids)
            server_ids = {one.channel.server_id for one in placed if one.channel.server_id is not None}
            inside = await self._inside(connection, list(server_ids))
            places = [
                unread.Place(
                    one.channel_id, each.inside.member.joined_at, each.inside.member.position, [*each.inside.targets]
                )
                for each in _visible(placed, inside)
                for one in [each.placed.channel]
                if each.inside.member.joined_at is not None
            ]
            found = await unread.unread(connection, viewer_id, places)
        others = set(ids) - {one.channel.channel_id for one in placed}
        if others:
            talks = [one.mine for one in await conversations.joined(connection, viewer_id, list(others))]
            async with servers.one_moment(connection):
                places = [
                    unread.Place(one.conversation_id, one.joined_at, one.position, [viewer_id])
                    for one in talks
                    if one.joined_at is not None
                ]
                found |= await unread.unread(connection, viewer_id, places)
        return found

    async def _conversations(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Conversation | None]:
        if self._viewer_id is None:
            return {}
        found = await conversations.joined(connection, self._viewer_id, ids)
        return {joined.conversation.conversation_id: Conversation(joined=joined) for joined in found}

    async def _presences(self, ids: Sequence[Id]) -> dict[Id, PresenceState | None]:
        try:
            shown = await self._of_presences.shown(ids)
        except PresenceUnavailable:
            return dict.fromkeys(ids)
        return {account_id: PresenceState(state.value) for account_id, state in shown.items()}

    async def _followed(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, bool]:
        assert self._viewer_id is not None
        return {row.followed_id: True for row in await accounts.followed_by(connection, self._viewer_id, ids)}

    async def _blocked(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, bool]:
        assert self._viewer_id is not None
        return {row.blocked_id: True for row in await accounts.blocked_by(connection, self._viewer_id, ids)}

    async def _apart(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, bool]:
        assert self._viewer_id is not None
        found = await conversations.blocks_between(connection, self._viewer_id, ids)
        return {account_id: blocks.by_actor or blocks.of_actor for account_id, blocks in found.items()}


def _visible(placed: Sequence[Placed], found: Mapping[Id, Inside]) -> list[Channel]:
    """Those of the channels that the viewer, who is in these servers, may see."""
    there = [(one, found.get(one.channel.server_id or one.channel.channel_id)) for one in placed]
    return [Channel(placed=one, inside=inside) for one, inside in there if inside and one.seen_by(inside)]
