"""Rendering: what comes out is harmless, and nobody's text keeps the server from answering others."""

import asyncio
import threading

import pytest

from read_api import markdown
from read_api.markdown import MARKS_MAX, QUICK_LENGTH_MAX, Renderer, render

LONG = "A sentence of *some* words. " * 200
WORST = "[ " * 19_990


def test_what_is_rendered_is_harmless() -> None:
    assert (
        render("**a** <script>alert(1)</script>") == "<p><strong>a</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"
    )
    assert "javascript" not in render("<a href='javascript:alert(1)'>").replace("&lt;a href='javascript", "")
    assert "<img" not in render("![x](https://elsewhere.example/x.png)")


def test_a_text_with_more_marks_than_anybody_writes_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    real = markdown._parser.render

    def parse(text: str) -> str:
        parsed.append(len(text))
        return str(real(text))

    monkeypatch.setattr(markdown._parser, "render", parse)
    for text in (
        WORST,
        "![" * 19_990,
        "- a\n" * 9_990,
        "a|b\n-|-\n" + "|\n" * 19_000,
        "1. a\n" * 7_000,
        "#\n" * 19_990,
    ):
        found = render(text)
        assert found.startswith("<p>")
        assert found.count("<") == 2 + text.count("\n")
    assert render("<b>\n" * MARKS_MAX).startswith("<p>&lt;b&gt;<br>\n")
    assert parsed == []
    render("[ " * MARKS_MAX)
    assert parsed == [2 * MARKS_MAX]


def test_a_text_is_rendered_once_however_often_it_is_asked_for() -> None:
    renderer = Renderer(1_000_000)

    async def ask(times: int) -> list[str]:
        return await asyncio.gather(*(renderer.html(text) for text in (LONG, "short") for _ in range(times)))

    assert len(set(asyncio.run(ask(30)))) == 2
    assert renderer.renderings == 2
    asyncio.run(ask(30))
    assert renderer.renderings == 2


@pytest.mark.parametrize("text", [LONG, "[a][" * 500, "x" * (QUICK_LENGTH_MAX + 1)])
def test_others_are_answered_while_a_long_text_is_rendered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    may_go_on = threading.Event()
    monkeypatch.setattr(markdown, "render", lambda text: "done" if may_go_on.wait(30) else "never")

    async def ask() -> None:
        renderer = Renderer(1_000_000)
        rendering = asyncio.create_task(renderer.html(text))
        await asyncio.sleep(0)
        may_go_on.set()  # the loop comes here although the text is not rendered yet
        assert await rendering == "done"

    asyncio.run(ask())


def test_whoever_goes_does_not_take_the_rendering_from_the_others() -> None:
    async def ask() -> None:
        renderer = Renderer(1_000_000)
        first, second = (asyncio.create_task(renderer.html(LONG)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == render(LONG)
        assert renderer.renderings == 1

    asyncio.run(ask())


def test_what_is_kept_is_bounded() -> None:
    renderer = Renderer(1_000)

    async def ask() -> None:
        for number in range(100):
            await renderer.html(f"text {number}")
            assert renderer.characters <= 1_000
        await renderer.html("x" * 1_001)
        assert renderer.characters <= 1_000
        before = renderer.renderings
        await renderer.html("text 99")
        await renderer.html("text 0")
        assert renderer.renderings > before

    asyncio.run(ask())
