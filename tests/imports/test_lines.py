"""Single lines of archives, with the quirks of twenty years."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from commands.archive import BadRecordError, Reply, Submission, comment_id, post_id, read_line
from tests.imports.archives import Month, lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POST: dict[str, Any] = {
    "id": "2qabcd",
    "author": "Guido",
    "subreddit": "Python",
    "created_utc": 1398902400,
    "title": "Hello",
    "selftext": "text",
    "is_self": True,
    "score": 10,
}
COMMENT: dict[str, Any] = {
    "id": "cxyz1",
    "author": "Guido",
    "subreddit": "Python",
    "created_utc": 1398902400,
    "link_id": "t3_2qabcd",
    "parent_id": "t3_2qabcd",
    "body": "hi",
    "score": 1,
}


def submission(**changes: Any) -> Submission:
    found = read_line(json.dumps({**POST, **changes}).encode(), now=NOW)
    assert isinstance(found, Submission)
    return found


def reply(**changes: Any) -> Reply:
    found = read_line(json.dumps({**COMMENT, **changes}).encode(), now=NOW)
    assert isinstance(found, Reply)
    return found


@pytest.mark.parametrize("at", [1398902400, "1398902400", 1398902400.0, "1398902400.0"])
def test_created_utc_is_a_number_or_a_string(at: Any) -> None:
    assert submission(created_utc=at).submitted_at == datetime(2014, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(("edited", "at"), [(False, None), (True, None), (None, None), (1398902401.0, 1)])
def test_edited_is_false_or_a_time(edited: Any, at: int | None) -> None:
    assert submission(edited=edited).edited_at == (at and datetime(2014, 5, 1, 0, 0, at, tzinfo=UTC))


@pytest.mark.parametrize("edited", [0, 1, "0", "1", "true", "false", 10.5, -5, 99999999999, "nan", "1e400"])
def test_an_edit_before_there_was_anything_or_still_to_come_is_no_time(edited: Any) -> None:
    """Where a truth was written as a number, and where a number is nonsense."""
    assert submission(edited=edited).edited_at is None
    assert reply(edited=edited).edited_at is None


@pytest.mark.parametrize("name", ["[deleted]", "[removed]", "", None])
def test_a_deleted_author_is_nobody(name: Any) -> None:
    assert submission(author=name).author is None
    assert reply(author=name).author is None


def test_authors_and_communities_are_the_same_whatever_the_case() -> None:
    assert submission(author="GUIDO").author.account_id == submission().author.account_id  # type: ignore[union-attr]
    assert submission(subreddit="PYTHON").community.community_id == reply().community.community_id


@pytest.mark.parametrize("body", ["[deleted]", "[removed]", "[ Removed by Reddit ]"])
def test_a_comment_without_its_text_is_removed(body: str) -> None:
    assert (reply(body=body).removed, reply(body=body).body) == (True, "")


def test_a_post_is_removed_only_when_its_title_is_gone() -> None:
    gone = submission(selftext="[removed]")
    assert (gone.removed, gone.title, gone.body) == (False, "Hello", "")
    assert (submission(title="[deleted by user]").removed, submission(title="[deleted by user]").title) == (True, "")


def test_entities_are_undone_once() -> None:
    assert submission(title="a &amp;amp; b &lt;3").title == "a &amp; b <3"
    assert reply(body="&gt; quote").body == "> quote"


def test_characters_that_no_database_takes_are_left_out() -> None:
    assert submission(title="a\x00b\u202ec").title == "abc"
    broken = json.dumps(POST).replace("Hello", "half \\ud83d pair").encode()
    assert read_line(broken, now=NOW).title == "half  pair"  # type: ignore[union-attr]


def test_a_link_is_kept_and_a_link_to_itself_is_a_text() -> None:
    link = submission(is_self=False, url="http://example.com/?a=1&amp;b=2", selftext="")
    assert (link.kind, link.url) == ("link", "http://example.com/?a=1&b=2")
    own = submission(is_self=None, url="https://www.reddit.com/r/x/comments/1/t/", permalink="/r/x/comments/1/t/")
    assert (own.kind, own.url) == ("text", None)
    assert submission(is_self=False, url="/r/x/comments/1/").url == "https://www.reddit.com/r/x/comments/1/"
    assert submission(is_self=False, url="javascript:alert(1)").kind == "text"


@pytest.mark.parametrize(
    ("fields", "votes"),
    [
        ({"score": 10}, (10, 0)),
        ({"score": -4}, (0, 4)),
        ({"score": None}, (0, 0)),
        ({"score": None, "ups": 7}, (7, 0)),
        ({"score": 10, "ups": 15, "downs": 5}, (15, 5)),
        ({"score": 10, "ups": 10, "downs": 5}, (10, 0)),
        ({"score": 12, "upvote_ratio": 0.8}, (16, 4)),
        ({"score": 0, "upvote_ratio": 0.5}, (0, 0)),
        ({"score": 1, "upvote_ratio": 1}, (1, 0)),
    ],
)
def test_totals_from_what_the_archive_knows(fields: dict[str, Any], votes: tuple[int, int]) -> None:
    found = submission(**fields)
    assert (found.up, found.down) == votes


def test_numbers_and_truths_may_be_strings() -> None:
    found = submission(score="12", upvote_ratio="0.8", is_self="true", locked=1)
    assert (found.up, found.down, found.kind, found.locked) == (16, 4, "text", True)


def test_a_ratio_next_to_a_half_makes_no_votes_beyond_bounds() -> None:
    found = submission(score=99_999_999, upvote_ratio=0.5000001)
    assert found.up - found.down == 99_999_999
    assert found.up <= 100_000_000


def test_whose_answer_a_comment_is() -> None:
    assert reply().parent_id is None
    assert reply().post_id == post_id("2qabcd") == submission().post_id
    assert reply(parent_id="t1_cxyz0").parent_id == comment_id("cxyz0")
    assert reply(parent_id=46655).parent_id == comment_id("zzz")
    assert reply(parent_id=None).parent_id is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":"2qabcd","title":"cut o', "cut off"),
        (b"[1, 2]", "wrong type"),
        (b"{}", "neither"),
        (b'{"title": "\xff"}', "UTF-8"),
        (json.dumps({**POST, "subreddit": None}).encode(), "no subreddit"),
        (json.dumps({**POST, "created_utc": "yesterday"}).encode(), "created_utc"),
        (json.dumps({**POST, "created_utc": 1e300}).encode(), "created_utc"),
        (json.dumps({**POST, "created_utc": None}).encode(), "created_utc"),
        (json.dumps({**POST, "created_utc": 1767225601}).encode(), "time to come"),
        (json.dumps({**POST, "score": 1e30}).encode(), "number of votes"),
        (json.dumps({**POST, "ups": 10**19}).encode(), "number of votes"),
        (json.dumps({**COMMENT, "score": -3_000_000_000}).encode(), "number of votes"),
        (b'{"id":"1","title":"\\ud83d","score":Infinity}', "no number in JSON"),
        (b'{"id":"1","score":NaN}', "cut off"),
        (b'{"id":"1","preview":' + b"[" * 200_000, "nested"),
        (b'{"id":"1","title":"\\ud83d","preview":' + b"[" * 200_000, "nested"),
        (json.dumps({**POST, "id": "../etc"}).encode(), "no id"),
        (json.dumps({**POST, "score": "many"}).encode(), "wrong type"),
        (json.dumps({**COMMENT, "link_id": ""}).encode(), "link_id"),
        (json.dumps({**COMMENT, "parent_id": "t1_!"}).encode(), "parent_id"),
        (json.dumps({**COMMENT, "parent_id": -5}).encode(), "negative"),
    ],
)
def test_a_bad_line_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(BadRecordError, match=reason):
        read_line(line, now=NOW)


@pytest.mark.parametrize("year", [2005, 2009, 2012, 2016, 2019, 2024])
def test_every_era_is_read(year: int) -> None:
    month = Month(year, 6, posts=200, comments=400)
    read = [read_line(line, now=NOW) for line in lines([*month.submissions(), *month.comments()])]
    assert [type(record) for record in read] == [Submission] * 200 + [Reply] * 400
    assert all(record.submitted_at.year == year for record in read)
