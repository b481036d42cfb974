"""Messages: what they say, what they answer, whom they mention, how people reacted, and what of them is unread."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import strawberry

from domain import snowflake
from domain.event import Id
from domain.message import Attachment as AttachmentValue
from domain.message import MessageDeleted, MessageEdited, MessageSent, attachments_of, unpacked
from infra.queries.rows import Page
from infra.queries.unread import Unread as UnreadCounts
from projections.messages import Message as MessageRow
from projections.reaction_counts import ReactionCount
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, global_id, subject_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account
from read_api.schema.common import Connection, Info, Node, connection, counted

if TYPE_CHECKING:
    from read_api.schema.servers import Channel, Role

LazyChannel: TypeAlias = Annotated["Channel", strawberry.lazy("read_api.schema.servers")]
LazyRole: TypeAlias = Annotated["Role", strawberry.lazy("read_api.schema.servers")]


@strawberry.type(description="A file that a message refers to. It is elsewhere: nobody has looked at it.")
class Attachment:
    """A file that a message refers to."""

    value: strawberry.Private[AttachmentValue]

    @strawberry.field(description="Where it is.")
    def url(self) -> str:
        """Where it is."""
        return self.value.url

    @strawberry.field(description="What it is called.")
    def name(self) -> str:
        """What it is called."""
        return self.value.name

    @strawberry.field(description="What kind of file it is, such as `image/png`, as its sender said.")
    def media_type(self) -> str:
        """What kind of file it is."""
        return self.value.media_type

    @strawberry.field(description="How large it is, in bytes, as its sender said.")
    def size_bytes(self) -> int:
        """How large it is."""
        return counted(self.value.size_bytes)


@strawberry.type(description="How many reacted to a message with one emoji.")
class Reaction:
    """How many reacted with one emoji."""

    row: strawberry.Private[ReactionCount]

    @strawberry.field(description="The emoji.")
    def emoji(self) -> str:
        """The emoji."""
        return self.row.emoji

    @strawberry.field(description="How many.")
    def count(self) -> int:
        """How many."""
        return counted(self.row.count)

    @strawberry.field(description="Whether you did.")
    async def viewer_reacted(self, info: Info) -> bool:
        """Whether the viewer did."""
        if info.context.viewer_id is None:
            return False
        return self.row.emoji in await info.context.loaders.reacted.load(self.row.message_id)


@strawberry.type(description="What a message said at some time.")
class MessageVersion:
    """What a message said from some time on."""

    body: str = strawberry.field(description="The text, in Markdown.")
    since: datetime = strawberry.field(description="From when on it said so.")


@strawberry.type(
    description="A text in Markdown that somebody wrote in a channel. All see the messages of a channel in the same "
    "order, that of `snowflake`."
)
class Message(Node):
    """A message. ``author_not_blocked`` is known where it came with something else."""

    row: strawberry.Private[MessageRow]
    author_not_blocked: strawberry.Private[bool] = False

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.MESSAGE, self.row.id))

    @strawberry.field(
        description="Its place in the order of messages: a number of 63 bits that grows with time, in decimal."
    )
    def snowflake(self) -> str:
        """The Snowflake."""
        return str(self.row.message_id)

    @strawberry.field(description="Where it was written; null if you may not see that any more.")
    def channel(self, info: Info) -> LazyChannel | None:
        """Where it was written."""
        return info.context.loaders.channels.get(self.row.channel_id)

    @strawberry.field(description="Who wrote it; null if the account is not known yet.")
    def author(self, info: Info) -> Account | None:
        """Who wrote it."""
        return None if self.row.author_id is None else info.context.loaders.accounts.get(self.row.author_id)

    @strawberry.field(description="The text as it was written, in Markdown; null once deleted, or while `hidden`.")
    async def body(self, info: Info) -> str | None:
        """The text, in Markdown."""
        return None if self._gone or await self._is_hidden(info) else self.row.body

    @strawberry.field(description="The text as HTML that is safe to put into a page; null when `body` is.")
    async def body_html(self, info: Info) -> str | None:
        """The text, as safe HTML."""
        return None if self._gone or await self._is_hidden(info) else await to_html(self.row.body)

    @strawberry.field(description="When it was sent.")
    def sent_at(self) -> datetime | None:
        """When it was sent."""
        return self.row.sent_at

    @strawberry.field(description="When its text was last replaced; null if never.")
    def edited_at(self) -> datetime | None:
        """When its text was last replaced."""
        return self.row.edited_at

    @strawberry.field(description="Whether it was taken away; its place stays.")
    def deleted(self) -> bool:
        """Whether it was taken away."""
        return self._gone

    @strawberry.field(description="Whether its text is held back because you block its author.")
    async def hidden(self, info: Info) -> bool:
        """Whether its text is held back."""
        return await self._is_hidden(info)

    @strawberry.field(description="The message that it answers; null if it answers none.")
    def reply_to(self, info: Info) -> Message | None:
        """The message that it answers."""
        row = self.row
        return None if row.reply_to_id is None else info.context.loaders.messages.get((row.channel_id, row.reply_to_id))

    @strawberry.field(description="The files that it refers to; none while `hidden`.")
    async def attachments(self, info: Info) -> list[Attachment]:
        """The files that it refers to."""
        if not self.row.attachments or await self._is_hidden(info):
            return []
        return [Attachment(value=value) for value in attachments_of(self.row.attachments)]

    @strawberry.field(description="The people whom it mentions by name.")
    async def mentioned_accounts(self, info: Info) -> list[Account]:
        """The people whom it mentions by name."""
        found = await info.context.loaders.accounts.load_many(unpacked(self.row.mentions))
        return [account for account in found if account is not None]

    @strawberry.field(description="The roles that it mentions; that of everyone where it mentions everyone.")
    async def mentioned_roles(self, info: Info) -> list[LazyRole]:
        """The roles that it mentions."""
        found = await info.context.loaders.roles.load_many(unpacked(self.row.mentions))
        return [role for role in found if role is not None]

    @strawberry.field(description="Whether it mentions you, by name, by a role that you hold, or with everyone.")
    async def mentions_viewer(self, info: Info) -> bool:
        """Whether it mentions the viewer."""
        if not self.row.mentions or info.context.viewer_id is None:
            return False
        channel = await info.context.loaders.channels.load(self.row.channel_id)
        return channel is not None and not channel.inside.targets.isdisjoint(unpacked(self.row.mentions))

    @strawberry.field(description="How people reacted, the most frequent first.")
    async def reactions(self, info: Info) -> list[Reaction]:
        """How people reacted."""
        return [Reaction(row=row) for row in await info.context.loaders.reactions.load(self.row.message_id)]

    @strawberry.field(
        description="What it said, from the first text to the one that it has; empty once deleted, or while `hidden`."
    )
    async def history(self, info: Info) -> list[MessageVersion]:
        """What it said, the first text first."""
        if self._gone or await self._is_hidden(info):
            return []
        (events,) = (await info.context.moot.store.load([self.row.id])).values()
        said = [(recorded.event, recorded.occurred_at) for recorded in events]
        if any(isinstance(event, MessageDeleted) for event, _ in said):
            return []
        return [
            MessageVersion(body=event.body, since=at)
            for event, at in said
            if isinstance(event, MessageSent | MessageEdited)
        ]

    @property
    def _gone(self) -> bool:
        return self.row.deleted_at is not None

    async def _is_hidden(self, info: Info) -> bool:
        row, context = self.row, info.context
        if self.author_not_blocked or row.author_id is None or context.viewer_id is None:
            return False
        return await context.loaders.blocked.load(row.author_id)


@strawberry.type(description="What you have not read in a channel: what others wrote after your marker.")
class Unread:
    """What is unread in a channel."""

    channel_id: strawberry.Private[Id]
    counts: strawberry.Private[UnreadCounts]

    @strawberry.field(description="How many messages.")
    def count(self) -> int:
        """How many messages."""
        return counted(self.counts.count)

    @strawberry.field(description="How many of them mention you, by name, by a role that you hold, or with everyone.")
    def mentions(self) -> int:
        """How many of them mention the viewer."""
        return counted(self.counts.mentions)

    @strawberry.field(description="The first of them: where to begin to read. Null if there is none.")
    def first(self, info: Info) -> Message | None:
        """The first of them."""
        first = self.counts.first_id
        return None if first is None else info.context.loaders.messages.get((self.channel_id, first))

    @strawberry.field(
        description="Your marker: the message that you said you had read up to. Null as long as you have not moved it "
        "since you joined."
    )
    def read_up_to(self, info: Info) -> Message | None:
        """Where the marker stands."""
        read = self.counts.read_id
        return None if read is None else info.context.loaders.messages.get((self.channel_id, read))


def message_connection(context: Any, scope: str, page: Page[MessageRow]) -> Connection[Message]:
    """A page of messages, each with its Snowflake as its cursor."""
    return connection(context, scope, page.map(lambda row: (Message(row=row), row.message_id)))


async def located(info: Info, message_id: Id) -> Message | None:
    """The message of that stream, if there is one and the viewer may see it."""
    try:
        number = snowflake.of_id(message_id)
    except snowflake.NoSnowflake:
        return None
    (events,) = (await info.context.moot.store.load([message_id])).values()
    sent = events[0].event if events else None
    if not isinstance(sent, MessageSent):
        return None
    loaders = info.context.loaders
    if await loaders.channels.load(sent.channel_id) is None:
        return None
    return await loaders.messages.load((sent.channel_id, number))


def middle_id(text: str) -> int:
    """The Snowflake of a message's global id that is given as ``around``. Raises ``BadInput``."""
    try:
        return snowflake.of_id(subject_id(text, Kind.MESSAGE, "around"))
    except snowflake.NoSnowflake:
        raise BadInput(
            ApiCode.INVALID_ID, "This is no id of a message; pass one as you received it.", "around"
        ) from None
