"""Why a text is no JSON that can be used, in words of our own: those of parsers name their innards."""

import re

import msgspec

INVALID = "It is not valid JSON."
TOO_DEEP = "It is nested too deeply."
NOT_UTF8 = "It is not UTF-8."
LONE_SURROGATE = "It holds one half of a surrogate pair (\\ud800 to \\udfff) without the other."
TOO_MANY_FIELDS = "It has too many parameters."

# Its escape sequences: a high half that no low one follows. Parsers take the quote after it for the end of the text.
_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_WORDS = (
    ("surrogate", LONE_SURROGATE),
    ("utf-8", NOT_UTF8),
    ("ascii", NOT_UTF8),
    ("recursion", TOO_DEEP),
    ("depth limit", TOO_DEEP),
    ("number of fields", TOO_MANY_FIELDS),
)
"""What parsers say, and what that means."""


def reason(error: Exception, data: bytes = b"") -> str:
    """The sentence for what a decoder raised for this data: of JSON, or of the types that it should have."""
    if isinstance(error, msgspec.ValidationError):
        return f"{error}."
    said = str(error).lower()
    default = LONE_SURROGATE if _HALF.search(data) else INVALID
    return next((sentence for word, sentence in _WORDS if word in said), default)
