"""The formulas: known values, their shape, and that SQL gives the same."""

import math
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from infra.postgres import connect
from infra.queries import formulas
from projections import ranking

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def test_hot() -> None:
    assert ranking.hot(0, 0, NOW, NOW) == pytest.approx(math.log10(2) / 2**1.8)
    assert ranking.hot(98, 0, ago(hours=8), NOW) == pytest.approx(2 / 10**1.8)
    assert ranking.hot(0, 500, NOW, NOW) == ranking.hot(0, 0, NOW, NOW)
    assert ranking.hot(10**6, 0, ago(days=7), NOW) == 0
    assert ranking.hot(0, 0, ago(days=7) + timedelta(microseconds=1), NOW) > 0
    assert ranking.hot(5, 0, NOW + timedelta(hours=3), NOW) == ranking.hot(5, 0, NOW, NOW)


def test_best() -> None:
    assert ranking.best(0, 0) == 0
    # Without down votes the bound is n / (n + z^2); with nothing else it is nothing.
    assert ranking.best(1, 0) == pytest.approx(1 / (1 + ranking.BEST_Z**2))
    assert ranking.best(20, 0) == pytest.approx(20 / (20 + ranking.BEST_Z**2))
    assert ranking.best(0, 1) == pytest.approx(0, abs=1e-12)
    assert ranking.best(600, 400) > ranking.best(6, 4) > ranking.best(3, 2)
    assert ranking.best(10, 0) > ranking.best(1, 0)
    assert ranking.best(100, 1) > ranking.best(5, 0)


def test_controversial() -> None:
    assert ranking.controversial(5, 0) == ranking.controversial(0, 5) == 0
    assert ranking.controversial(50, 50) == 100
    assert ranking.controversial(50, 50) > ranking.controversial(500, 5)
    assert ranking.controversial(3, 7) == ranking.controversial(7, 3)


def test_rising() -> None:
    assert ranking.rising(3, 5, NOW, NOW) == 0
    assert ranking.rising(10, 0, ago(hours=3), NOW) == 2
    assert ranking.rising(10, 0, ago(hours=1), NOW) > ranking.rising(10, 0, ago(hours=2), NOW)


def test_periods_end() -> None:
    assert [period.length for period in ranking.Period] == [
        timedelta(days=1),
        timedelta(days=7),
        timedelta(days=30),
        timedelta(days=365),
        None,
    ]


def test_sql_gives_the_same(database: str) -> None:
    random = Random(1)
    rows = []
    for _ in range(3000):
        up, down = (int(10 ** random.uniform(0, 6)) - 1 for _ in range(2))
        age = random.choice([random.uniform(-3600, 7200), random.uniform(0, 8 * 86400), 7 * 86400, 0])
        rows.append((up, down, NOW - timedelta(seconds=round(age, 6))))
    sql = f"""SELECT {formulas.hot("r.up", "r.down", "r.at", "%(now)s")}, {formulas.best("r.up", "r.down")},
        {formulas.controversial("r.up", "r.down")}, {formulas.rising("(r.up - r.down)", "r.at", "%(now)s")},
        {formulas.score("r.up", "r.down")}
        FROM unnest(%(up)s::bigint[], %(down)s::bigint[], %(at)s::timestamptz[])
            WITH ORDINALITY AS r(up, down, at, place) ORDER BY r.place"""
    up, down, at = zip(*rows, strict=True)
    with connect(database) as connection:
        found = connection.execute(
            sql.encode(), {"now": NOW, "up": list(up), "down": list(down), "at": list(at)}
        ).fetchall()
    assert len(found) == len(rows)
    for (u, d, t), values in zip(rows, found, strict=True):
        expected = (
            ranking.hot(u, d, t, NOW),
            ranking.best(u, d),
            ranking.controversial(u, d),
            ranking.rising(u, d, t, NOW),
            ranking.top(u, d),
        )
        assert values == pytest.approx(expected, rel=1e-12, abs=1e-12), (u, d, t)
