"""The formulas of ``projections/ranking.py`` as SQL expressions, from the same constants.

``up``, ``down``, ``submitted_at`` and ``now`` are SQL expressions themselves. An index on one of these holds
exactly the text that is built here.
"""

from projections import ranking

BLOCK = "15 minutes"
"""Posts are indexed by blocks of that length, so that the hottest are found among the best of each block."""


def score(up: str, down: str) -> str:
    """``ranking.top``."""
    return f"({up} - {down})"


def hours(submitted_at: str, now: str) -> str:
    """``ranking.hours_between``."""
    return f"greatest(0::float8, date_part('epoch', {now} - {submitted_at}) / 3600)"


def magnitude(score: str) -> str:
    """The numerator of Hot."""
    added = ranking.HOT_SCORE_ADDED
    return f"log(greatest({added}, {score} + {added})::float8)"


def wear(hours: str) -> str:
    """The denominator of Hot."""
    return f"power({hours} + {ranking.HOT_HOURS_ADDED}::float8, {ranking.HOT_GRAVITY}::float8)"


def hot(up: str, down: str, submitted_at: str, now: str) -> str:
    """``ranking.hot``."""
    age_max = f"interval '{int(ranking.HOT_AGE_MAX.total_seconds())} seconds'"
    rank = f"{magnitude(score(up, down))} / {wear(hours(submitted_at, now))}"
    return f"CASE WHEN {submitted_at} <= {now} - {age_max} THEN 0::float8 ELSE {rank} END"


def best(up: str, down: str) -> str:
    """``ranking.best``."""
    z = f"{ranking.BEST_Z}::float8"
    n = f"({up} + {down})::float8"
    share = f"({up}::float8 / {n})"
    spread = f"{z} * sqrt({share} * (1 - {share}) / {n} + {z} * {z} / (4 * {n} * {n}))"
    return (
        f"CASE WHEN {up} + {down} <= 0 THEN 0::float8"
        f" ELSE ({share} + {z} * {z} / (2 * {n}) - {spread}) / (1 + {z} * {z} / {n}) END"
    )


def contested(up: str, down: str) -> str:
    """``ranking.controversial`` of what has both up and down votes; null of what has none at all."""
    return f"power(({up} + {down})::float8, least({up}, {down})::float8 / nullif(greatest({up}, {down}), 0)::float8)"


def controversial(up: str, down: str) -> str:
    """``ranking.controversial``."""
    return f"CASE WHEN {up} <= 0 OR {down} <= 0 THEN 0::float8 ELSE {contested(up, down)} END"


def rising(gained: str, submitted_at: str, now: str) -> str:
    """``ranking.rising`` of what the votes of the window added."""
    return f"greatest(0, {gained})::float8 / ({hours(submitted_at, now)} + {ranking.RISING_HOURS_ADDED}::float8)"


def block(submitted_at: str) -> str:
    """The start of the block that the time lies in."""
    return f"date_bin('{BLOCK}', {submitted_at}, '2000-01-01 00:00:00+00')"
