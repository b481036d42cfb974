"""A talk on the whole screen: the messages, a line on how things stand, and a line to type in (prompt-toolkit)."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final
from zlib import crc32

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import ConditionalContainer, HSplit, Layout, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl, UIContent, UIControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.styles import Style

from streams.chat.commands import Quit, carry_out
from streams.chat.places import Place
from streams.chat.room import Message
from streams.chat.talk import Event, Notice, NotSent, Talk
from streams.chat.texts import clean, one_line, rows, shortened, width
from streams.cli.client import Client
from streams.cli.console import OK

NOTICES_MAX: Final = 200
"""Words of the program kept between the messages; the oldest go first."""
INDENT: Final = 8
"""Columns before the text of a message: its time stands there."""
INDENT_FROM: Final = 40
"""Columns of a terminal in which there is room for that."""
INPUT_ROWS_MAX: Final = 5
"""Rows of what one types that are shown."""
ESCAPE_SECONDS: Final = 0.3
"""After the Escape key alone; before that it may be the beginning of another key."""
_COLOURS: Final = ("ansicyan", "ansigreen", "ansimagenta", "ansiblue", "ansired", "ansibrightblue")
_STYLE: Final = Style.from_dict(
    {
        "head": "reverse bold",
        "status": "reverse",
        "away": "bg:ansired fg:ansiwhite bold",
        "time": "ansibrightblack",
        "dim": "ansibrightblack",
        "mention": "bg:ansiyellow fg:ansiblack",
        "new": "ansired bold",
        "notice": "italic ansiyellow",
        "author": "bold",
    }
)

Row = list[tuple[str, str]]
"""One row of the screen: pieces of text, each with its style."""
Key = tuple[int, int, int]
"""What names a row for as long as its columns stay: the message, what of it or behind it, and the row of that."""
_MESSAGE, _NOTICE, _PENDING = 1, 2, 3


async def converse(client: Client, name: str, place: Place) -> int:
    """Talk until the person leaves. Gives the exit code; raises what ``Talk.run`` raises."""
    screen = Screen(client, name, place)
    talking = asyncio.create_task(screen.talk.run())
    talking.add_done_callback(lambda _: screen.leave())
    try:
        await screen.app.run_async()
    finally:
        ended = talking.done()
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    if ended:
        talking.result()
    return OK


class Screen:
    """What is shown, and what the keys do."""

    def __init__(self, client: Client, name: str, place: Place) -> None:
        self.talk = Talk(client, name, place, self._on_event)
        self.feed = Feed(self.talk)
        self._typed = Buffer(multiline=True)
        self._shows_head = Condition(lambda: self.app.output.get_size().rows >= 6)
        self._shows_status = Condition(lambda: self.app.output.get_size().rows >= 3)
        typing = Window(
            BufferControl(self._typed),
            height=Dimension(min=1, max=INPUT_ROWS_MAX),
            dont_extend_height=True,
            wrap_lines=True,
            get_line_prefix=lambda line, wrapped: [("class:dim", "> " if line == wrapped == 0 else "  ")],
        )
        self.app: Application[None] = Application(
            Layout(
                HSplit(
                    [
                        ConditionalContainer(_line(self._head), self._shows_head),
                        Window(self.feed, height=Dimension(min=0, preferred=1000)),
                        ConditionalContainer(_line(self._status), self._shows_status),
                        typing,
                    ]
                ),
                focused_element=typing,
            ),
            key_bindings=self._keys(),
            style=_STYLE,
            full_screen=True,
        )
        self.app.timeoutlen = ESCAPE_SECONDS
        self.app.ttimeoutlen = ESCAPE_SECONDS
        if place.invite is not None:
            self.feed.notice(
                f"{one_line(place.server)} is open. Others join with: "
                f'moot chat "{one_line(place.name)}" --invite {place.invite} --as NAME'
            )
        self.feed.notice("Type and press Enter. /help tells more; Ctrl-C leaves.")

    def leave(self) -> None:
        """End the screen, if it has not ended yet."""
        if self.app.is_running:
            self.app.exit()

    def _on_event(self, event: Event) -> None:
        match event:
            case Notice(text):
                self.feed.notice(text)
            case NotSent(text, why):
                self.feed.notice(f"Not sent: {why}")
                if not self._typed.text:
                    self._typed.insert_text(text)  # to be changed, or sent again later
        self.app.invalidate()

    def _head(self, columns: int) -> tuple[str, str]:
        place = self.talk.place
        topic = f" — {one_line(self.talk.topic)}" if self.talk.topic else ""
        return "class:head", f" {one_line(place.server)} / #{one_line(place.channel)}{topic}"

    def _status(self, columns: int) -> tuple[str, str]:
        talk = self.talk
        told = [talk.name, talk.status.text]
        if talk.sending:
            told.append(f"sending {len(talk.sending)}")
        if talk.room.unread:
            mentions = f", {talk.room.mentions} for you" if talk.room.mentions else ""
            told.append(f"{talk.room.unread} unread{mentions} (Esc: read)")
        if not self.feed.at_end:
            told.append("newer below (End)")
        told += [f"#{name} {number}" for name, number in talk.elsewhere]
        return ("class:status" if talk.status.live else "class:away"), " " + " | ".join(told)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        one_row = Condition(lambda: self._typed.document.line_count == 1)
        nothing = Condition(lambda: not self._typed.text)

        @keys.add("enter")
        def _(_: KeyPressEvent) -> None:
            text = self._typed.text
            self._typed.reset()
            self.feed.to_end()
            try:
                for told in carry_out(self.talk, text):
                    self.feed.notice(told)
            except Quit:
                self.leave()

        @keys.add("escape", "enter")
        def _(_: KeyPressEvent) -> None:
            self._typed.insert_text("\n")

        @keys.add("escape")
        def _(_: KeyPressEvent) -> None:
            self.talk.read()

        @keys.add("c-c")
        @keys.add("c-d", filter=nothing)
        def _(_: KeyPressEvent) -> None:
            if self._typed.text:
                self._typed.reset()
            else:
                self.leave()

        def scroll(*names: str, by: Callable[[], int], when: Any = True) -> None:
            for name in names:
                keys.add(name, filter=when)(lambda _: self.feed.scroll(by()))

        scroll("pageup", by=lambda: max(1, self.feed.height - 1))
        scroll("pagedown", by=lambda: -max(1, self.feed.height - 1))
        scroll("up", by=lambda: 1, when=one_row)
        scroll("down", by=lambda: -1, when=one_row)
        keys.add("c-end")(lambda _: self.feed.to_end())
        keys.add("end", filter=nothing)(lambda _: self.feed.to_end())
        return keys


class Feed(UIControl):
    """The messages. It stays at the newest one, or where somebody scrolled to, whatever comes below or above."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._notices: list[tuple[int, int, str]] = []
        self._counted = itertools.count()
        self._made: dict[tuple[int, int], tuple[object, int, list[Row]]] = {}
        self._rows: list[tuple[Key, Row]] = []
        self._anchor: Key | None = None
        self.height = 1

    @property
    def at_end(self) -> bool:
        """Whether the newest message is shown."""
        return self._anchor is None

    def notice(self, text: str) -> None:
        """Words of the program, behind what is the newest message now."""
        newest = self._talk.room.newest
        self._notices.append((newest.snowflake if newest else 0, next(self._counted), clean(text)))
        del self._notices[:-NOTICES_MAX]

    def to_end(self) -> None:
        """Show the newest message, and follow."""
        self._anchor = None

    def scroll(self, by: int) -> None:
        """So many rows up, or down if negative. At the top older messages are asked for."""
        if self._rows:
            bottom = min(max(self._bottom() - by, min(self.height, len(self._rows))), len(self._rows))
            self._anchor = None if bottom == len(self._rows) else self._rows[bottom - 1][0]
            if bottom <= self.height:
                self._talk.load_older()

    def is_focusable(self) -> bool:
        """See ``UIControl``."""
        return False

    def create_content(self, width: int, height: int) -> UIContent:  # noqa: A002, RUF100
        """See ``UIControl``."""
        self.height = max(1, height)
        self._rows = self._all(max(2, width))
        bottom = self._bottom()
        shown = [row for _, row in self._rows[max(0, bottom - self.height) : bottom]]
        shown = [[]] * (self.height - len(shown)) + shown  # a short talk stands at the bottom, above what is typed
        return UIContent(get_line=lambda number: list(shown[number]), line_count=len(shown), show_cursor=False)

    def _bottom(self) -> int:
        """The number of rows from the first to the last that is shown."""
        if self._anchor is None:
            return len(self._rows)
        return next((n for n, (key, _) in enumerate(self._rows, 1) if key >= self._anchor), len(self._rows))

    def _all(self, columns: int) -> list[tuple[Key, Row]]:
        room = self._talk.room
        items: list[tuple[Key, Row]] = []
        notices = iter([*self._notices, (1 << 64, 0, "")])
        after, number, text = next(notices)
        day, marked = "", room.first_unread is None
        for message in room.messages:
            while after < message.snowflake:
                items += self._keyed((after, _NOTICE + number), text, columns, _notice_rows)
                after, number, text = next(notices)
            extra: list[Row] = []
            if message.day != day:
                day = message.day
                extra.append(_rule(day, columns, "class:dim"))
            if not marked and room.first_unread is not None and message.snowflake >= room.first_unread:
                marked = True
                extra.append(_rule(f"{room.unread} unread", columns, "class:new"))
            items += [((message.snowflake, 0, at), row) for at, row in enumerate(extra)]
            items += self._keyed((message.snowflake, _MESSAGE), message, columns, message_rows)
        while text or after < 1 << 64:
            items += self._keyed((after, _NOTICE + number), text, columns, _notice_rows)
            after, number, text = next(notices)
        for number, text in enumerate(self._talk.sending):
            made = [[("class:dim", row)] for row in rows(f"sending: {clean(text)}", columns)]
            items += [((1 << 64, _PENDING + number, at), row) for at, row in enumerate(made)]
        return items

    def _keyed(
        self, name: tuple[int, int], what: Any, columns: int, make: Callable[[Any, int], list[Row]]
    ) -> Sequence[tuple[Key, Row]]:
        made = self._made.get(name)
        if made is None or made[0] != what or made[1] != columns:
            made = self._made[name] = (what, columns, make(what, columns))
        return [((*name, at), row) for at, row in enumerate(made[2])]


