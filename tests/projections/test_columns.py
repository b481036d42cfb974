"""Columns: ids as numbers and back, groups whatever their ids are, and parts of rows that make whole ones."""

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.columns import (
    _ODD,
    NO_ID,
    Ids,
    Ragged,
    combined,
    grouped,
    id_texts,
    ids,
    joined,
    length,
    occurred,
    sliced,
    times,
)

FEW = st.integers(0, 5).map(lambda number: str(uuid.UUID(int=number * 2**64 + number)))
MANY = st.uuids().map(str)


@given(st.lists(MANY))
def test_ids_come_back_as_they_went_in(texts: list[str]) -> None:
    assert id_texts(ids(texts)) == texts


def test_nobody_is_zeros_and_no_other_text_is_an_id() -> None:
    assert not ids([NO_ID]).any()
    for text in ("", "x" * 36, NO_ID[:-1], NO_ID + "00"):
        with pytest.raises(ValueError, match=r"UUID|hexadecimal"):
            ids([text])


@given(st.lists(st.datetimes(timezones=st.just(UTC))))
def test_times_are_the_same_from_texts_and_from_datetimes(moments: list[datetime]) -> None:
    texts = [moment.isoformat().replace("+00:00", "Z") for moment in moments]
    naive = [moment.replace(tzinfo=None) for moment in moments]
    assert times(moments).tolist() == occurred(texts).tolist() == naive


def test_a_time_in_another_zone_is_refused_as_text() -> None:
    moment = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    with pytest.raises(ValueError, match="UTC"):
        occurred([moment.isoformat()])
    assert times([moment]).tolist() == [datetime(2019, 12, 31, 23)]


def groups(keys: Ids, numbers: list[int]) -> list[tuple[str, list[int]]]:
    order, begins = grouped(keys, np.array(numbers, np.int64))
    names = id_texts(keys)
    ends = [*begins[1:], len(order)][: len(begins)]
    return sorted(
        (names[order[begin]], [numbers[at] for at in order[begin:end]]) for begin, end in zip(begins, ends, strict=True)
    )


@given(st.lists(st.tuples(FEW | MANY, st.integers(0, 2**16 - 1))))
def test_a_group_is_all_of_one_id_and_its_numbers_ascend(pairs: list[tuple[str, int]]) -> None:
    expected = defaultdict(list)
    for name, number in pairs:
        expected[name].append(number)
    found = groups(ids([name for name, _ in pairs]), [number for _, number in pairs])
    assert found == sorted((name, sorted(numbers)) for name, numbers in expected.items())


def test_ids_that_are_mixed_into_one_number_stay_apart() -> None:
    odd = int(_ODD)
    keys = np.array([(7, 9), (8, (7 * odd ^ 9 ^ 8 * odd) % 2**64)] * 2, np.uint64)
    assert groups(keys, [4, 3, 2, 1]) == sorted([(id_texts(keys[:1])[0], [2, 4]), (id_texts(keys[1:2])[0], [1, 3])])
    order, begins = grouped(keys)
    assert sorted(order[begins[0] : begins[1]].tolist()) in ([0, 2], [1, 3])


@given(st.lists(st.tuples(FEW, FEW, st.integers(-3, 3), st.integers(0, 9))))
def test_parts_of_rows_become_whole_rows_as_one_by_one(parts: list[tuple[str, str, int, int]]) -> None:
    expected: dict[tuple[str, str], tuple[int, int, int]] = {}
    for one, other, number, position in parts:
        total, largest, _ = expected.get((one, other), (0, position, 0))
        expected[one, other] = (total + number, max(largest, position), number)
    columns = (
        ids([part[0] for part in parts]),
        ids([part[1] for part in parts]),
        np.array([part[2] for part in parts], np.int64),
        np.array([part[3] for part in parts], np.int64),
        np.array([part[2] for part in parts], np.int64),
    )
    made = combined(columns, ("key", "key", "sum", "largest", "last"))
    assert length(made) == len(expected)
    one, other, *numbers = (column for column in made if not isinstance(column, Ragged))
    rows = zip(id_texts(one), id_texts(other), *(column.tolist() for column in numbers), strict=True)
    assert {(a, b): (total, largest, last) for a, b, total, largest, last in rows} == expected


def test_slices_and_joins_are_rows() -> None:
    columns = (ids([str(uuid.UUID(int=number)) for number in range(5)]), np.arange(5))
    again = joined([sliced(columns, 0, 2), sliced(columns, 2, 9)])
    assert [np.array_equal(a, b) for a, b in zip(columns, again, strict=True)] == [True, True]
