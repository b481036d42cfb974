"""What the screen shows, row by row."""

from types import SimpleNamespace
from typing import Any

import pytest

from streams.chat.room import Room
from streams.chat.screen import Feed
from streams.chat.texts import width
from tests.chat.nodes import node, page


class Talk(SimpleNamespace):
    """As much of a talk as is shown."""

    def __init__(self) -> None:
        super().__init__(room=Room(), sending=[], asked=0)

    def load_older(self) -> bool:
        self.asked += 1
        return True


def shown(feed: Feed, columns: int = 60, height: int = 6) -> list[str]:
    content = feed.create_content(columns, height)
    return ["".join(text for _, text in content.get_line(n)) for n in range(content.line_count)]


@pytest.fixture
def talk() -> Any:
    talk = Talk()
    talk.room.begin(page(*(node(10 * n, f"line {n}") for n in range(1, 21)), more=True))
    return talk


def test_it_stays_at_the_newest_message(talk: Any) -> None:
    feed = Feed(talk)
    assert shown(feed)[-1].strip() == "line 20"
    talk.room.told(node(300, "newer"))
    talk.sending.append("on its way")
    assert [row.strip() for row in shown(feed)[-2:]] == ["newer", "sending: on its way"]
    assert feed.at_end


def test_it_stays_where_somebody_scrolled_to_whatever_comes_above_and_below(talk: Any) -> None:
    feed = Feed(talk)
    shown(feed)
    feed.scroll(10)
    there = shown(feed)
    assert not feed.at_end
    talk.room.told(node(300, "newer"))
    talk.room.add_older(page(node(5, "older")))
    feed.notice("a word of the program")
    assert shown(feed) == there
    feed.scroll(-1000)
    assert feed.at_end
    assert shown(feed)[-1] == "a word of the program"


def test_older_messages_are_asked_for_at_the_top(talk: Any) -> None:
    feed = Feed(talk)
    shown(feed)
    feed.scroll(3)
    assert talk.asked == 0
    feed.scroll(1000)
    assert talk.asked == 1
    assert "line 1" in "\n".join(shown(feed))


def test_what_is_unread_begins_at_a_rule_and_mentions_stand_out(talk: Any) -> None:
    talk.room.told(node(300, "@me", mentionsViewer=True))
    talk.room.set_unread({"count": 1, "mentions": 1, "first": {"snowflake": "300"}})
    feed = Feed(talk)
    content = feed.create_content(60, 6)
    rows = [content.get_line(n) for n in range(content.line_count)]
    (rule,) = (n for n, row in enumerate(rows) if "1 unread" in "".join(text for _, text in row))
    assert ("class:mention", "@me") in rows[rule + 2]
    talk.room.set_unread({"count": 0, "mentions": 0, "first": None})
    assert "unread" not in "".join(shown(feed))


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 39, 40, 200])
@pytest.mark.parametrize("height", [1, 2, 50])
def test_every_row_fits_any_terminal(talk: Any, columns: int, height: int) -> None:
    long = {"snowflake": "10", "body": "q" * 500, "deleted": False, "author": {"name": "a" * 20}}
    talk.room.told(node(400, "世界" * 100 + " word" * 50 + "\n\n\tend", author="x" * 20, replyTo=long))
    talk.sending.append("w" * 300)
    feed = Feed(talk)
    feed.notice("n" * 300)
    assert all(width(row) <= max(2, columns) for row in shown(feed, columns, height))
    feed.scroll(7)
    assert len(shown(feed, columns, height)) == height
