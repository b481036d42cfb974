"""One mutation for each thing that somebody may do with messages."""

from __future__ import annotations

from contextlib import suppress

import strawberry

from domain.command import Command
from domain.event import Id
from domain.message import Attachment, DeleteMessage, EditMessage, SendMessage
from domain.reaction import AddReaction, RemoveReaction
from domain.read_marker import MarkRead
from infra.presence import PresenceUnavailable
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, place_id, subject_id
from read_api.schema.common import Info
from read_api.schema.messages import Message, Unread, located, sees, unread_in
from read_api.schema.payloads import Input, Payload, answer, word

NONCE_LENGTH_MAX = 100
"""Room for any word of a client's, beside the id of the channel, in an idempotency key."""


@strawberry.type(description="The message as it is now.")
class MessagePayload(Payload):
    """About a message."""

    @strawberry.field(
        description="The message as it is now; null if nothing was done, if you may not see it any more, or not seen "
        "by the views in time."
    )
    async def message(self, info: Info) -> Message | None:
        """The message as it is now."""
        subject = await self.subject(info)
        return await located(info, subject) if subject else None


@strawberry.type(description="What is unread there now.")
class MarkReadPayload(Payload):
    """About how far somebody has read."""

    @strawberry.field(
        description="What is unread there now; null if nothing was done, or you may not see the place any more."
    )
    async def unread(self, info: Info) -> Unread | None:
        """What is unread there now."""
        subject = await self.subject(info)
        return await unread_in(info, subject) if subject and await sees(info, subject) else None


@strawberry.input(description="A file that a message refers to.")
class AttachmentInput:
    """A file that a message refers to."""

    url: str = strawberry.field(description="Where it is: `http` or `https`.")
    name: str = strawberry.field(description="What it is called.")
    media_type: str = strawberry.field(description="What kind of file it is, such as `image/png`.")
    size_bytes: int = strawberry.field(description="How large it is, in bytes.")


@strawberry.input(description="A new message.")
class SendMessageInput(Input):
    """A new message."""

    channel_id: strawberry.ID = strawberry.field(description="The channel or conversation that it is written in.")
    body: str = strawberry.field(
        default="",
        description="The text, in Markdown; it may be empty if there are attachments. `@name` mentions a member, "
        "`@role-name` (a hyphen for each space) all roles of that name, `@everyone` all who see the channel; in code "
        "between backticks or tildes nobody, and neither after a backslash.",
    )
    reply_to_id: strawberry.ID | None = strawberry.field(
        default=None, description="The message of the channel that it answers."
    )
    attachments: list[AttachmentInput] = strawberry.field(
        default_factory=list, description="The files that it refers to."
    )
    nonce: str | None = strawberry.field(
        default=None,
        description="Your own word for this message in this channel: sent again with the same one, however often and "
        "whenever, there is one message, and each answer is the first. 1 to 100 characters. Takes the place of "
        "`idempotencyKey`.",
    )

    def key(self, length_max: int) -> str | None:
        """See ``Input``. A nonce is of one channel."""
        if self.nonce is None:
            return super().key(length_max)
        if self.idempotency_key is not None:
            raise BadInput(ApiCode.BAD_REQUEST, "Give either a nonce or an idempotencyKey.", "nonce")
        return f"{self.channel_id}:{word(self.nonce, 'nonce', 'A nonce', NONCE_LENGTH_MAX)}"


@strawberry.input(description="A message.")
class MessageInput(Input):
    """A message."""

    message_id: strawberry.ID = strawberry.field(description="The message.")


@strawberry.input(description="The new text of your message.")
class EditMessageInput(MessageInput):
    """The new text of a message."""

    body: str = strawberry.field(description="The text, in Markdown.")


@strawberry.input(description="A reaction.")
class ReactionInput(MessageInput):
    """A reaction."""

    emoji: str = strawberry.field(description="One emoji.")


@strawberry.input(description="How far you have read.")
class MarkReadInput(Input):
    """How far somebody has read."""

    channel_id: strawberry.ID = strawberry.field(description="The channel or conversation.")
    message_id: strawberry.ID = strawberry.field(
        description="The last message of it that you have read. An earlier one than before makes what follows unread."
    )


@strawberry.type(description="Everything that may be done with messages.")
class MessageMutations:
    """Mutations of messages."""

    @strawberry.mutation(
        description="Write in a channel. Needs SEND_MESSAGES, in an announcement channel ANNOUNCE. What is refused for "
        "being too fast says in `retryAfterSeconds` how long to wait."
    )
    async def send_message(self, info: Info, input: SendMessageInput) -> MessagePayload:
        """``SendMessage``."""

        def build() -> Command:
            return SendMessage(
                channel_id=_place(input.channel_id),
                body=input.body,
                reply_to_id=None if input.reply_to_id is None else _message(input.reply_to_id, "replyToId"),
                attachments=tuple(
                    Attachment(one.url, one.name, one.media_type, one.size_bytes) for one in input.attachments
                ),
            )

        answered = await answer(info, input, MessagePayload, build)
        if answered.outcome is not None:
            await _typed(info, input.channel_id)
        return answered

    @strawberry.mutation(description="Replace the text of your message. Needs SEND_MESSAGES there, as writing does.")
    async def edit_message(self, info: Info, input: EditMessageInput) -> MessagePayload:
        """``EditMessage``."""

        def build() -> Command:
            return EditMessage(message_id=_message(input.message_id), body=input.body)

        return await answer(info, input, MessagePayload, build)

    @strawberry.mutation(
        description="Take your message away, or anybody's with MANAGE_MESSAGES. Its text goes, its place stays."
    )
    async def delete_message(self, info: Info, input: MessageInput) -> MessagePayload:
        """``DeleteMessage``."""
        return await answer(info, input, MessagePayload, lambda: DeleteMessage(message_id=_message(input.message_id)))

    @strawberry.mutation(
        description="React to a message. Needs ADD_REACTIONS. Beyond 20 different emoji (it is a setting), "
        "TOO_MANY_EMOJI: those that anybody ever brought can still be used."
    )
    async def add_reaction(self, info: Info, input: ReactionInput) -> MessagePayload:
        """``AddReaction``."""

        def build() -> Command:
            return AddReaction(message_id=_message(input.message_id), emoji=input.emoji)

        return await answer(info, input, MessagePayload, build)

    @strawberry.mutation(description="Take your reaction back.")
    async def remove_reaction(self, info: Info, input: ReactionInput) -> MessagePayload:
        """``RemoveReaction``."""

        def build() -> Command:
            return RemoveReaction(message_id=_message(input.message_id), emoji=input.emoji)

        return await answer(info, input, MessagePayload, build)

    @strawberry.mutation(description="Say up to which message you have read a channel, on all your devices.")
    async def mark_read(self, info: Info, input: MarkReadInput) -> MarkReadPayload:
        """``MarkRead``."""

        def build() -> Command:
            return MarkRead(
                channel_id=_place(input.channel_id),
                message_id=_message(input.message_id),
            )

        return await answer(info, input, MarkReadPayload, build)


def _place(text: str) -> Id:
    return place_id(text, "channelId")[1]


def _message(text: str, field: str = "messageId") -> Id:
    return subject_id(text, Kind.MESSAGE, field)


async def _typed(info: Info, channel_id: str) -> None:
    """Who has sent a message types no more."""
    viewer_id = info.context.viewer_id
    if viewer_id is not None:
        with suppress(PresenceUnavailable):
            await info.context.moot.presences.stop_typing(viewer_id, _place(channel_id))
