"""Markdown into HTML that is safe to put into a page.

CommonMark with tables and strikethrough by markdown-it-py, raw HTML switched off; then nh3 (ammonia) removes
whatever is not on its list, so that a hole in either is not a hole in both. Images are shown as links: a picture
from elsewhere would tell its server who reads what.

Rendering takes some microseconds for each mark of Markdown, and a text can consist of nothing else. So what is
rendered is kept; a long text is rendered in a thread of its own, that others are answered meanwhile; and a text with
more marks than anybody writes is shown as it is.
"""

import asyncio
import html
import re
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import nh3
from markdown_it import MarkdownIt

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
CACHED_CHARACTERS_MAX = 8_000_000
"""How long the texts that are kept are together, with their HTML: a post is read far more often than it is written."""
QUICK_LENGTH_MAX = 2_048
"""Characters of a text that is rendered at once."""
QUICK_MARKS_MAX = 64
"""And its marks: one takes up to 0.04 ms."""
MARKS_MAX = 4_000
"""Marks of Markdown in a text that is rendered: a text of the greatest length has them at every tenth character."""
_NESTING_MAX = 20
_MARK = re.compile(r"[\[\]*_~`!<>|&\\]|^[ \t]*(?:[-+#=]|\d+[.)])", re.MULTILINE)

_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING_MAX}).enable(["table", "strikethrough"])
_parser.disable("image")


class Renderer:
    """Renders texts and keeps what it rendered. For the event loop that it is asked in; ``renderings`` counts."""

    def __init__(self, characters_max: int) -> None:
        self.renderings = 0
        self.characters = 0
        """How long what is kept is together."""
        self._characters_max = characters_max
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._under_way: dict[str, Future[str]] = {}
        # One thread: the interpreter runs one at a time anyway, and the event loop is to get its turns.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moot-markdown")

    async def html(self, text: str) -> str:
        """The text as HTML of a few harmless elements. Links are ``nofollow noopener ugc``."""
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
            return kept
        if len(text) <= QUICK_LENGTH_MAX and _marks(text) <= QUICK_MARKS_MAX:
            self.renderings += 1
            return self._keep(text, render(text))
        rendering = self._under_way.get(text)
        if rendering is not None:
            return await _of(rendering)
        self.renderings += 1
        rendering = self._under_way[text] = self._thread.submit(render, text)
        try:
            return self._keep(text, await _of(rendering))
        finally:
            self._under_way.pop(text, None)

    def _keep(self, text: str, rendered: str) -> str:
        if text not in self._kept:
            self._kept[text] = rendered
            self.characters += len(text) + len(rendered)
            while self.characters > self._characters_max:
                self.characters -= sum(map(len, self._kept.popitem(last=False)))
        return rendered


async def _of(rendering: "Future[str]") -> str:
    """Its result. Whoever stops waiting does not stop it for the others."""
    return await asyncio.shield(asyncio.wrap_future(rendering))


def render(text: str) -> str:
    """The text as HTML, worked out here and now; as plain text with its lines, if it has too many marks."""
    if _marks(text) > MARKS_MAX:
        return f"<p>{html.escape(text)}</p>".replace("\n", "<br>\n")
    return nh3.clean(
        _parser.render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener ugc",
        strip_comments=True,
    )


def _marks(text: str) -> int:
    return sum(1 for _ in _MARK.finditer(text))


to_html = Renderer(CACHED_CHARACTERS_MAX).html
"""The text as safe HTML, by the renderer of this process."""
