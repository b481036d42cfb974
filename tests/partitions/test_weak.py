"""Views in a store that writes one row at a time: whoever dies between two writes, and however late one is applied."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from random import Random
from typing import Any, ClassVar

import pytest

from domain.account import AccountRegistered, DisplayNameChanged
from domain.event import Event, Id
from domain.ids import derived
from infra.rows_weak import MemoryRowStore, WeakRows
from projections.catalogue import ALL
from projections.core import Key, Projection, Row, StaleCheckpoint
from projections.stepping import Stepped, step
from schemas.envelope import Recorded, Undecodable
from tests.equivalence.histories import Happened, World
from tests.equivalence.recording import recorded
from tests.equivalence.test_equivalence import straight
from tests.partitions.delivering import by_place, deliveries, of
from tests.projections.folds import NOW


class Crash(Exception):
    pass


class Dying(MemoryRowStore):
    """Dies at one of its writes, right before it or right after it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.dies_before: int | None = None
        self.dies_after: int | None = None

    def applying(self) -> None:
        self.writes += 1
        if self.writes == self.dies_before:
            raise Crash

    def applied(self) -> None:
        if self.writes == self.dies_after:
            raise Crash


class Late(MemoryRowStore):
    """Applies writes of long ago once more at any time, as retries that were thought lost do; sometimes it dies."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._repeating = False
        self._past: list[Callable[[], Any]] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in {"write", "replace", "reach", "park"}:
            return found

        def remembered(*arguments: Any) -> Any:
            self._past.append(lambda: found(*arguments))
            return found(*arguments)

        return remembered

    def applied(self) -> None:
        if not self._repeating:
            self._repeating = True
            while self._past and self._random.random() < 0.3:
                self._random.choice(self._past)()
            self._repeating = False
            if self._random.random() < 0.02:
                raise Crash


def fold(store: MemoryRowStore, projection: Projection, partition: int, events: Sequence[Recorded]) -> Stepped:
    rows = WeakRows(store, projection, partition)
    return step(
        projection,
        events,
        rows,
        expected=store.checkpoint(projection.name, partition),
        to=max(events[-1].position, store.checkpoint(projection.name, partition)),
    )


def catch_up(store: MemoryRowStore, projection: Projection, log: Sequence[Recorded], random: Random) -> None:
    """Fold what is left of all partitions, in batches of other sizes than before."""
    for number, events in of(projection, by_place(log)).items():
        start = 0
        while start < len(events):
            end = start + random.choice([1, 7, 30, len(events)])
            fold(store, projection, number, events[start:end])
            start = end


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("projection", ALL.values(), ids=lambda projection: projection.name)
def test_deliveries_in_any_order_with_crashes_and_late_writes_give_the_same_rows(
    projection: Projection, seed: int
) -> None:
    log = recorded(World(seed).happen(1_500))
    store, random = Late(Random(seed)), Random(seed)
    partitions = of(projection, by_place(log))
    for delivery in deliveries(partitions, random, 60):
        events = delivery.events
        while True:
            try:
                fold(store, projection, delivery.partition, events)
                break
            except (Crash, StaleCheckpoint):  # the worker that comes next reads on from before, and as far as it likes
                whole = partitions[delivery.partition]
                start = whole.index(delivery.events[0])
                events = whole[start : start + len(delivery.events) + random.randrange(30)]
    assert not store.letters
    assert store.table(projection.name) == straight(log).get(projection.name, {})


@cache
def history() -> list[Recorded]:
    return recorded(World(7).happen(5_000))


@pytest.mark.parametrize("projection", ALL.values(), ids=lambda projection: projection.name)
def test_a_crash_at_any_write_changes_nothing(projection: Projection) -> None:
    log = [event for event in history() if type(event.event) in projection.handlers][:150]
    expected = straight(log).get(projection.name, {})
    number, events = max(of(projection, by_place(log)).items(), key=lambda item: len(item[1]))
    counting = Dying()
    events = events[: len(events) * 2 // 3]
    fold(counting, projection, number, events)
    for at in range(1, counting.writes + 1):
        for before in (True, False):
            store, random = Dying(), Random(at)
            store.dies_before, store.dies_after = (at, None) if before else (None, at)
            with pytest.raises(Crash):
                fold(store, projection, number, events)
            catch_up(store, projection, log, random)
            assert store.table(projection.name) == expected, (at, before)


class Named(Row, frozen=True):
    key_fields: ClassVar[tuple[str, ...]] = ("account_id",)
    account_id: Id
    names: str = ""


POISON = "poison"


def named(*, local: bool) -> Projection:
    """Every display name that an account had; one of them is poison."""
    projection = Projection("named", version=1, row=Named, local=local)

    @projection.on(AccountRegistered, DisplayNameChanged, key=lambda e: e.account_id)
    def _(row: Named, e: AccountRegistered | DisplayNameChanged) -> Named:
        if e.display_name == POISON:
            raise ValueError("cannot fold this")
        return Named(row.account_id, f"{row.names}/{e.display_name}")

    return projection


ANN, BEN, CAT = derived("ann"), derived("ben"), derived("cat")


def renames(*names: tuple[Id, str | Event]) -> list[Recorded]:
    events = (event if isinstance(event, Event) else DisplayNameChanged(who, event) for who, event in names)
    return recorded(Happened(who, event, NOW, who) for (who, _), event in zip(names, events, strict=True))


POISONED = renames(
    (ANN, "1"), (BEN, "1"), (ANN, "2"), (CAT, "1"), (ANN, POISON), (BEN, "2"), (CAT, Undecodable("x@1", "unknown")),
    (ANN, "3"), (CAT, "2"), (BEN, "3"), (ANN, "4"), (BEN, POISON), (BEN, "4"),
)  # fmt: skip


@pytest.mark.parametrize("local", [True, False])
def test_a_crash_at_any_write_parks_neither_more_nor_less(local: bool) -> None:
    projection = named(local=local)
    straight_store = Dying()
    fold(straight_store, projection, 1, POISONED)
    letters = set(straight_store.letters)
    assert {key: row.names for key, row in straight_store.table("named").items()} == {  # type: ignore[attr-defined]
        ANN: "/1/2", BEN: "/1/2/3", CAT: "/1",
    }  # fmt: skip
    assert letters == {("named", ANN, 5), ("named", ANN, 8), ("named", ANN, 11), ("named", BEN, 12), ("named", BEN, 13),
                       ("named", f"stream:{CAT}", 7), ("named", f"stream:{CAT}", 9)}  # fmt: skip
    for first in range(1, len(POISONED) + 1):
        counting = Dying()
        fold(counting, projection, 1, POISONED[:first])
        for at, before, size in product(range(1, counting.writes + 1), (True, False), (1, 4, len(POISONED))):
            store = Dying()
            store.dies_before, store.dies_after = (at, None) if before else (None, at)
            with pytest.raises(Crash):
                fold(store, projection, 1, POISONED[:first])
            for start in range(0, len(POISONED), size):
                fold(store, projection, 1, POISONED[start : start + size])
            assert store.table("named") == straight_store.table("named"), (first, at, before, size)
            assert set(store.letters) == letters, (first, at, before, size)


class Interrupted(WeakRows):
    """Another worker is heard of after the rows were loaded, and before they are written."""

    def __init__(
        self, store: MemoryRowStore, projection: Projection, partition: int, other: Callable[[], None]
    ) -> None:
        super().__init__(store, projection, partition)
        self._other = other

    def advance(self, expected: int, to: int) -> None:
        self._other()
        super().advance(expected, to)


def two_workers(projection: Projection, log: Sequence[Recorded]) -> Iterator[tuple[MemoryRowStore, int]]:
    """Each pair of partitions, one folded by a worker while another is in the midst of the other."""
    partitions = of(projection, by_place(log))
    for one, events in partitions.items():
        for other, others in partitions.items():
            if one != other:
                store, stale = MemoryRowStore(), 0

                def between(store: MemoryRowStore = store, other: int = other, others: Any = others) -> None:
                    fold(store, projection, other, others)

                try:
                    rows = Interrupted(store, projection, one, between)
                    step(projection, events, rows, expected=0, to=events[-1].position)
                except StaleCheckpoint:
                    stale = 1
                    fold(store, projection, one, events)
                for number, rest in partitions.items():
                    if number not in {one, other}:
                        fold(store, projection, number, rest)
                yield store, stale


@pytest.mark.parametrize("name", ["profiles", "karma", "communities", "subjects", "scores"])
def test_workers_on_different_partitions_do_not_overwrite_each_other(name: str) -> None:
    log = recorded(World(8).happen(400))
    projection, expected = ALL[name], straight(log)[name]
    conflicts = 0
    for store, stale in two_workers(projection, log):
        assert store.table(name) == expected
        conflicts += stale
    assert (conflicts > 0) == (not projection.local)


@pytest.mark.parametrize("name", [name for name, projection in ALL.items() if projection.local])
def test_a_zombie_writes_nothing_over_what_came_after_it(name: str) -> None:
    log = recorded(World(9).happen(1_200))
    projection, expected = ALL[name], straight(log)[name]
    partitions = of(projection, by_place(log))
    for seed in range(5):
        random, store = Random(seed), MemoryRowStore()
        for number, events in partitions.items():
            cut = random.randrange(1, len(events) + 1)
            fold(store, projection, number, events[: cut // 2]) if cut > 1 else None
            before = store.checkpoint(name, number)
            zombie = WeakRows(store, projection, number)
            # It has passed all checks when its heir folds everything; then its writes arrive.
            late: list[Callable[[], None]] = []
            write = store.write
            store.write = lambda *a, w=write, late=late: late.append(lambda: w(*a))  # type: ignore[method-assign,assignment]
            if events[cut - 1].position > before:
                step(projection, events[:cut], zombie, expected=before, to=events[cut - 1].position)
            store.write = write  # type: ignore[method-assign]
            store.checkpoints[name, number] = before
            fold(store, projection, number, events)
            for apply in late:
                apply()
        assert store.table(name) == expected


def keys(store: MemoryRowStore, name: str) -> set[Key]:
    return {key for of_view, key in store.rows if of_view == name}


def test_what_is_deleted_stays_deleted_and_leaves_its_mark() -> None:
    log = recorded(World(10).happen(2_000))
    store = MemoryRowStore()
    catch_up(store, ALL["follows"], log, Random(1))
    gone = keys(store, "follows") - store.table("follows").keys()
    assert gone
    assert all(store.rows["follows", key].marks for key in gone)
