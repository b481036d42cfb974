"""Every event has one place on the log of a fleet, which any client of Kafka would find too."""

from collections import Counter

import pytest
from msgspec.inspect import StructType, type_info

from domain.event import Event
from domain.ids import derived
from projections.catalogue import ALL
from schemas import topics
from schemas.envelope import Undecodable
from schemas.registry import WIRE, personal_fields
from schemas.topics import (
    KEYS,
    MESSAGES,
    TOPICS,
    Placeless,
    Topic,
    located,
    murmur2,
    partition_of,
    partitions_of,
    place,
)
from tests.equivalence.histories import World
from tests.equivalence.recording import recorded

VECTORS = {
    "": 275646681,
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
    "kafka": -798503068,
    "1": -1993445489,
    "12": 126087238,
    "123": -267702483,
    "1234": -1614185708,
    "12345": -1188365604,
}
"""What Kafka's own tests, and those of other clients, expect of its hash; with sign, as Java has it."""


@pytest.mark.parametrize("key", VECTORS)
def test_keys_are_hashed_as_by_kafka(key: str) -> None:
    value = murmur2(key.encode())
    assert (value - 2**32 if value >= 2**31 else value) == VECTORS[key]


def test_the_sign_is_masked_and_not_turned() -> None:
    # -973932308 & 0x7fffffff, as `Utils.toPositive` has it; the absolute value would go elsewhere.
    assert partition_of("21", 12) == (-973932308 & 0x7FFFFFFF) % 12 != 973932308 % 12


def test_every_event_has_exactly_one_place() -> None:
    assert KEYS.keys() == set(WIRE.values())
    assert {kind for projection in ALL.values() for kind in projection.handlers} <= KEYS.keys()


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_ids_and_nothing_personal(kind: type[Event]) -> None:
    _, field = KEYS[kind]
    if field is None:
        return
    assert field not in personal_fields(kind)
    assert field.endswith("_id")
    info = type_info(kind)
    assert isinstance(info, StructType)
    assert next(one for one in info.fields if one.name == field).required


def test_what_a_stream_says_stays_in_order() -> None:
    places: dict[str, set[tuple[str, int]]] = {}
    spread: Counter[int] = Counter()
    for event in recorded(World(1).happen(20_000)):
        found = place(event)
        assert found == place(event.event, event.stream_id)
        assert 0 <= found.partition < found.topic.partitions
        places.setdefault(event.stream_id, set()).add((found.key, found.number))
        spread[found.number] += 1
    assert all(len(found) == 1 for found in places.values())
    # The channels of so small a world are fewer than the partitions of their messages.
    unspread = set(partitions_of(list(KEYS))) - spread.keys()
    assert len(unspread) < MESSAGES.partitions / 2
    assert unspread <= set(MESSAGES.every_partition)


def test_an_event_without_a_place_is_refused() -> None:
    with pytest.raises(Placeless, match="Undecodable"):
        place(Undecodable("post.edited@9", "unknown"), derived("stream"))
    with pytest.raises(TypeError, match="stream"):
        place(next(kind for kind, (_, field) in KEYS.items() if field is None)(derived("a"), derived("b")))


def test_partitions_are_numbered_apart() -> None:
    numbers = [number for topic in TOPICS for number in topic.every_partition]
    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers, "that is the embedded log"
    for topic in TOPICS:
        assert 1 <= topic.partitions <= topics.PARTITIONS_MAX
        assert [located(number) for number in topic.every_partition] == [(topic, n) for n in range(topic.partitions)]
    with pytest.raises(LookupError, match="1004"):
        located(1004)


def test_counts_of_partitions_never_change() -> None:
    # Another count would send keys elsewhere, and what is in the topics already would be out of order with them.
    assert (
        Topic("moot.people", 1, 4),
        Topic("moot.communities", 2, 4),
        Topic("moot.threads", 3, 12),
        Topic("moot.servers", 5, 4),
        Topic("moot.messages", 6, 12),
        Topic("moot.keys", 4, 1, compacted=True),
    ) == TOPICS