def message_rows(message: Message, columns: int) -> list[Row]:
    """A message as it is shown: whom it answers, who wrote it and when, its text, and the reactions."""
    roomy = columns >= INDENT_FROM
    margin = INDENT if roomy else 0
    space = ("", " " * margin)
    colour = f"class:author {_COLOURS[crc32(message.author.encode()) % len(_COLOURS)]}"
    found: list[Row] = []
    if message.reply_to is not None:
        found.append([space, ("class:dim", shortened(f"┌ {message.reply_to}", columns - margin))])
    author = shortened(message.author, max(2, columns - margin - 2))
    tail = f" #{message.number}" + (" (edited)" if message.edited else "")
    head: Row = [("class:time", f"{message.clock}   ")] if roomy else []
    head.append((colour, author))
    if margin + width(author) + width(tail) <= columns:
        head.append(("class:dim", tail))
    found.append(head)
    style = "class:dim italic" if message.deleted else "class:mention" if message.mentions_me else ""
    found += [[space, (style, row)] for row in rows(message.body, columns - margin)]
    if message.reactions:
        found += [[space, ("class:dim", row)] for row in rows(message.reacted, columns - margin)]
    return found


def _notice_rows(text: str, columns: int) -> list[Row]:
    return [[("class:notice", row)] for row in rows(text, columns)]


def _rule(text: str, columns: int, style: str) -> Row:
    text = shortened(f" {text} ", columns)
    side = "─" * ((columns - width(text)) // 2)
    return [(style, f"{side}{text}{side}")]


def _line(text: Callable[[int], tuple[str, str]]) -> Window:
    """A line over the whole width, shortened to it."""

    class Line(FormattedTextControl):
        def create_content(self, width: int, height: int | None) -> UIContent:
            style, words = text(width)
            row = shortened(words, width)
            return UIContent(get_line=lambda _: [(style, row)], line_count=1, show_cursor=False)

    return Window(Line(), height=1, style=lambda: text(0)[0])
