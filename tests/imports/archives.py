"""Synthetic archives: months of submissions and comments in the shapes that the real ones have had.

Fields and types per era follow the schemas that ArthurHeitmann/arctic_shift publishes; the sizes of threads
and the number of posts an author writes follow power laws. The same seed gives the same bytes.
"""

import gzip
import io
import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backports import zstd

WORDS = (
    "the of and to in is that it for was on are with as they be at one have this from or had by hot but some what "
    "there we can out other were all your when up use word how said each she which do their time if will way about"
).split()


def base36(number: int) -> str:
    """The number in the digits that the archives' ids are written in."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


class Month:
    """One month of a synthetic site: ``submissions`` and then ``comments``, as records in the order of time."""

    def __init__(
        self, year: int, month: int, *, posts: int, comments: int, seed: int = 1, authors: int = 2_000
    ) -> None:
        self.year = year
        self.seed = f"{year}-{month}-{seed}"
        self.random = random.Random(self.seed)
        self.start = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
        self.first_id = (year * 12 + month) * 10_000_000
        self.posts, self.replies, self.authors = posts, comments, authors
        self.communities = ["reddit.com"] if year < 2008 else ["python", "AskReddit", "pics", "science", "u_somebody"]

    def submissions(self) -> Iterator[dict[str, Any]]:
        """The records of ``RS_*``, the same ones each time."""
        self.random = random.Random(f"{self.seed} RS")
        for number in range(self.posts):
            own = base36(self.first_id + number)
            is_self = self.year >= 2008 and self.random.random() < 0.5
            community = self._community(number)
            permalink = f"/r/{community}/comments/{own}/{'_'.join(self._words(4))}/"
            record = {
                "id": own,
                "author": self._author(),
                "subreddit": community,
                "subreddit_id": "t5_2qh0y",
                "created_utc": self._at(number / self.posts),
                "edited": self._edited(),
                "title": " ".join(self._words(9)) + self.random.choice(["", " &amp; more", " &lt;3", " — ünïcödé 🎉"]),
                "selftext": self._body() if is_self else "",
                "is_self": is_self,
                "url": f"https://www.reddit.com{permalink}" if is_self else f"http://example.com/{own}?a=1&amp;b=2",
                "domain": f"self.{community}" if is_self else "example.com",
                "score": self._score(),
                "num_comments": 3,
                "over_18": False,
                "thumbnail": "default",
                "stickied": False,
                "permalink": permalink,
            }
            self._era(record, own, "t3")
            if self.year >= 2017:
                record["upvote_ratio"] = self.random.choice([1, 0.97, 0.88, 0.51])
                record["locked"] = self.random.random() < 0.02
            yield record

    def comments(self) -> Iterator[dict[str, Any]]:
        """The records of ``RC_*``: most answer the post or a recent comment, a few what no file holds."""
        self.random = random.Random(f"{self.seed} RC")
        recent: list[tuple[str, int]] = []
        for number in range(self.replies):
            own = base36(self.first_id + 5_000_000 + number)
            if recent and self.random.random() < 0.7:
                parent, post = self.random.choice(recent)
                parent_id = f"t1_{parent}"
            else:
                post = int(self.posts * self.random.random() ** 3)
                parent_id = f"t3_{base36(self.first_id + post)}"
            if self.random.random() < 0.005:
                parent_id = f"t1_{base36(self.random.randrange(10**6))}"
            recent = [*recent[-40:], (own, post)]
            record = {
                "id": own,
                "author": self._author(),
                "subreddit": self._community(post),
                "subreddit_id": "t5_2qh0y",
                "link_id": f"t3_{base36(self.first_id + post)}",
                "parent_id": parent_id,
                "created_utc": self._at(number / self.replies),
                "edited": self._edited(),
                "body": self._body(),
                "score": self._score(),
                "controversiality": 0,
                "gilded": 0,
                "distinguished": None,
            }
            self._era(record, own, "t1")
            yield record

    def _era(self, record: dict[str, Any], own: str, kind: str) -> None:
        if 2009 <= self.year <= 2015:
            record |= {"name": f"{kind}_{own}", "ups": max(record["score"], 0), "downs": 0, "archived": True}
        if self.year <= 2015 and kind == "t1":
            record |= {"score_hidden": self.random.random() < 0.01, "ups": record["score"]}
        if self.year >= 2018:
            record |= {"all_awardings": [], "author_flair_richtext": [], "author_fullname": "t2_ab12c", "gildings": {}}
        if self.year >= 2023:
            record |= {"_meta": {"retrieved_2nd_on": self.start}, "approved_by": None, "subreddit_type": "public"}

    def _at(self, fraction: float) -> int | float | str:
        seconds = self.start + int(fraction * 2_400_000)
        if 2010 <= self.year <= 2015:
            return str(seconds)
        return float(seconds) if self.year == 2016 else seconds

    def _edited(self) -> bool | float:
        return float(self.start + 2_500_000) if self.random.random() < 0.03 else False

    def _author(self) -> str:
        if self.random.random() < 0.06:
            return "[deleted]"
        return f"author_{int(self.authors * self.random.random() ** 2.5)}"

    def _community(self, post: int) -> str:
        return self.communities[post % len(self.communities)]

    def _score(self) -> int:
        return (
            int(self.random.paretovariate(0.8)) % 50_000 if self.random.random() < 0.9 else -self.random.randrange(30)
        )

    def _body(self) -> str:
        if self.random.random() < 0.04:
            return self.random.choice(["[deleted]", "[removed]"])
        return " ".join(self._words(self.random.randrange(5, 60))) + self.random.choice(
            ["", "\n\n&gt; quoted", " & co"]
        )

    def _words(self, number: int) -> list[str]:
        return self.random.choices(WORDS, k=number)


def lines(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The records as the archives write them, a line each."""
    for record in records:
        yield json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def long_window(log: int) -> dict[int, int]:
    """Options of the compressor for matches as far apart as two to the ``log`` bytes."""
    parameter = zstd.CompressionParameter
    return {
        parameter.compression_level: 1,
        parameter.window_log: log,
        parameter.enable_long_distance_matching: 1,
    }


def write(path: Path, content: Iterable[bytes]) -> Path:
    """Write an archive: ``.zst`` with the long window of the monthly files, ``.gz``, or plain, by the name."""
    with path.open("wb") as raw:
        if path.suffix == ".zst":
            with zstd.ZstdFile(raw, "w", options=long_window(27)) as out:
                _copy(content, out)
        elif path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out:
                _copy(content, out)
        else:
            _copy(content, raw)
    return path


def _copy(content: Iterable[bytes], out: Any) -> None:
    buffer = io.BytesIO()
    for line in content:
        buffer.write(line)
        if buffer.tell() > 1 << 20:
            out.write(buffer.getvalue())
            buffer = io.BytesIO()
    out.write(buffer.getvalue())
