"""Rows folded from partitions are those of a straight fold, however the partitions run beside each other."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest

from infra.rows_memory import MemoryViews
from projections.catalogue import ALL
from projections.core import Key, Projection, Row
from projections.stepping import step
from schemas.envelope import Recorded
from schemas.topics import partitions_of, place
from tests.equivalence.histories import MIXED, World
from tests.equivalence.recording import recorded
from tests.equivalence.test_equivalence import EVENTS, straight
from tests.partitions.delivering import Partitions, by_place, deliveries, in_three, of

SEEDS = [1, 2, 3]

WITH_SHARED = {"member_changes"}
"""Folded in one transaction with a view that is not local: see ``test_groups``."""


@pytest.fixture(scope="module", params=SEEDS)
def log(request: pytest.FixtureRequest) -> list[Recorded]:
    return recorded(World(request.param).happen(EVENTS))


def touching_partitions(projection: Projection, log: Sequence[Recorded]) -> dict[Key, set[int]]:
    """The partitions whose events touch each row."""
    found: dict[Key, set[int]] = defaultdict(set)
    for event in log:
        for handler in projection.handlers.get(type(event.event), ()):
            for key in handler.touched(event):
                found[key].add(place(event).number)
    return found


@pytest.fixture(scope="module")
def long_log() -> list[Recorded]:
    weights = dict.fromkeys(MIXED, 1) | {"vote": 5, "comment": 3, "import_comment": 3}
    return recorded(World(4, weights=weights).happen(20_000))


@pytest.mark.parametrize("projection", ALL.values(), ids=lambda projection: projection.name)
def test_local_views_and_no_others_have_rows_of_one_partition_each(
    projection: Projection, long_log: list[Recorded]
) -> None:
    found = touching_partitions(projection, long_log)
    shared = [key for key, partitions in found.items() if len(partitions) > 1]
    assert found
    if projection.local:
        assert not shared, f"{projection.name} is declared local, and {shared[0]} is touched from several partitions"
    elif projection.name not in WITH_SHARED:
        assert shared, f"{projection.name} may be declared local: its workers wait for each other for nothing"


def test_views_are_folded_from_all_partitions_that_hold_their_events(long_log: list[Recorded]) -> None:
    for projection in ALL.values():
        seen = {number for numbers in touching_partitions(projection, long_log).values() for number in numbers}
        assert seen <= set(partitions_of(projection.handlers)), projection.name


def filled(tables: Mapping[str, dict[Key, Row]]) -> dict[str, dict[Key, Row]]:
    """Without those that a short history leaves empty."""
    return {name: rows for name, rows in tables.items() if rows}


@pytest.mark.parametrize("taken_apart", [by_place, in_three])
@pytest.mark.parametrize("size_max", [3, 40, 700])
def test_partitions_in_any_order_give_the_same_rows(
    log: list[Recorded], size_max: int, taken_apart: Callable[[Sequence[Recorded]], Partitions]
) -> None:
    log = log[:800] if size_max == 3 else log
    random = Random(size_max)
    partitions = taken_apart(log)
    views = MemoryViews()
    for projection in ALL.values():
        mine = of(projection, partitions)
        for delivery in deliveries(mine, random, size_max):
            number, events = delivery.partition, delivery.events
            expected = views.positions.get((projection.name, number), 0)
            with views.transaction(projection, number) as rows:
                step(projection, events, rows, expected=expected, to=events[-1].position)
        for number, events in mine.items():
            assert views.positions[projection.name, number] == events[-1].position
    assert not any(views.parked.values())
    assert filled(views.tables) == filled(straight(log))
