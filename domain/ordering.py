"""Orders that people arrange: each thing has a number, with room between for others to be put there.

So a move changes one number. When no room is left, which takes some thirty moves to one spot, all get new ones.
Numbers are above zero.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from domain.event import Id

STEP: Final = 1 << 32
"""The room between two that were put side by side."""
_FIRST: Final = 1 << 52
"""The first number given: a million can be put before it, and hundreds of millions after it."""


def in_order(numbers: Mapping[Id, int]) -> list[Id]:
    """The things, that of the lowest number first."""
    return sorted(numbers, key=lambda one: numbers[one])


def last(numbers: Collection[int]) -> int:
    """A number above all of these."""
    return max(numbers) + STEP if numbers else _FIRST


def put(numbers: Mapping[Id, int], thing: Id, behind: Id | None) -> Mapping[Id, int]:
    """The numbers that change when a thing, new or not, is put directly ``behind`` another one, or first."""
    before = in_order(numbers)
    if behind == thing:
        return {}
    order = [one for one in before if one != thing]
    at = 0 if behind is None else order.index(behind) + 1
    low = numbers[order[at - 1]] if at else 0
    order.insert(at, thing)
    if order == before:
        return {}
    if at == len(order) - 1:
        return {thing: low + STEP if low else _FIRST}
    high = numbers[order[at + 1]]
    middle = high - STEP if not low and high > STEP else (low + high) // 2
    return {thing: middle} if low < middle < high else _spread(order)


def _spread(order: Sequence[Id]) -> Mapping[Id, int]:
    return {thing: _FIRST + place * STEP for place, thing in enumerate(order)}
