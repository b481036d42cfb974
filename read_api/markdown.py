"""Markdown into HTML that is safe to put into a page.

CommonMark with tables and strikethrough by markdown-it-py, raw HTML switched off; then nh3 (ammonia) removes
whatever is not on its list, so that a hole in either is not a hole in both. Images are shown as links: a picture
from elsewhere would tell its server who reads what.
"""

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
CACHED_TEXTS = 512
"""How many rendered texts are kept; the same post is read far more often than it is written."""
_CACHED_TEXT_LENGTH_MAX = 8_192
_NESTING_MAX = 20

_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING_MAX}).enable(["table", "strikethrough"])
_parser.disable("image")


def to_html(text: str) -> str:
    """The text as HTML of a few harmless elements. Links are ``nofollow noopener ugc``."""
    return _cached(text) if len(text) <= _CACHED_TEXT_LENGTH_MAX else _render(text)


def _render(text: str) -> str:
    return nh3.clean(
        _parser.render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener ugc",
        strip_comments=True,
    )


_cached = lru_cache(maxsize=CACHED_TEXTS)(_render)
