"""Reddit's monthly archives: one line of an ``RS_*`` or ``RC_*`` file, read into what happened then.

The archives were written by several collectors over twenty years, and no field but the id kept its type:
``created_utc`` is an integer, a float or a string, ``edited`` is false, true or a time, ``score`` may be missing
or hidden, names of fields come and go. The public project ArthurHeitmann/arctic_shift publishes the fields and
types of every month. Everything here is pure; ``streams/importer.py`` reads the files and writes the log.
"""

import html
import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import Struct

from domain.event import Id
from domain.ids import derived

SOURCE = "reddit"

TITLE_LENGTH_MAX = 1_000
"""Characters of a title that are kept. Reddit's own limit is 300; entities made some longer."""
BODY_LENGTH_MAX = 100_000
"""Characters of a text that are kept. Reddit's own limit is 40,000 for posts and 10,000 for comments."""

VOTES_MAX = 100_000_000
"""Up or down votes that a record may claim. The most that any post ever had is below half a million."""
NAMES_CACHED_MAX = 50_000
"""Authors, and as many communities, whose ids are remembered, about 300 bytes each."""

GONE = frozenset({"[deleted]", "[removed]", "[ removed by reddit ]", "[deleted by user]"})
"""What the archives put in place of an author or a text that they no longer know."""

_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)
_ID = re.compile(r"(?:t[0-9]_)?([0-9a-z]{1,13})\Z")
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,40}\Z")
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class BadRecordError(ValueError):
    """A line that is no record of an archive. The message is the reason, for the person who imports it."""


class Line(Struct, frozen=True, gc=False):
    """The fields of either kind of record that matter here, typed as loosely as the archives are."""

    id: str | None = None
    name: str | None = None
    author: str | None = None
    subreddit: str | None = None
    created_utc: int | float | str | None = None
    created: int | float | str | None = None
    edited: bool | int | float | str | None = None
    score: int | float | None = None
    ups: int | float | None = None
    downs: int | float | None = None
    upvote_ratio: float | None = None
    locked: bool | None = None
    title: str | None = None
    selftext: str | None = None
    is_self: bool | None = None
    url: str | None = None
    permalink: str | None = None
    body: str | None = None
    link_id: str | int | None = None
    parent_id: str | int | None = None


class Author(Struct, frozen=True, gc=False):
    """An author as the archive names him."""

    account_id: Id
    name: str


class Community(Struct, frozen=True, gc=False):
    """A subreddit as the archive names it."""

    community_id: Id
    name: str


class Submission(Struct, frozen=True, gc=False):
    """A post of an archive. ``removed`` when not even its title is known any more; a text that is gone is empty.

    Whether it was sticky is not read: it was so for a few days of its month, and would be for ever here.
    """

    source_id: str
    post_id: Id
    community: Community
    author: Author | None
    submitted_at: datetime
    edited_at: datetime | None
    kind: Literal["text", "link"]
    title: str
    body: str
    url: str | None
    up: int
    down: int
    locked: bool
    removed: bool


class Reply(Struct, frozen=True, gc=False):
    """A comment of an archive. ``parent_id`` is ``None`` directly below the post."""

    source_id: str
    comment_id: Id
    post_id: Id
    parent_id: Id | None
    community: Community
    author: Author | None
    submitted_at: datetime
    edited_at: datetime | None
    body: str
    up: int
    down: int
    removed: bool


# Not strict: among the collectors of twenty years, some wrote numbers and truths as strings.
_decode = msgspec.json.Decoder(Line, strict=False).decode


def read_line(line: bytes, *, now: datetime) -> Submission | Reply:
    """The record in one line of an archive. Raises ``BadRecordError`` with the reason when there is none.

    What claims to be submitted later than ``now`` is no record: it would stand on top of its community for years.
    """
    try:
        record = _decoded(line)
    except msgspec.ValidationError as error:
        raise BadRecordError(f"a field has the wrong type: {error}") from None
    except UnicodeDecodeError:
        raise BadRecordError("not UTF-8") from None
    except RecursionError:
        raise BadRecordError("nested too deeply") from None
    except ValueError as error:
        raise BadRecordError(f"not JSON, perhaps cut off: {error}") from None
    if record.link_id is not None or (record.body is not None and record.title is None):
        return _reply(record, now)
    if record.title is not None:
        return _submission(record, now)
    raise BadRecordError("neither a submission (no title) nor a comment (no link_id)")


def _decoded(line: bytes) -> Line:
    try:
        return _decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\ud" not in line.lower():
            raise
    # Half of a surrogate pair, as some posts were cut in the middle of an emoji: the lenient decoder keeps it and
    # ``_text`` takes it out.
    return msgspec.convert(json.loads(line, parse_constant=_refuse_constant), Line, strict=False)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def post_id(source_id: str) -> Id:
    """The post that an archive calls ``t3_`` and this, in base 36."""
    return derived(SOURCE, "t3", source_id)


def comment_id(source_id: str) -> Id:
    """The comment that an archive calls ``t1_`` and this, in base 36."""
    return derived(SOURCE, "t1", source_id)


