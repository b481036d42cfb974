"""Keeps a room up to date over connections that come and go, and does there what one wishes for, each thing once.

The first connection asks for the unread state, whose cursor is a position of the log; reads the newest messages as of
that position; and follows what changed after it. Later ones follow from the last cursor. So there is neither a gap
nor, since messages are known by their Snowflakes, a message twice.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from msgspec import Struct

from infra.failures import Failure
from streams.chat import places
from streams.chat.places import Place
from streams.chat.room import Message, Room
from streams.chat.texts import one_line
from streams.chat.wire import TRY_LATER, Lost, SaidNo, Wire, opened
from streams.cli.client import Client, NotServing
from streams.cli.console import Refused

PAGE: Final = 50
"""Messages read at once: some screens full."""
RETRY_SECONDS_MIN: Final = 0.5
"""Before the first attempt to come back; each later one waits twice as long, up to the next."""
RETRY_SECONDS_MAX: Final = 10.0
"""A server that starts again is found within this time."""
TRIES_MAX: Final = 8
"""Times that something is asked for while the API says that it cannot just now."""
WHO_MAX: Final = 50
"""Members named by ``/who``."""

_MESSAGE = """id snowflake body sentAt editedAt deleted hidden mentionsViewer author { name }
  replyTo { snowflake body deleted author { name } } attachments { name url } reactions { emoji count viewerReacted }"""
_UNREAD = "unread { count mentions first { snowflake } }"
_HISTORY = f"""query ($id: ID!, $first: Int, $after: String) {{ node(id: $id) {{ ... on Channel {{ topic {_UNREAD}
  messages(first: $first, after: $after) {{ nodes {{ {_MESSAGE} }} pageInfo {{ endCursor hasNextPage }} }} }} }} }}"""
_CHANGED = f"""subscription ($id: ID!, $after: String) {{ messageChanged(channelId: $id, after: $after) {{
  cursor message {{ {_MESSAGE} }} }} }}"""
_COUNTS = f"""subscription ($id: ID!) {{ unreadChanged(serverId: $id) {{
  cursor server {{ channels {{ id name topic {_UNREAD} }} }} }} }}"""
_WHO = """query ($id: ID!, $first: Int) { node(id: $id) { ... on Server { memberCount
  members(first: $first) { nodes { account { name } roles { name } } } } } }"""
_MADE = f"message {{ {_MESSAGE} }} errors {{ code message retryAfterSeconds }} position"
_DONE = "errors { code message retryAfterSeconds } position"
_SEND = f"mutation ($input: SendMessageInput!) {{ sendMessage(input: $input) {{ {_MADE} }} }}"
_EDIT = f"mutation ($input: EditMessageInput!) {{ editMessage(input: $input) {{ {_MADE} }} }}"
_DELETE = f"mutation ($input: MessageInput!) {{ deleteMessage(input: $input) {{ {_MADE} }} }}"
_REACT = f"mutation ($input: ReactionInput!) {{ addReaction(input: $input) {{ {_MADE} }} }}"
_UNREACT = f"mutation ($input: ReactionInput!) {{ removeReaction(input: $input) {{ {_MADE} }} }}"
_READ = f"mutation ($input: MarkReadInput!) {{ markRead(input: $input) {{ {_DONE} }} }}"
_CHANNEL = f"mutation ($input: EditChannelInput!) {{ editChannel(input: $input) {{ {_DONE} }} }}"

Work = Callable[[Wire], Awaitable[None]]


class Ended(Refused):
    """The channel may not be seen any more."""


class Begun(Struct, frozen=True):
    """The newest messages were read: at the start, or anew because what was missed is too much to be told."""

    messages: list[Message]
    again: bool


class Older(Struct, frozen=True):
    """A page of older messages was read."""

    messages: list[Message]


class Said(Struct, frozen=True):
    """A message is new or was changed. ``before`` is what it was."""

    message: Message
    before: Message | None


class Notice(Struct, frozen=True):
    """Something to tell the person."""

    text: str


class NotSent(Struct, frozen=True):
    """A message was refused: ``why``, and its text, to be changed or sent again later."""

    text: str
    why: str


class Status(Struct, frozen=True):
    """How the connection is."""

    text: str
    live: bool


Event = Begun | Older | Said | Notice | NotSent | Status


class Talk:
    """One person in one channel. ``on_event`` hears what happens, in order, from the event loop."""

    def __init__(self, client: Client, name: str, place: Place, on_event: Callable[[Event], None]) -> None:
        self.room = Room()
        self.name = name
        self.place = place
        self.topic = place.topic
        self.elsewhere: list[tuple[str, int]] = []
        """Other channels of the server with what is unread there."""
        self.sending: list[str] = []
        """Texts that are on their way."""
        self.status = Status("connecting …", live=False)
        self._client = client
        self._tell = on_event
        self._cursor: str | None = None
        self._todo: asyncio.Queue[Work] = asyncio.Queue()
        self._now: Work | None = None
        self._loading = False

    async def run(self) -> None:
        """Stay connected until cancelled. Raises ``Ended``, and ``Refused`` when one cannot sign in any more."""
        wait = RETRY_SECONDS_MIN
        while True:
            try:
                async with opened(self._client.instance.websocket, self._client.token) as wire:
                    await self._begin(wire)
                    wait = RETRY_SECONDS_MIN
                    self._set_status("live", live=True)
                    await self._converse(wire)
            except Lost as lost:
                self._set_status(f"not connected ({one_line(lost.why)}); trying again …", live=False)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads those who come back
                wait = min(2 * wait, RETRY_SECONDS_MAX)
                if lost.signed_out:
                    await self._sign_in()

    async def sent(self) -> None:
        """Return when everything that was wished for is done or refused."""
        await self._todo.join()

    def say(self, text: str, reply_to: Message | None = None) -> None:
        """Send a message; it is there once, however often the connection breaks. What is before it is read then."""
        form = {"channelId": self.place.channel_id, "body": text, "nonce": secrets.token_urlsafe(18)}
        if reply_to is not None:
            form["replyToId"] = reply_to.id
        self.sending.append(text)

        async def work(wire: Wire) -> None:
            try:
                await self._change(wire, _SEND, form)
            except SaidNo as no:
                self.sending.remove(text)
                self._tell(NotSent(text, _sentence(no)))
            else:
                self.sending.remove(text)
                self.read()

        self._todo.put_nowait(work)

    def edit(self, message: Message, text: str) -> None:
        """Replace the text of one's own message."""
        self._wish(_EDIT, {"messageId": message.id, "body": text})

    def delete(self, message: Message) -> None:
        """Take a message away."""
        self._wish(_DELETE, {"messageId": message.id})

    def react(self, message: Message, emoji: str) -> None:
        """React to a message."""
        self._wish(_REACT, {"messageId": message.id, "emoji": emoji})

    def unreact(self, message: Message, emoji: str) -> None:
        """Take one's reaction back."""
        self._wish(_UNREACT, {"messageId": message.id, "emoji": emoji})

    def read(self) -> None:
        """Say that everything that is here was read."""
        newest = self.room.newest
        if newest is not None:
            self._wish(_READ, {"channelId": self.place.channel_id, "messageId": newest.id})

    def set_slow_mode(self, seconds: int) -> None:
        """Have everybody but moderators wait so long between two messages; 0: no longer."""
        told = (
            f"Slow mode: {seconds} s between two messages of one person." if seconds else "There is no slow mode now."
        )
        self._wish(_CHANNEL, {"channelId": self.place.channel_id, "slowModeSeconds": seconds}, told)

    def set_topic(self, topic: str) -> None:
        """Give the channel another topic."""
        self._wish(
            _CHANNEL, {"channelId": self.place.channel_id, "topic": topic}, f"The topic is now: {one_line(topic)}"
        )

    def invite(self) -> None:
        """Make an invite and tell its code."""

        async def work(wire: Wire) -> None:
            code = await places.invite(wire, self.place.server_id)
            self._tell(Notice(f'Others join with: moot chat "{one_line(self.place.name)}" --invite {code} --as NAME'))

        self._todo.put_nowait(self._refusable(work))

    def who(self) -> None:
        """Tell who is in the server."""

        async def work(wire: Wire) -> None:
            found = (await wire.ask(_WHO, {"id": self.place.server_id, "first": WHO_MAX}))["node"]
            if found is None:
                return
            names = [_with_roles(one) for one in found["members"]["nodes"]]
            more = found["memberCount"] - len(names)
            rest = f" and {more} more" if more > 0 else ""
            self._tell(Notice(f"In {one_line(self.place.server)}: {', '.join(names)}{rest}"))

        self._todo.put_nowait(self._refusable(work))

    def load_older(self) -> bool:
        """Ask for the page before the oldest message; ``False`` if there is none, or it is on its way already."""
        if self._loading or not self.room.has_older:
            return False
        self._loading = True

        async def work(wire: Wire) -> None:
            page = await self._page(wire, self.room.older_cursor)
            number = self.room.add_older(page["messages"])
            self._loading = False
            self._tell(Older(list(self.room.messages[:number])))

        self._todo.put_nowait(self._refusable(work))
        return True

    async def _begin(self, wire: Wire) -> None:
        if self._cursor is not None:
            return
        again = len(self.room) > 0
        async with aclosing(self._events(wire, _COUNTS, {"id": self.place.server_id})) as events:
            cursor: str = (await anext(events))["cursor"]
        page = await self._page(wire, None, position=cursor)
        self.room.begin(page["messages"])
        self.room.set_unread(page["unread"])
        self._cursor = cursor
        self._tell(Begun(list(self.room.messages), again))

    async def _page(self, wire: Wire, after: str | None, *, position: str | None = None) -> dict[str, Any]:
        asked = {"id": self.place.channel_id, "first": PAGE, "after": after}
        try:
            page: dict[str, Any] | None = (await wire.ask(_HISTORY, asked, position=position))["node"]
        except SaidNo as no:
            if no.code in TRY_LATER:
                raise Lost(no.what) from no
            raise
        if page is None:
            raise self._ended()
        return page

    async def _converse(self, wire: Wire) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(wire))
                tasks.create_task(self._count(wire))
                tasks.create_task(self._do(wire))
        except* Failure as several:
            # One of them broke off and the others with it; what ends the talk comes before what only interrupts it.
            raise min(several.exceptions, key=lambda one: isinstance(one, Lost)) from None

    async def _hear(self, wire: Wire) -> None:
        asked = {"id": self.place.channel_id, "after": self._cursor}
        async with aclosing(self._events(wire, _CHANGED, asked)) as events:
            async for event in events:
                before = self.room.known(event["message"])
                message = self.room.told(event["message"])
                self._cursor = event["cursor"]
                if message is not None and message != before:
                    self._tell(Said(message, before))

    async def _count(self, wire: Wire) -> None:
        async with aclosing(self._events(wire, _COUNTS, {"id": self.place.server_id})) as events:
            async for event in events:
                if event["server"] is None:
                    raise self._ended()
                channels = event["server"]["channels"]
                self.elsewhere = [
                    (one_line(one["name"]), one["unread"]["count"])
                    for one in channels
                    if one["id"] != self.place.channel_id and one["unread"]["count"]
                ]
                for here in (one for one in channels if one["id"] == self.place.channel_id):
                    self.topic = here["topic"]
                    self.room.set_unread(here["unread"])
                self._tell(self.status)

    async def _events(self, wire: Wire, query: str, asked: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """A subscription's events. It ends in an error: the right one, to go on or not."""
        try:
            async with aclosing(wire.follow(query, asked)) as events:
                async for event in events:
                    yield event
        except SaidNo as no:
            if no.code == "NOT_FOUND":
                raise self._ended() from no
            if no.code in {"CURSOR_TOO_OLD", "CURSOR_INVALID"}:
                self._cursor = None  # refetch
            raise Lost(no.what, signed_out=no.code in {"UNAUTHENTICATED", "SESSION_ENDED"}) from no
        raise Lost("The API ended it.")

    async def _do(self, wire: Wire) -> None:
        while True:
            if self._now is None:
                self._now = await self._todo.get()
            await self._now(wire)  # if the connection is lost, the next one does it again, with the same key
            self._now = None
            self._todo.task_done()

    def _wish(self, mutation: str, form: dict[str, Any], done: str | None = None) -> None:
        form = form | {"idempotencyKey": secrets.token_urlsafe(18)}

        async def work(wire: Wire) -> None:
            await self._change(wire, mutation, form)
            if done is not None:
                self._tell(Notice(done))

        self._todo.put_nowait(self._refusable(work))

    def _refusable(self, work: Work) -> Work:
        async def told(wire: Wire) -> None:
            try:
                await work(wire)
            except Ended:
                raise
            except Refused as no:
                self._loading = False
                self._tell(Notice(_sentence(no)))

        return told

    async def _change(self, wire: Wire, mutation: str, form: dict[str, Any]) -> None:
        """Carry out a mutation; what is only away for a moment is asked for again. Raises ``SaidNo`` and ``Lost``."""
        wait = RETRY_SECONDS_MIN
        for attempt in range(1, TRIES_MAX + 1):
            try:
                answer = await wire.change(mutation, form)
            except SaidNo as no:
                if no.code in {"UNAUTHENTICATED", "SESSION_ENDED"}:
                    raise Lost(no.what, signed_out=True) from no
                if no.code not in TRY_LATER or attempt == TRIES_MAX:
                    raise
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)
            else:
                node = answer.get("message")
                before = self.room.known(node) if node else None
                message = self.room.answered(node) if node else None
                if message is not None and before is None:
                    self._tell(Said(message, None))
                return

    async def _sign_in(self) -> None:
        try:
            await asyncio.to_thread(self._client.renew, self.name)
        except (NotServing, OSError) as away:
            self._set_status(f"not connected ({one_line(str(away))}); trying again …", live=False)

    def _set_status(self, text: str, *, live: bool) -> None:
        self.status = Status(text, live=live)
        self._tell(self.status)

    def _ended(self) -> Ended:
        name = one_line(self.place.name)
        return Ended(f"You may not see {name} any more.", "You were put out, or the channel is gone.", "moot chat")


def _with_roles(member: dict[str, Any]) -> str:
    name = one_line(member["account"]["name"]) if member["account"] else "somebody"
    roles = ", ".join(one_line(role["name"]) for role in member["roles"])
    return f"{name} ({roles})" if roles else name


def _sentence(no: Refused) -> str:
    wait = no.wait_seconds if isinstance(no, SaidNo) else None
    text = one_line(no.what)
    return text if wait is None or str(wait) in text else f"{text} Wait {wait} s."
