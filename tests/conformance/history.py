"""What every store of messages does with the history of a channel, through one suite.

A module that takes it over has a fixture ``store``.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from random import Random
from typing import Any, Protocol
from uuid import UUID

import pytest

from domain.event import Id
from infra.queries.rows import Page, Slice

MONTH = 24_300
"""That of the first message."""
CHANNEL, OTHER, EMPTY = (str(UUID(int=number)) for number in (1, 2, 3))


class Store(Protocol):
    """What the suite needs of a store."""

    reads: int
    """Partitions, or queries, that were read so far."""

    def id_in(self, month: int, number: int) -> int:
        """An id of that month, larger for a larger number below 10,000."""
        ...

    def put(self, channel_id: Id, ids: Collection[int]) -> None:
        """Have these messages there."""
        ...

    async def page(self, channel_id: Id, where: Slice) -> Page[Any]:
        """A page; items have ``id``."""
        ...

    async def by_ids(self, channel_id: Id, ids: Sequence[int]) -> Mapping[int, Any]:
        """Some messages."""
        ...

    async def by_keys(self, keys: Sequence[tuple[Id, int]]) -> Mapping[tuple[Id, int], Any]:
        """Some messages of several channels."""
        ...


def run(asked: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asked)


def expected(ids: Collection[int], where: Slice) -> tuple[list[int], bool, bool]:
    """Ids of the page, and whether there is more after it and before it."""
    if where.backward:
        newer = sorted(one for one in ids if where.cursor is None or one > where.cursor)
        return newer[: where.size][::-1], where.cursor is not None, len(newer) > where.size
    older = sorted((one for one in ids if where.cursor is None or one < where.cursor), reverse=True)
    return older[: where.size], len(older) > where.size, where.cursor is not None


def shown(page: Page[Any]) -> tuple[list[int], bool, bool]:
    return [one.id for one in page.items], page.has_next, page.has_previous


@pytest.mark.parametrize("seed", range(5))
def test_any_page_is_that_of_a_sorted_list(store: Store, seed: int) -> None:
    random = Random(seed)
    # Months with nothing, with little, and with more than a page.
    months = sorted(random.sample(range(MONTH, MONTH + 60), 12))
    ids = [
        store.id_in(month, number)
        for month in months
        for number in random.sample(range(9_000), random.choice([1, 2, 30]))
    ]
    store.put(CHANNEL, ids)
    store.put(OTHER, [store.id_in(month, 9_500) for month in range(MONTH, MONTH + 60)])

    async def look() -> None:
        for _ in range(40):
            cursor = random.choice(
                [
                    None,
                    random.choice(ids),
                    store.id_in(random.randrange(MONTH - 2, MONTH + 62), random.randrange(9_999)),
                ]
            )
            where = Slice(random.choice([1, 2, 7, 50]), cursor, random.random() < 0.5)
            assert shown(await store.page(CHANNEL, where)) == expected(ids, where), where

    run(look())


@pytest.mark.parametrize("backward", [False, True])
def test_a_walk_from_one_end_to_the_other_meets_everything_once(store: Store, backward: bool) -> None:
    ids = [store.id_in(MONTH + month, number) for month in (0, 1, 5, 40, 41) for number in range(37)]
    store.put(CHANNEL, ids)

    async def walk() -> list[int]:
        met: list[int] = []
        cursor: int | None = None
        while True:
            page = await store.page(CHANNEL, Slice(10, cursor, backward))
            found = [one.id for one in page.items]
            met += found[::-1] if backward else found
            if not (page.has_previous if backward else page.has_next):
                return met
            cursor = met[-1]

    assert run(walk()) == sorted(ids, reverse=not backward)


def test_an_empty_channel_has_an_empty_page(store: Store) -> None:
    store.put(CHANNEL, [store.id_in(MONTH, 1)])
    assert shown(run(store.page(EMPTY, Slice(10)))) == ([], False, False)
    assert shown(run(store.page(EMPTY, Slice(10, store.id_in(MONTH, 1), backward=True)))) == ([], True, False)
    assert run(store.by_ids(EMPTY, [store.id_in(MONTH, 1)])) == {}


def test_messages_are_found_by_their_ids(store: Store) -> None:
    ids = [store.id_in(MONTH + month, number) for month in (0, 7) for number in range(150)]
    store.put(CHANNEL, ids)
    store.put(OTHER, [store.id_in(MONTH, 9_000)])
    asked = [*ids[::2], store.id_in(MONTH, 9_000), store.id_in(MONTH + 3, 5), ids[0]]
    found = run(store.by_ids(CHANNEL, asked))
    assert {key: one.id for key, one in found.items()} == {one: one for one in ids[::2]}
    assert run(store.by_ids(CHANNEL, [])) == {}


def test_messages_of_several_channels_are_found_by_channel_and_id(store: Store) -> None:
    here = [(CHANNEL, store.id_in(MONTH + month, number)) for month in (0, 7) for number in range(5)]
    there = [(OTHER, store.id_in(MONTH, number)) for number in range(100, 105)]
    for channel_id, keys in ((CHANNEL, here), (OTHER, there)):
        store.put(channel_id, [one for _, one in keys])
    astray = [(OTHER, here[0][1]), (CHANNEL, there[0][1]), (EMPTY, here[0][1]), here[1]]
    found = run(store.by_keys([*here[1:], *there[1:], *astray]))
    assert {key: one.id for key, one in found.items()} == {key: key[1] for key in (*here[1:], *there[1:])}
    assert run(store.by_keys([])) == {}


def test_a_page_costs_the_same_in_an_old_channel_as_in_a_young_one(store: Store) -> None:
    def cost(channel_id: Id, where: Slice) -> int:
        before = store.reads
        assert len(run(store.page(channel_id, where)).items) == 10
        return store.reads - before

    store.put(CHANNEL, [store.id_in(MONTH, number) for number in range(50)])
    store.put(OTHER, [store.id_in(MONTH + month, number) for month in range(0, 120, 2) for number in range(20)])
    young = cost(CHANNEL, Slice(10))
    for cursor in (None, store.id_in(MONTH + 60, 15), store.id_in(MONTH, 15), store.id_in(MONTH + 61, 0)):
        assert cost(OTHER, Slice(10, cursor)) <= young + 1
    for cursor in (None, store.id_in(MONTH + 60, 5), store.id_in(MONTH + 118, 5)):
        assert cost(OTHER, Slice(10, cursor, backward=True)) <= young + 1
