"""What a text may be. Everything people write passes through here once, and is stored as it comes out.

Texts are stored in Unicode's normal form C. Refused are: control characters, halves of surrogate pairs and
non-characters (stores and readers choke on them); the characters that turn the direction of writing around
(they make a text read other than it is, https://trojansource.codes); and on single lines all that is not
seen. What scripts and emoji need stays: joiners, variation selectors, the tags of the flags of regions.
"""

import re
import unicodedata
from urllib.parse import urlsplit

from domain.refusal import Code, Refusal

_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_REGION_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
_NEVER = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and line feed
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # surrogates, non-characters
    "\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # embeddings, overrides, isolates, deprecated format characters
    "\ufff9-\ufffb\U000e0000-\U000e007f]"  # interlinear annotation, tags
)
_UNSEEN = re.compile(
    "[\t\n\xad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u2060-\u2064\ufeff"  # breaks, zero width, marks
    "\u115f\u1160\u3164\uffa0\u2800\U0001d159\U0001d173-\U0001d17a]"  # fillers, blanks
)
_SPACES = re.compile(r"\s+")


def line(text: str, field: str, *, length_max: int) -> str:
    """A text of one line that shows something: its ends trimmed, runs of spaces one space.

    Raises ``TOO_SHORT`` when nothing is left, ``TOO_LONG``, ``INVALID_CHARACTERS``.
    """
    text = unicodedata.normalize("NFC", text).strip()
    _refuse(_NEVER, text, field)
    _refuse(_UNSEEN, text, field)
    return _measured(_SPACES.sub(" ", text), field, length_max, required=True)


def markdown(text: str, field: str, *, length_max: int, required: bool) -> str:
    """A text in Markdown, of any number of lines, which end in a line feed. Blanks at its end are gone.

    Raises ``TOO_SHORT`` when it shows nothing, unless it is empty and not required; ``TOO_LONG``,
    ``INVALID_CHARACTERS``.
    """
    text = _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text))
    _refuse(_NEVER, text, field)
    text = text.rstrip().lstrip("\n")
    return _measured(text, field, length_max, required=required)


def web_address(text: str, field: str, *, length_max: int) -> str:
    """The address of a page: ``http`` or ``https``, with a host, without a user's name or password.

    Raises ``INVALID_URL`` and ``TOO_LONG``.
    """
    text = text.strip()
    if len(text) > length_max:
        raise _too_long(field, len(text), length_max)
    if _NEVER.search(text) or _UNSEEN.search(text) or _SPACES.search(text) or "\\" in text:
        raise _bad_url(field, "It holds spaces, backslashes or characters that do not show.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        encoded = (host or "").encode("idna")
    except ValueError:  # also what the codec raises for an empty or overlong part of the host
        raise _bad_url(field, "Its host or port cannot be read.") from None
    if parts.scheme not in ("http", "https"):
        raise _bad_url(field, "It has to start with http:// or https://.")
    if not encoded or port == 0:
        raise _bad_url(field, "It names no host.")
    if parts.username is not None or parts.password is not None:
        raise _bad_url(field, "It holds a user's name or a password, which everybody could read.")
    return text


def _measured(text: str, field: str, length_max: int, *, required: bool) -> str:
    if (required or text) and not any(_shows(character) for character in text):
        raise Refusal(Code.TOO_SHORT, f"The {_words(field)} must not be empty. Write something.", field)
    if len(text) > length_max:
        raise _too_long(field, len(text), length_max)
    return text


def _shows(character: str) -> bool:
    return not _UNSEEN.match(character) and unicodedata.category(character) not in ("Cf", "Mn", "Me", "Zs")


def _refuse(unwanted: re.Pattern[str], text: str, field: str) -> None:
    found = unwanted.search(_REGION_FLAG.sub("", text))
    if found is not None:
        code = f"U+{ord(found[0]):04X}"
        raise Refusal(
            Code.INVALID_CHARACTERS,
            f"The {_words(field)} holds a character that does not show or is not allowed ({code}). Take it out.",
            field,
        )


def _too_long(field: str, length: int, length_max: int) -> Refusal:
    return Refusal(
        Code.TOO_LONG,
        f"The {_words(field)} has {length:,} characters; at most {length_max:,} are possible. Make it shorter.",
        field,
    )


def _bad_url(field: str, why: str) -> Refusal:
    return Refusal(Code.INVALID_URL, f"This is no address of a page. {why}", field)


def _words(field: str) -> str:
    return field.replace("_", " ")
