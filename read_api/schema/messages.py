"""Messages: what they say, what they answer, whom they mention, how people reacted, and what of them is unread."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import strawberry

from domain import snowflake
from domain.event import Id
from domain.ids import unpacked
from domain.message import Attachment as AttachmentValue
from domain.message import MessageDeleted, MessageEdited, MessageSent, attachments_of
from infra.queries import messages as message_queries
from infra.queries.unread import Unread as UnreadCounts
from projections.messages import Message as MessageRow
from projections.reaction_counts import ReactionCount
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, global_id, subject_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account
from read_api.schema.common import Connection, Info, Node, connection, counted, paging

if TYPE_CHECKING:
    from read_api.schema.conversations import Conversation
    from read_api.schema.servers import Channel, Role

LazyChannel: TypeAlias = Annotated["Channel", strawberry.lazy("read_api.schema.servers")]
LazyConversation: TypeAlias = Annotated["Conversation", strawberry.lazy("read_api.schema.conversations")]
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
        return self.row.emoji in await info.context.loaders.reacted_with(self.row.message_id)


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

    @strawberry.field(description="The channel that it was written in; null if it was in a conversation.")
    def channel(self, info: Info) -> LazyChannel | None:
        """Where it was written."""
        return info.context.loaders.channels.get(self.row.channel_id)

    @strawberry.field(description="The conversation that it was written in; null if it was in a channel.")
    def conversation(self, info: Info) -> LazyConversation | None:
        """The conversation that it was written in."""
        return info.context.loaders.conversations.get(self.row.channel_id)

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

    @strawberry.field(description="Whether it mentions you, by name, by a role that you hold now, or with everyone.")
    async def mentions_viewer(self, info: Info) -> bool:
        """Whether it mentions the viewer."""
        row = self.row
        return bool(row.mentions) and await info.context.loaders.is_mentioned(row.channel_id, unpacked(row.mentions))

    @strawberry.field(description="How people reacted: the 20 most frequent emoji, these first; none once deleted.")
    async def reactions(self, info: Info) -> list[Reaction]:
        """How people reacted."""
        if self._gone:
            return []
        return [Reaction(row=row) for row in await info.context.loaders.reactions.load(self.row.message_id)]

    @strawberry.field(
        description="What it said, from the first text to the one that it has; empty once deleted, or while `hidden`."
    )
    async def history(self, info: Info) -> list[MessageVersion]:
        """What it said, the first text first."""
        if self._gone or await self._is_hidden(info):
            return []
        if self.row.edited_at is None and self.row.sent_at is not None:  # the log has no more to say
            return [MessageVersion(body=self.row.body, since=self.row.sent_at)]
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
        if self.author_not_blocked or self.row.author_id is None:
            return False
        return await info.context.loaders.blocks(self.row.author_id)


@strawberry.type(
    description="What you have not read in a channel: what others wrote after your marker, or since you joined. What "
    "people whom you block wrote is neither counted, nor a mention, nor the first."
)
class Unread:
    """What is unread in a channel."""

    channel_id: strawberry.Private[Id]
    counts: strawberry.Private[UnreadCounts]

    @strawberry.field(description="How many messages.")
    def count(self) -> int:
        """How many messages."""
        return counted(self.counts.count)

    @strawberry.field(
        description="How many of them mention you: by name, by a role that you hold now, whenever you got it, or with "
        "everyone. A role that is deleted mentions nobody."
    )
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


HISTORY: Final = (
    "Its messages, the newest first, deleted ones among them: `after` a cursor come older ones, `before` it newer "
    "ones. Or so many with the message `around` in their middle, from which both cursors go on."
)
Around: TypeAlias = Annotated[
    strawberry.ID | None, strawberry.argument(description="A message; with `first`, and without a cursor.")
]


async def history(
    info: Info,
    channel_id: Id,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    around: strawberry.ID | None,
) -> Connection[Message]:
    """A page of the messages of a channel or conversation that the viewer may see, as the arguments say."""
    context, scope = info.context, f"messages of {channel_id}"
    asked = paging(context, scope, int, first, after, last, before)
    log = context.moot.messages
    if around is None:
        page = await log.page(context.reading, channel_id, asked.slice)
    else:
        if asked.backward or asked.cursor is not None:
            raise BadInput(ApiCode.FIRST_OR_LAST, "Give around together with first, and with no cursor.", "around")
        page = await message_queries.around(log, context.reading, channel_id, _middle(around), asked.size)

    def made(row: MessageRow) -> tuple[Message, int]:
        message = Message(row=row)
        context.loaders.messages.prime((channel_id, row.message_id), message)  # others may answer it
        return message, row.message_id

    return connection(context, scope, page.map(made))


async def unread_in(info: Info, channel_id: Id) -> Unread:
    """What the viewer has not read in a channel or conversation."""
    return Unread(channel_id=channel_id, counts=await info.context.loaders.unread.load(channel_id))


async def sees(info: Info, channel_id: Id) -> bool:
    """Whether the viewer may see that channel or conversation."""
    loaders = info.context.loaders
    if await loaders.channels.load(channel_id) is not None:
        return True
    return await loaders.conversations.load(channel_id) is not None


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
    if not await sees(info, sent.channel_id):
        return None
    return await info.context.loaders.messages.load((sent.channel_id, number))


def _middle(text: str) -> int:
    """The Snowflake of a message's global id. Raises ``BadInput``."""
    try:
        return snowflake.of_id(subject_id(text, Kind.MESSAGE, "around"))
    except snowflake.NoSnowflake:
        raise BadInput(
            ApiCode.INVALID_ID, "This is no id of a message; pass one as you received it.", "around"
        ) from None