def _submission(record: Line, now: datetime) -> Submission:
    own = _source_id(record)
    title = _text(record.title or "", TITLE_LENGTH_MAX).replace("\n", " ").strip()
    body = _text(record.selftext or "", BODY_LENGTH_MAX)
    url = None if record.is_self else _url(record.url, record.permalink)
    up, down = _votes(record)
    submitted_at = _submitted_at(record, now)
    return Submission(
        source_id=f"t3_{own}",
        post_id=post_id(own),
        community=_community(record),
        author=_author(record),
        submitted_at=submitted_at,
        edited_at=_edited_at(record, submitted_at, now),
        kind="text" if url is None else "link",
        title="" if title.lower() in GONE else title,
        body="" if body.lower() in GONE else body,
        url=url,
        up=up,
        down=down,
        locked=bool(record.locked),
        removed=not title or title.lower() in GONE,
    )


def _reply(record: Line, now: datetime) -> Reply:
    own = _source_id(record)
    thread = _reference(record.link_id, "link_id")
    body = _text(record.body or "", BODY_LENGTH_MAX)
    removed = record.body is None or body.lower() in GONE
    up, down = _votes(record)
    submitted_at = _submitted_at(record, now)
    return Reply(
        source_id=f"t1_{own}",
        comment_id=comment_id(own),
        post_id=post_id(thread),
        parent_id=_parent(record.parent_id),
        community=_community(record),
        author=_author(record),
        submitted_at=submitted_at,
        edited_at=_edited_at(record, submitted_at, now),
        body="" if removed else body,
        up=up,
        down=down,
        removed=removed,
    )


def _source_id(record: Line) -> str:
    found = _ID.match((record.id or record.name or "").lower())
    if found is None:
        raise BadRecordError(f"no id: {(record.id or record.name)!r}")
    return found[1]


def _reference(value: str | int | None, field: str) -> str:
    if isinstance(value, int):
        return _base36(value)
    found = _ID.match((value or "").lower())
    if found is None:
        raise BadRecordError(f"no {field}: {value!r}")
    return found[1]


def _parent(value: str | int | None) -> Id | None:
    """The comment answered; ``None`` for an answer to the post, or where the archive does not say."""
    if value is None or (isinstance(value, str) and (not value or value.startswith("t3_"))):
        return None
    return comment_id(_reference(value, "parent_id"))


def _base36(number: int) -> str:
    if number < 0:
        raise BadRecordError(f"a negative id: {number}")
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        if number == 0:
            return digits


def _author(record: Line) -> Author | None:
    name = (record.author or "").strip()
    if not name or name.lower() in GONE:
        return None
    return _named_author(name)


@lru_cache(NAMES_CACHED_MAX)
def _named_author(name: str) -> Author:
    if not _NAME.match(name):
        raise BadRecordError(f"no author's name: {name[:60]!r}")
    return Author(derived(SOURCE, "account", name.lower()), name)


def _community(record: Line) -> Community:
    name = (record.subreddit or "").strip()
    if not name:
        raise BadRecordError("no subreddit (an advertisement has none)")
    return _named_community(name)


@lru_cache(NAMES_CACHED_MAX)
def _named_community(name: str) -> Community:
    if not _NAME.match(name):
        raise BadRecordError(f"no subreddit's name: {name[:60]!r}")
    return Community(derived(SOURCE, "community", name.lower()), name)


def _submitted_at(record: Line, now: datetime) -> datetime:
    value = record.created_utc if record.created_utc is not None else record.created
    if value is None:
        raise BadRecordError("no created_utc")
    at = _time(value)
    if at is None or at < _EARLIEST:
        raise BadRecordError(f"no time in created_utc: {value!r}")
    if at > now:
        raise BadRecordError(f"a time to come in created_utc: {value!r}")
    return at


def _edited_at(record: Line, submitted_at: datetime, now: datetime) -> datetime | None:
    """When it was edited; ``None`` when never, or when the archive says only that it was, be it by a number."""
    value = record.edited
    at = None if value is None or isinstance(value, bool) else _time(value)
    return at if at is not None and submitted_at <= at <= now else None


def _time(value: float | str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _votes(record: Line) -> tuple[int, int]:
    """Up and down votes, from what the archive has of them.

    With ``upvote_ratio`` r above a half and a score s above 0, up - down = s and up / (up + down) = r give
    up = s·r / (2r - 1). Else ``ups`` and ``downs`` where they agree with the score; else the score alone.
    """
    ups, downs = _count(record.ups), _count(record.downs)
    score = ups - downs if record.score is None else _count(record.score)
    ratio = record.upvote_ratio
    if ratio is not None and 0.5 < ratio <= 1 and score > 0:
        up = min(round(score * ratio / (2 * ratio - 1)), VOTES_MAX)
        return max(up, score), max(up - score, 0)
    if downs > 0 and ups - downs == score:
        return ups, downs
    return max(score, 0), max(-score, 0)


def _count(number: float | None) -> int:
    if number is None:
        return 0
    if not -VOTES_MAX <= number <= VOTES_MAX:
        raise BadRecordError(f"no number of votes: {number!r}")
    return int(number)


def _text(text: str, length_max: int) -> str:
    """The text a person wrote: entities undone once, without what no database and no reader can take."""
    if "&" in text:
        text = html.unescape(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text)[:length_max].strip()


def _url(url: str | None, permalink: str | None) -> str | None:
    """The link of a submission, if it is one that can be followed. Links within the site are made whole."""
    text = _text(url or "", 2_000).replace("\n", "")
    if text.startswith("/"):
        text = "https://www.reddit.com" + text
    if not text.lower().startswith(("http://", "https://")) or " " in text:
        return None
    return None if permalink and text.rstrip("/").endswith(permalink.rstrip("/")) else text
