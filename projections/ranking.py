"""How posts and comments are ranked: pure formulas, with time as an argument.

The same formulas stand in SQL in ``infra/queries/formulas.py``, built from the constants here; a test compares the
two on random rows. Every order is by rank first, the highest first; equal ranks are by time of submission, the
newest first, then by id.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from math import log10, pow, sqrt  # noqa: A004 - of floats alone, as in C and in SQL


class Sort(StrEnum):
    """How a feed of posts is ordered."""

    HOT = "HOT"
    NEW = "NEW"
    TOP = "TOP"
    RISING = "RISING"
    CONTROVERSIAL = "CONTROVERSIAL"


class CommentSort(StrEnum):
    """How the comments below one post or one comment are ordered."""

    BEST = "BEST"
    NEW = "NEW"
    OLD = "OLD"
    TOP = "TOP"
    CONTROVERSIAL = "CONTROVERSIAL"


class Period(StrEnum):
    """How far back Top and Controversial look for posts."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"
    ALL = "ALL"

    @property
    def length(self) -> timedelta | None:
        """A month is 30 days and a year 365; ``None`` is for ever."""
        return _LENGTHS[self]


_LENGTHS = {
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
    Period.MONTH: timedelta(days=30),
    Period.YEAR: timedelta(days=365),
    Period.ALL: None,
}

HOT_GRAVITY = 1.8
"""How fast age weighs a post down: the exponent of its hours."""
HOT_HOURS_ADDED = 2.0
"""Hours added to every age, so that the first minutes do not decide everything."""
HOT_SCORE_ADDED = 2
"""Added to every score, and the least that is ranked: no score has a logarithm below that of 2."""
HOT_AGE_MAX = timedelta(days=7)
"""A post of that age or older is not hot at all."""

BEST_Z = 1.281551565545
"""The 0.9 quantile of the normal distribution: Best is the lower bound of an 80 % confidence interval."""

RISING_WINDOW = timedelta(hours=1)
"""Votes of that last while make a post rise; by the time at which they were cast."""
RISING_HOURS_ADDED = 2.0
"""Hours added to every age, so that the first vote on a new post does not outrun everything."""


def hours_between(earlier: datetime, later: datetime) -> float:
    """Hours from one to the other; 0 where the earlier is the later one, as clocks of two machines may have it."""
    return max(0.0, (later - earlier).total_seconds() / 3600.0)


def hot(up: int, down: int, submitted_at: datetime, now: datetime) -> float:
    """Lemmy's rank: the score's order of magnitude, worn off by age; 0 from seven days on.

    ``log10(max(2, score + 2)) / (hours + 2) ** 1.8``; from Lemmy's ``hot_rank``
    (https://join-lemmy.org/docs/contributors/07-ranking-algo.html), without its scale factor.
    """
    if now - submitted_at >= HOT_AGE_MAX:
        return 0.0
    magnitude = log10(max(HOT_SCORE_ADDED, up - down + HOT_SCORE_ADDED))
    return magnitude / pow(hours_between(submitted_at, now) + HOT_HOURS_ADDED, HOT_GRAVITY)


def best(up: int, down: int) -> float:
    """The lower bound of Wilson's score interval for the share of up votes; 0 without votes.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical inference"; as Reddit's
    ``_confidence`` and https://www.evanmiller.org/how-not-to-sort-by-average-rating.html.
    """
    votes = float(up + down)
    if votes <= 0:
        return 0.0
    share = up / votes
    square = BEST_Z * BEST_Z
    middle = share + square / (2 * votes)
    spread = BEST_Z * sqrt(share * (1 - share) / votes + square / (4 * votes * votes))
    return (middle - spread) / (1 + square / votes)


def controversial(up: int, down: int) -> float:
    """Reddit's rank: ``(up + down) ** (min / max)``; 0 unless there are both.

    From ``controversy`` in https://github.com/reddit-archive/reddit/blob/master/r2/r2/lib/db/_sorts.pyx.
    """
    if up <= 0 or down <= 0:
        return 0.0
    return pow(up + down, min(up, down) / max(up, down))


def rising(up_recently: int, down_recently: int, submitted_at: datetime, now: datetime) -> float:
    """Velocity: what the votes of the last ``RISING_WINDOW`` added to the score, per hour of the post's life.

    Ours: ``max(0, up - down) / (hours + 2)``. A post that gained nothing lately does not rise: 0.
    """
    gained = max(0, up_recently - down_recently)
    return gained / (hours_between(submitted_at, now) + RISING_HOURS_ADDED)


def top(up: int, down: int) -> int:
    """The score: up votes less down votes."""
    return up - down
