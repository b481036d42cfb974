"""A message: a text in Markdown that somebody wrote in a channel.

Its id is a Snowflake (``domain.snowflake``): all members see the messages of a channel in the order of these.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain import permissions, text
from domain.channel import not_found as channel_not_found
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.ids import packed
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from domain.relation import NO_BLOCKS, Blocks

_FENCED: Final = re.compile(
    r"^ {0,3}(`{3,}(?=[^`\n]*$)|~{3,})[^\n]*(?:\n.*?)??(?:\n {0,3}\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_INLINE: Final = re.compile(r"(?<![`\\])(`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)\1(?!`)", re.DOTALL)
"""Code as in https://spec.commonmark.org/0.31.2/#fenced-code-blocks and #code-spans."""
_NAMED: Final = re.compile(r"(?<![^\W_])(?<![@./\\-])@([^\s@<>()\[\]{}\"'`,;:!?*~|/\\]+)")
EVERYONE: Final = "everyone"
"""The name by which all who see the channel are mentioned."""
_MEDIA_TYPE: Final = re.compile(r"[a-z]{1,40}/[a-z0-9][a-z0-9.+-]{0,99}\Z")


class MessageSent(Event, frozen=True):
    """Somebody wrote. ``server_id`` is ``None`` in a conversation.

    ``mentions`` are ids of sixteen bytes each, ascending: of accounts, of roles, and the server's for everyone.
    ``attachments`` is JSON as ``Attachment`` is encoded, or empty.
    """

    subject: ClassVar[str | None] = "author_id"
    message_id: Id
    channel_id: Id
    server_id: Id | None
    author_id: Id
    reply_to_id: Id | None
    mentions: bytes
    body: Personal
    attachments: Personal


class MessageEdited(Event, frozen=True):
    """The author replaced the text. ``mentioned`` are the mentions before."""

    subject: ClassVar[str | None] = "author_id"
    message_id: Id
    channel_id: Id
    server_id: Id | None
    author_id: Id
    mentions: bytes
    mentioned: bytes
    body: Personal


class MessageDeleted(Event, frozen=True):
    """Author or moderator took the message away: its text and attachments are gone from every view, its place stays.

    ``mentioned`` are the mentions before.
    """

    message_id: Id
    channel_id: Id
    server_id: Id | None
    author_id: Id
    deleter_id: Id
    mentioned: bytes


class Attachment(Struct, frozen=True):
    """A file that a message refers to; it is elsewhere. ``size_bytes`` is as its sender said."""

    url: str
    name: str
    media_type: str
    size_bytes: int


class SendMessage(Command, frozen=True):
    """Write in a channel; ``reply_to_id`` is a message there that it answers."""

    channel_id: Id
    body: str
    reply_to_id: Id | None = None
    attachments: tuple[Attachment, ...] = ()


class EditMessage(Command, frozen=True):
    """Replace the text of one's own message. Its attachments stay."""

    message_id: Id
    body: str


class DeleteMessage(Command, frozen=True):
    """Take one's own message away, or anybody's with ``MANAGE_MESSAGES``."""

    ends: ClassVar[bool] = True
    message_id: Id


class Message(Struct, frozen=True):
    """A message, as decisions need it."""

    message_id: Id
    channel_id: Id
    server_id: Id | None
    author_id: Id
    mentions: bytes
    body: str
    attached: bool
    deleted: bool = False


START: Message | None = None


def evolve(message: Message | None, event: Event) -> Message | None:
    """The message after the event."""
    match event:
        case MessageSent() as e:
            return Message(
                e.message_id, e.channel_id, e.server_id, e.author_id, e.mentions, e.body, bool(e.attachments)
            )
        case MessageEdited(body=body, mentions=mentions) if message is not None:
            return replace(message, body=body, mentions=mentions)
        case MessageDeleted() if message is not None:
            return replace(message, body="", mentions=b"", attached=False, deleted=True)
        case _:
            return message


