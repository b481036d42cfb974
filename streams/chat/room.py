"""What is known of one channel: its messages in their order, which of them are new, and what is on its way there."""

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from streams.chat.texts import clean, one_line

GONE = "(deleted)"
HELD_BACK = "(by somebody you block)"
UNKNOWN = "somebody"


class Message(Struct, frozen=True):
    """A message as it is now, clean for a terminal. ``raw`` is its text as it was written."""

    number: int
    """By this people name it here: ``#3``."""
    id: str
    snowflake: int
    author: str
    body: str
    raw: str
    sent_at: datetime | None
    edited: bool
    deleted: bool
    mentions_me: bool
    reply_to: str | None
    """Who and what it answers, on one line."""
    reply_to_snowflake: int | None
    reactions: tuple[tuple[str, int, bool], ...]
    """Emoji, how many, and whether oneself is among them."""

    @property
    def clock(self) -> str:
        """When it was sent, in local time."""
        return self.sent_at.astimezone().strftime("%H:%M") if self.sent_at else "--:--"

    @property
    def day(self) -> str:
        """The day on which it was sent, in local time."""
        return self.sent_at.astimezone().strftime("%A, %d %B %Y") if self.sent_at else ""

    @property
    def reacted(self) -> str:
        """The reactions on one line."""
        return "  ".join(f"{emoji} {count}" for emoji, count, _ in self.reactions)


class Room:
    """The messages of a channel from ``oldest`` to the newest, without a gap; ``has_older`` if there are more before.

    What was read may be older than what was told: a message that was told already stays as it was told.
    """

    def __init__(self) -> None:
        self._messages: dict[int, Message] = {}
        self._order: list[int] = []
        self._numbers: dict[int, int] = {}
        self._answers: dict[int, set[int]] = {}
        self._early: dict[int, dict[str, Any]] = {}
        self.older_cursor: str | None = None
        self.has_older = False
        self.first_unread: int | None = None
        """The Snowflake of the first message that one has not read."""
        self.unread = 0
        self.mentions = 0
        self.version = 0
        """Grows with every change: what was drawn before is out of date."""

    def __len__(self) -> int:
        return len(self._order)

    @property
    def messages(self) -> Sequence[Message]:
        """All, oldest first."""
        return [self._messages[snowflake] for snowflake in self._order]

    @property
    def newest(self) -> Message | None:
        """The last in the order."""
        return self._messages[self._order[-1]] if self._order else None

    def numbered(self, number: int) -> Message | None:
        """The message of that number."""
        return next((one for one in self._messages.values() if one.number == number), None)

    def last(self, *, by: str | None = None, but: str | None = None) -> Message | None:
        """The newest that is not deleted, of that author or of any other."""
        for snowflake in reversed(self._order):
            one = self._messages[snowflake]
            author = one.author.casefold()
            wanted = by is None or author == by.casefold()
            if wanted and not one.deleted and (but is None or author != but.casefold()):
                return one
        return None

    def begin(self, page: dict[str, Any]) -> None:
        """Start anew with the newest page; numbers that were given stay."""
        self._messages.clear()
        self._order.clear()
        self._early.clear()
        self.add_older(page)

    def add_older(self, page: dict[str, Any]) -> int:
        """Add a page of what is before the oldest. Gives how many are new."""
        before = len(self._order)
        # Numbers go with time in the first page; those of older ones follow the newest that was given.
        for node in reversed(page["nodes"]):
            snowflake = int(node["snowflake"])
            if snowflake not in self._messages:
                self._put(snowflake, self._early.pop(snowflake, node))
        self.has_older = page["pageInfo"]["hasNextPage"]
        self.older_cursor = page["pageInfo"]["endCursor"]
        self._early.clear()
        self._changed()
        return len(self._order) - before

    def told(self, node: dict[str, Any]) -> Message | None:
        """A message as it is now; ``None`` if it is before everything that is known here."""
        snowflake = int(node["snowflake"])
        if self.has_older and self._order and snowflake < self._order[0]:
            self._early[snowflake] = node  # its page may be on its way, and older
            return None
        message = self._put(snowflake, node)
        self._changed()
        return message

    def answered(self, node: dict[str, Any]) -> Message | None:
        """A message as a mutation answered with it; what was told of it is newer."""
        known = self._messages.get(int(node["snowflake"]))
        return known or self.told(node)

    def known(self, node: dict[str, Any]) -> Message | None:
        """What was known of it before."""
        return self._messages.get(int(node["snowflake"]))

    def set_unread(self, unread: dict[str, Any]) -> None:
        """How many are unread, and from which on."""
        self.unread, self.mentions = unread["count"], unread["mentions"]
        self.first_unread = int(unread["first"]["snowflake"]) if unread.get("first") else None
        self._changed()

    def _put(self, snowflake: int, node: dict[str, Any]) -> Message:
        number = self._numbers.setdefault(snowflake, len(self._numbers) + 1)
        new = snowflake not in self._messages
        message = self._messages[snowflake] = _message(number, node)
        if message.reply_to_snowflake is not None:
            self._answers.setdefault(message.reply_to_snowflake, set()).add(snowflake)
        for answer in self._answers.get(snowflake, set()) & self._messages.keys():
            quoted = f"{message.author}: {one_line(message.body)}"
            self._messages[answer] = replace(self._messages[answer], reply_to=quoted)
        if not self._order or snowflake > self._order[-1]:
            self._order.append(snowflake)
        elif new:
            insort(self._order, snowflake)
        return message

    def _changed(self) -> None:
        self.version += 1


def _message(number: int, node: dict[str, Any]) -> Message:
    raw = node["body"] or ""
    attached = [f"[{one_line(file['name'])}] {one_line(file['url'])}" for file in node["attachments"]]
    body = "\n".join(part for part in (clean(raw), *attached) if part)
    if node["deleted"]:
        body = GONE
    elif node["hidden"]:
        body = HELD_BACK
    answers = node["replyTo"]
    return Message(
        number=number,
        id=node["id"],
        snowflake=int(node["snowflake"]),
        author=_author(node),
        body=body,
        raw=raw,
        sent_at=datetime.fromisoformat(node["sentAt"]) if node["sentAt"] else None,
        edited=node["editedAt"] is not None and not node["deleted"],
        deleted=node["deleted"],
        mentions_me=node["mentionsViewer"],
        reply_to=None if answers is None else f"{_author(answers)}: {_said(answers)}",
        reply_to_snowflake=None if answers is None else int(answers["snowflake"]),
        reactions=tuple(_reactions(node["reactions"])),
    )


def _reactions(found: Iterable[dict[str, Any]]) -> Iterable[tuple[str, int, bool]]:
    return ((one_line(one["emoji"]), one["count"], one["viewerReacted"]) for one in found)


def _author(node: dict[str, Any]) -> str:
    return one_line(node["author"]["name"]) if node["author"] else UNKNOWN


def _said(node: dict[str, Any]) -> str:
    return GONE if node["deleted"] else one_line(node["body"] or "") or "…"
