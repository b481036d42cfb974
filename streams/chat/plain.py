"""A talk as plain lines: what one reads on standard output, what one writes from standard input, words on the error's.

For a pipe, a script, a terminal that can do nothing else, and a screen reader.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from streams.chat.commands import Quit, carry_out
from streams.chat.places import Place
from streams.chat.room import Message, Room
from streams.chat.talk import Begun, Event, Notice, NotSent, Older, Said, Status, Talk
from streams.chat.texts import clean
from streams.cli.client import Client
from streams.cli.console import OK, REFUSED, Output, out, show_json, words

INPUT_LINES_MAX: Final = 100
"""Lines read ahead from a pipe: the rest waits there."""


class Over(Struct, frozen=True):
    """The talk has come to its end."""


async def converse(client: Client, name: str, place: Place, output: Output) -> int:
    """Talk until the input ends and everything of it is sent; each line is done before the next one is looked at.

    Gives the exit code. Raises what ``Talk.run`` raises.
    """
    events: asyncio.Queue[Event | Over] = asyncio.Queue()
    talk = Talk(client, name, place, events.put_nowait)
    lines = _Lines(talk.room, output)
    tasks = [asyncio.create_task(talk.run())]
    tasks[0].add_done_callback(lambda _: events.put_nowait(Over()))
    code = OK
    try:
        while not isinstance(event := await events.get(), Over):
            lines.show(event)
            if isinstance(event, NotSent):
                code = REFUSED
            elif isinstance(event, Begun) and len(tasks) == 1:
                tasks.append(asyncio.create_task(_obey(talk)))
                tasks[1].add_done_callback(lambda _: events.put_nowait(Over()))
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
    return code


async def _obey(talk: Talk) -> None:
    """Do what the lines of standard input say, until they end or one says so."""
    ahead = threading.Semaphore(INPUT_LINES_MAX)
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    _read(asyncio.get_running_loop(), lines.put_nowait, ahead)
    with contextlib.suppress(Quit):
        while (line := await lines.get()) is not None:
            for told in carry_out(talk, line):
                _say(told)
            await talk.sent()
            ahead.release()


def _read(loop: asyncio.AbstractEventLoop, put: Callable[[str | None], None], ahead: threading.Semaphore) -> None:
    """Hand over the lines of standard input, from a thread that no end of the process waits for."""

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads on
            for line in sys.stdin.buffer:
                ahead.acquire()
                loop.call_soon_threadsafe(put, line.decode(errors="replace").rstrip("\r\n"))
            loop.call_soon_threadsafe(put, None)

    threading.Thread(target=read, name="chat-input", daemon=True).start()


class _Lines:
    """What happens, written as lines."""

    def __init__(self, room: Room, output: Output) -> None:
        self._room = room
        self._output = output
        self._status: tuple[str, bool] | None = None

    def show(self, event: Event) -> None:
        """Write what there is to say of it."""
        match event:
            case Status(text, live=live):
                if (text, live) != self._status:
                    _say(f"* {text}")
                self._status = (text, live)
            case Notice(text):
                _say(f"* {text}")
            case NotSent(text, why):
                _say(f"* Not sent: {why}\n  {clean(text)}")
            case Said(message, before):
                self._write(message, before)
            case Begun(messages, again=again):
                if again:
                    _say("* Too much was missed to tell it all: these are the newest messages.")
                self._page(messages)
            case Older(messages):
                _say(f"* {len(messages)} older messages:")
                self._page(messages)

    def _page(self, messages: list[Message]) -> None:
        first = self._room.first_unread
        for message in messages:
            if first is not None and message.snowflake >= first:
                _say(f"* {self._room.unread} unread from here on (/read marks them as read)")
                first = None
            self._write(message, None)

    def _write(self, message: Message, before: Message | None) -> None:
        if self._output is Output.JSON:
            show_json(as_data(message))
        else:
            out.file.write(line(message, before) + "\n")
            out.file.flush()


def line(message: Message, before: Message | None) -> str:
    """A message as it is written; after ``before`` only what became of it."""
    head = f"{message.clock} #{message.number} {message.author}"
    if before is not None and before.body == message.body and before.edited == message.edited:
        return f"{head} has reactions: {message.reacted}" if message.reactions else f"{head} has no reactions any more"
    told = "deleted" if message.deleted else "edited" if message.edited else ""
    head = f"{head}, {told}:" if told else f"{head}:"
    body = "" if message.deleted else message.body.replace("\n", "\n    ")
    about = [
        f"(to {message.reply_to})" if message.reply_to else "",
        "(mentions you)" if message.mentions_me and not message.deleted else "",
        f"[{message.reacted}]" if message.reactions else "",
    ]
    return " ".join(part for part in (head.removesuffix(":") if message.deleted else head, body, *about) if part)


def as_data(message: Message) -> dict[str, Any]:
    """A message for a program."""
    return {
        "id": message.id,
        "snowflake": str(message.snowflake),
        "author": message.author,
        "body": None if message.deleted else message.raw,
        "sentAt": message.sent_at.isoformat() if message.sent_at else None,
        "edited": message.edited,
        "deleted": message.deleted,
        "mentionsViewer": message.mentions_me,
        "replyTo": message.reply_to,
        "reactions": {emoji: count for emoji, count, _ in message.reactions},
    }


def _say(text: str) -> None:
    words.print(text, highlight=False, markup=False, emoji=False)
