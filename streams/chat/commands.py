"""What one types: a message, or a command that begins with a slash."""

import re
from typing import Final

from streams.chat.room import Message
from streams.chat.talk import Talk

HELP: Final = (
    "Type a message and press Enter. @name mentions somebody. Messages have numbers, such as #3.",
    "/reply [#N] TEXT   answer a message; without a number the last one of somebody else",
    "/edit [#N] TEXT    replace the text of your message; without a number your last one",
    "/delete [#N]       take a message away; without a number your last one",
    "/react [#N] EMOJI  react to a message; without a number the last one. Take it back: /unreact [#N] EMOJI",
    "/invite            make an invite for others          /who          who is in the server",
    "/topic [TEXT]      show the topic, or set it          /read         mark everything as read",
    "/slow SECONDS      let everybody wait between two messages; 0: no longer",
    "/older             show older messages                /quit         leave this window, not the server",
    "//TEXT             a message that begins with a slash",
)
TEXT_CHARACTERS_MAX: Final = 20_000
"""Of what is typed at once; several times what a message may have, and well below what one WebSocket message may."""
_TARGET = re.compile(r"#(\d{1,9})(?:\s+|\Z)")


class Quit(Exception):
    """The person has enough."""


def carry_out(talk: Talk, typed: str) -> list[str]:
    """Do what was typed; gives what to tell at once. Raises ``Quit``."""
    typed = typed.encode(errors="replace").decode()  # half a pair of surrogates is no text
    if not typed.strip():
        return []
    if len(typed) > TEXT_CHARACTERS_MAX:
        return [f"Not sent: {len(typed):,} characters are too many to be sent at once."]
    if not typed.startswith("/"):
        talk.say(typed)
        return []
    if typed.startswith("//"):
        talk.say(typed[1:])
        return []
    word, _, rest = typed[1:].partition(" ")
    return _command(talk, word.strip().lower(), rest.strip())


def _command(talk: Talk, word: str, rest: str) -> list[str]:
    match word:
        case "quit" | "q" | "exit":
            raise Quit
        case "reply" | "r" | "edit" | "e" | "delete" | "react" | "unreact":
            return _about(talk, word, rest)
        case "slow" | "topic":
            return _channel(talk, word, rest)
        case "help" | "h" | "?":
            return list(HELP)
        case "older":
            return [] if talk.load_older() else ["There are no older messages."]
        case "invite" | "who" | "read":
            {"invite": talk.invite, "who": talk.who, "read": talk.read}[word]()
            return []
    return [f"There is no command /{word}. See: /help (or //{word} to say it)"]


def _channel(talk: Talk, word: str, rest: str) -> list[str]:
    """The commands about the channel."""
    if word == "slow" and rest.isascii() and rest.isdigit() and len(rest) < 7:
        talk.set_slow_mode(int(rest))
    elif word == "slow":
        return ["How many seconds? /slow 10, or /slow 0 to end it"]
    elif rest:
        talk.set_topic(rest)
    else:
        return [f"The topic: {talk.topic}" if talk.topic else "It has no topic. Set one: /topic TEXT"]
    return []


def _about(talk: Talk, word: str, rest: str) -> list[str]:
    """The commands about one message."""
    found = _TARGET.match(rest)
    text = rest[found.end() :] if found else rest
    message: Message | None
    if found:
        message = talk.room.numbered(int(found[1]))
    elif word in {"edit", "e", "delete"}:
        message = talk.room.last(by=talk.name)
    else:
        message = talk.room.last(but=None if "react" in word else talk.name)
    if message is None:
        return [f"There is no message #{found[1]} here." if found else "There is no such message here yet."]
    if not text and word != "delete":
        return [f"It lacks the {'emoji' if 'react' in word else 'text'}: /{word} [#N] …"]
    match word:
        case "reply" | "r":
            talk.say(text, message)
        case "edit" | "e":
            talk.edit(message, text)
        case "delete":
            talk.delete(message)
        case "unreact":
            talk.unreact(message, text)
        case _:
            talk.react(message, text)
    return []