class Place(Struct, frozen=True):
    """Where messages are written, as one person stands there: a channel of a server, or a conversation.

    ``may`` is what they may there, and ``writing`` what it takes to write. ``blocks`` are those between two people in
    their conversation.
    """

    channel_id: Id
    server_id: Id | None
    may: Permission
    writing: Permission = Permission.SEND_MESSAGES
    slow_mode_seconds: int = 0
    blocks: Blocks = NO_BLOCKS

    @property
    def pause_seconds(self) -> int:
        """How long they wait between two messages; slow mode does not hold for moderators."""
        return 0 if Permission.MANAGE_MESSAGES in self.may else self.slow_mode_seconds


class Mentionable(Struct, frozen=True):
    """Who can be mentioned: ``members`` who see the place and ``roles`` of its server, by folded name.

    Roles of the same name are mentioned together.
    """

    members: Mapping[str, Id]
    roles: Mapping[str, Collection[Id]]


def names_in(body: str, limits: Limits) -> tuple[tuple[str, ...], ...]:
    """What a text mentions with an ``@`` outside of code, each once, in their order: folded names, the longest first.

    The longest that somebody has is meant: what ends a sentence or emphasis may be part of a name as well. Raises
    ``TOO_MANY_MENTIONS``.
    """
    plain = _INLINE.sub(" ", _FENCED.sub(" ", body))
    found = tuple(dict.fromkeys(_names(token.casefold()) for token in _NAMED.findall(plain)))
    if len(found) > limits.mentions_max:
        message = f"A message mentions at most {limits.mentions_max} people and roles. Mention a role, or fewer people."
        raise Refusal(Code.TOO_MANY_MENTIONS, message, "body")
    return found


def _names(token: str) -> tuple[str, ...]:
    letters = len(token)
    while letters and not token[letters - 1].isalnum():
        letters -= 1
    return tuple(dict.fromkeys((token, token.rstrip("._-"), token[:letters])))


def attachments_of(encoded: str) -> Sequence[Attachment]:
    """The attachments that an event or a row holds as JSON."""
    return msgspec.json.decode(encoded, type=tuple[Attachment, ...]) if encoded else ()


def sent(
    command: SendMessage,
    place: Place | None,
    reply_to: Message | None,
    mentionable: Mentionable,
    *,
    message_id: Id,
    author_id: Id,
    limits: Limits,
) -> tuple[Event, ...]:
    """What somebody writes there."""
    place = writable(place)
    if command.attachments and Permission.ATTACH_FILES not in place.may:
        raise permissions.denied(Permission.ATTACH_FILES)
    if command.reply_to_id is not None:
        if reply_to is None or reply_to.channel_id != place.channel_id:
            raise not_found("reply_to_id")
        if reply_to.deleted:
            raise deleted("reply_to_id")
    body = _body(command.body, limits, required=not command.attachments)
    return (
        MessageSent(
            message_id=message_id,
            channel_id=place.channel_id,
            server_id=place.server_id,
            author_id=author_id,
            reply_to_id=command.reply_to_id,
            mentions=_mentions(body, place, mentionable, limits),
            body=body,
            attachments=_attachments(command.attachments, limits),
        ),
    )


