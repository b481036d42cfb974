"""Texts of strangers on a terminal."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.chat.texts import clean, one_line, rows, shortened, width

DANGEROUS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
texts = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\x1b[2Jb", "a�[2Jb"),
        ("one\r\ntwo\rthree", "one\ntwo�three"),
        ("a\tb", "a    b"),
        ("pay \u202e001\u202c now", "pay 001 now"),
        ("a\u2028b", "a\nb"),
        ("half \ud83d", "half �"),
        ("👩\u200d👧 שלום مرحبا", "👩\u200d👧 שלום مرحبا"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
    ],
)
def test_nothing_in_a_text_is_obeyed(written: str, shown: str) -> None:
    assert clean(written) == shown


@given(texts, st.integers(1, 60))
def test_every_row_fits_and_nothing_is_left_out(text: str, columns: int) -> None:
    cleaned = clean(text)
    assert not DANGEROUS.search(cleaned)
    assert "\n" not in one_line(text)
    made = rows(cleaned, columns)
    assert all(width(row) <= max(2, columns) for row in made)
    assert "".join("".join(made).split()) == "".join(cleaned.split())
    assert width(shortened(one_line(text), columns)) <= columns


def test_rows_break_at_spaces_where_there_are_some() -> None:
    assert rows("one two  three", 8) == ["one two", "three"]
    assert rows("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert rows("世界世界", 5) == ["世界", "世界"]
    assert rows("", 5) == [""]
