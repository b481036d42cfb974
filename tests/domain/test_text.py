"""What a text may be."""

import re
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain import text
from domain.refusal import Code, Refusal

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def refused(code: Code, function: object, *args: object, **kwargs: object) -> None:
    """The text is refused with that code, for that field."""
    with pytest.raises(Refusal) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code
    assert caught.value.field == "body"


def line(given_text: str) -> str:
    """A line of at most 20 characters."""
    return text.line(given_text, "body", length_max=20)


def markdown(given_text: str) -> str:
    """A text of at most 20 characters that is needed."""
    return text.markdown(given_text, "body", length_max=20, required=True)


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("  a \u00a0 b  ", "a b"),
        ("e\u0301", "\xe9"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",) * 2,
        ("a\n", "a"),
        ("x" * 20, "x" * 20),
        ("e\u0301" * 20, "\xe9" * 20),
    ],
)
def test_lines_as_they_are_stored(given_text: str, stored: str) -> None:
    assert line(given_text) == stored


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("\n\n  code\n", "  code"),
        ("a\tb", "a\tb"),
        ("soft\xadhyphen", "soft\xadhyphen"),
        ("e\u0301", "\xe9"),
    ],
)
def test_markdown_as_it_is_stored(given_text: str, stored: str) -> None:
    assert markdown(given_text) == stored


@pytest.mark.parametrize("unwanted", ["\x00", "\x08", "\x0b", "\x1b", "\x7f", "\x9f", "\ud800", "\ufffe"])
@pytest.mark.parametrize("check", [line, markdown])
def test_controls_are_refused(check: object, unwanted: str) -> None:
    refused(Code.INVALID_CHARACTERS, check, f"a{unwanted}b")


@pytest.mark.parametrize("unwanted", ["\u202a", "\u202e", "\u2066", "\u2069", "\U000e0041", "\ufff9"])
@pytest.mark.parametrize("check", [line, markdown])
def test_what_makes_a_text_read_other_than_it_is_is_refused(check: object, unwanted: str) -> None:
    refused(Code.INVALID_CHARACTERS, check, f"a{unwanted}b")


@pytest.mark.parametrize("unwanted", ["\n", "\t", "\xad", "\u200b", "\u200e", "\u2060", "\ufeff", "\u3164", "\u2800"])
def test_what_does_not_show_is_refused_on_a_line(unwanted: str) -> None:
    refused(Code.INVALID_CHARACTERS, line, f"a{unwanted}b")


@pytest.mark.parametrize("empty", ["", " ", "\n\n", "\u3000", "\u200d", "\u0301", "\ufe0f"])
@pytest.mark.parametrize("check", [line, markdown])
def test_what_shows_nothing_is_empty(check: object, empty: str) -> None:
    refused(Code.TOO_SHORT, check, empty)


@pytest.mark.parametrize("check", [line, markdown])
def test_length_is_of_what_is_stored(check: object) -> None:
    refused(Code.TOO_LONG, check, "x" * 21)


def test_a_text_that_is_not_needed_may_be_empty() -> None:
    assert text.markdown(" \n", "body", length_max=20, required=False) == ""


def test_the_refusal_names_the_character() -> None:
    with pytest.raises(Refusal, match=re.escape("U+202E")):
        line("a\u202eb")


@given(ANY_TEXT)
@example("\x1c")
@example("\u0344")
def test_whatever_is_taken_is_stored_the_same_again(given_text: str) -> None:
    for check in (line, markdown):
        try:
            stored = check(given_text)
        except Refusal:
            continue
        assert check(stored) == stored
        assert unicodedata.is_normalized("NFC", stored)
        assert stored.encode().decode() == stored
        assert "\x00" not in stored


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org",
        "HTTP://EXAMPLE.ORG/",
        "https://example.org:8443/a/b?c=d&e=%20#f",
        "http://127.0.0.1/",
        "http://[2001:db8::1]/",
        "https://b\xfccher.example/stra\xdfe",
        "https://\u4f8b\u3048.jp/",
        "https://example.org/" + "x" * 1_980,
    ],
)
def test_addresses_of_pages(address: str) -> None:
    assert text.web_address(address, "body", length_max=2_000) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http:example.org",
        "http:///path",
        "http://",
        "http://?a",
        "http://.",
        "http://a..b",
        "http://" + "x" * 64 + ".org",
        "http://user@example.org",
        "http://user:word@example.org",
        "http://:@example.org",
        "http://example.org:0",
        "http://example.org:65536",
        "http://example.org:http",
        "http://[::1",
        "http://[example]",
        "http://a b.org",
        "http://example.org/a\nb",
        "http://example.org/\x00",
        "http://example.org\\@evil.example",
        "http://example.org/\u202egpj.exe",
        "http://exam\u200bple.org",
        "http://example.org/\ud800",
    ],
)
def test_what_is_no_address_of_a_page(address: str) -> None:
    refused(Code.INVALID_URL, text.web_address, address, "body", length_max=2_000)


def test_addresses_have_a_limit() -> None:
    refused(Code.TOO_LONG, text.web_address, "https://example.org/" + "x" * 1_981, "body", length_max=2_000)


@given(st.one_of(ANY_TEXT, ANY_TEXT.map("http://".__add__)))
def test_an_address_is_taken_or_refused(address: str) -> None:
    with suppress(Refusal):
        assert text.web_address(address, "body", length_max=2_000).lower().startswith("http")