def decide_own(
    command: EditMessage | DeleteMessage,
    message: Message | None,
    place: Place | None,
    mentionable: Mentionable,
    *,
    actor_id: Id,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the author's command, or a moderator's, makes of the message.

    Authors may delete what they wrote even where they see no more of it, as long as the channel is there.
    """
    own = message is not None and message.author_id == actor_id
    sees = place is not None and Permission.VIEW_CHANNELS in place.may
    if message is None or place is None or not (sees or (own and isinstance(command, DeleteMessage))):
        raise not_found()
    if isinstance(command, DeleteMessage):
        if not (own or Permission.MANAGE_MESSAGES in place.may):
            raise permissions.denied(Permission.MANAGE_MESSAGES)
        if message.deleted:
            return ()
        return (
            MessageDeleted(
                message_id=message.message_id,
                channel_id=message.channel_id,
                server_id=message.server_id,
                author_id=message.author_id,
                deleter_id=actor_id,
                mentioned=message.mentions,
            ),
        )
    if not own:
        raise Refusal(Code.NOT_THE_AUTHOR, "Only the author can edit a message. Reply to it instead.")
    if message.deleted:
        raise deleted()
    writable(place, "message_id")
    body = _body(command.body, limits, required=not message.attached)
    if body == message.body:
        return ()
    return (
        MessageEdited(
            message_id=message.message_id,
            channel_id=message.channel_id,
            server_id=message.server_id,
            author_id=actor_id,
            mentions=_mentions(body, place, mentionable, limits),
            mentioned=message.mentions,
            body=body,
        ),
    )


def writable(place: Place | None, field: str = "channel_id") -> Place:
    """The place, if somebody who stands so in it may write there.

    Raises ``CHANNEL_NOT_FOUND``, ``BLOCKED``, ``PERMISSION_DENIED``.
    """
    if place is None or Permission.VIEW_CHANNELS not in place.may:
        raise channel_not_found()
    place.blocks.refuse("write to", field)
    if place.writing not in place.may:
        raise permissions.denied(place.writing)
    return place


def seen(message: Message | None, place: Place | None, field: str = "message_id") -> Message:
    """The message, if somebody who stands so in its place sees it. Raises ``MESSAGE_NOT_FOUND``."""
    if message is None or place is None or Permission.VIEW_CHANNELS not in place.may:
        raise not_found(field)
    return message


def not_found(field: str = "message_id") -> Refusal:
    """The same for a message that does not exist and for one that somebody may not see."""
    message = "There is no such message, or you may not see it. Check the link."
    return Refusal(Code.MESSAGE_NOT_FOUND, message, field)


def deleted(field: str = "message_id") -> Refusal:
    """The message is gone."""
    return Refusal(Code.MESSAGE_DELETED, "This message was deleted. Nothing can be done with it any more.", field)


def _body(body: str, limits: Limits, *, required: bool) -> str:
    return text.markdown(body, "body", length_max=limits.message_body_length_max, required=required)


def _mentions(body: str, place: Place, mentionable: Mentionable, limits: Limits) -> bytes:
    """Whom the text mentions; who may not mention roles or everyone has only written their names."""
    roles = dict(mentionable.roles)
    if place.server_id is not None:
        roles[EVERYONE] = (place.server_id,)
    ids = set[Id]()
    for names in names_in(body, limits):
        name = next((one for one in names if one in mentionable.members or one in roles), "")
        if name in mentionable.members:
            ids.add(mentionable.members[name])
        if Permission.MENTION_EVERYONE in place.may:
            ids.update(roles.get(name, ()))
    return packed(ids)


def _attachments(attachments: Sequence[Attachment], limits: Limits) -> str:
    if len(attachments) > limits.attachments_max:
        message = f"A message has at most {limits.attachments_max} attachments. Send another one with the rest."
        raise Refusal(Code.INVALID_VALUE, message, "attachments")
    checked = [_attachment(one, limits) for one in attachments]
    return msgspec.json.encode(checked).decode() if checked else ""


def _attachment(one: Attachment, limits: Limits) -> Attachment:
    if not _MEDIA_TYPE.match(one.media_type.lower()):
        message = "Say what kind of file it is, such as image/png."
        raise Refusal(Code.INVALID_VALUE, message, "attachments")
    if one.size_bytes < 0:
        raise Refusal(Code.INVALID_VALUE, "A file has no less than 0 bytes. Say how large it is.", "attachments")
    if one.size_bytes > limits.attachment_bytes_max:
        message = f"An attachment has at most {limits.attachment_bytes_max:,} bytes. Choose a smaller file."
        raise Refusal(Code.INVALID_VALUE, message, "attachments")
    return Attachment(
        url=text.web_address(one.url, "attachments", length_max=limits.url_length_max),
        name=text.line(one.name, "attachments", length_max=limits.attachment_name_length_max),
        media_type=one.media_type.lower(),
        size_bytes=one.size_bytes,
    )
