"""Texts of strangers made fit for a terminal: nothing in them moves the cursor, and every row fits its columns."""

import unicodedata
from typing import Final

from wcwidth import wcwidth

_TAB: Final = "    "
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: with them a text could rewrite the row that it stands in."""
_HARMLESS: Final = frozenset("\u200c\u200d")
"""Format characters that letters of some scripts, and emoji put together, need."""
_MARKS_MAX: Final = 4
"""Marks on one letter: some scripts need three, a tower of them covers other rows."""


def clean(text: str) -> str:
    """The text with its line feeds and nothing else that a terminal would obey."""
    found: list[str] = []
    marks = 0
    for character in text.replace("\r\n", "\n").replace("\t", _TAB):
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if character == "\n" or character in _HARMLESS:
            found.append(character)
        elif category in {"Zl", "Zp"}:
            found.append("\n")
        elif category in {"Cc", "Cs", "Cn", "Co"}:
            found.append("\N{REPLACEMENT CHARACTER}")
        elif character not in _TURNING and category != "Cf" and marks <= _MARKS_MAX:
            found.append(character)
    return "".join(found)


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(clean(text).split())


def shortened(text: str, columns: int) -> str:
    """The beginning of a line that fits so many columns, with an ellipsis where some was left out."""
    if width(text) <= columns:
        return text
    return (_rows_of(text, max(1, columns - 1))[0].rstrip() + "…") if columns > 1 else "…"[:columns]


def width(text: str) -> int:
    """How many columns a clean text of one line takes."""
    return sum(max(0, wcwidth(character)) for character in text)


def rows(text: str, columns: int) -> list[str]:
    """A clean text in rows of at most so many columns, broken at spaces where there are some."""
    columns = max(2, columns)
    found: list[str] = []
    for line in text.split("\n"):
        row, taken = "", 0
        for word in _words(line):
            wide = width(word)
            if taken + width(word.rstrip()) <= columns:
                row, taken = row + word, taken + wide
                continue
            if row:
                found.append(row.rstrip())
            *full, row = _rows_of(word, columns)
            found += full
            taken = width(row)
        found.append(row.rstrip())
    return found


def _words(line: str) -> list[str]:
    """Words, each with the spaces behind it."""
    found: list[str] = []
    for part in line.split(" "):
        if part or not found:
            found.append(part + " ")
        else:
            found[-1] += " "
    found[-1] = found[-1][:-1]
    return found


def _rows_of(word: str, columns: int) -> list[str]:
    found, row, taken = [], "", 0
    for character in word:
        wide = max(0, wcwidth(character))
        if taken + wide > columns:
            found.append(row)
            row, taken = "", 0
        row, taken = row + character, taken + wide
    return [*found, row]
