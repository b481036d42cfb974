"""A log as a fleet gets it: taken apart by partitions, in batches of any size, some of it again."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

from msgspec import Struct

from projections.core import Projection
from schemas.envelope import Recorded
from schemas.topics import partition_of, partitions_of, place

Partitions = dict[int, list[Recorded]]
"""The events of each partition, in order."""


class Delivery(Struct, frozen=True):
    """Events of one partition that come together. They may have come before."""

    partition: int
    events: Sequence[Recorded]


def by_place(log: Sequence[Recorded]) -> Partitions:
    """The log as the relay takes it apart."""
    partitions: Partitions = defaultdict(list)
    for event in log:
        partitions[place(event).number].append(event)
    return partitions


def in_three(log: Sequence[Recorded]) -> Partitions:
    """The log as if all topics were one of three partitions: the keys are those of the relay."""
    partitions: Partitions = defaultdict(list)
    for event in log:
        partitions[1 + partition_of(place(event).key, 3)].append(event)
    return partitions


def of(projection: Projection, partitions: Partitions) -> Partitions:
    """Those partitions that the projection is folded from."""
    wanted = set(partitions_of(projection.handlers))
    return {number: events for number, events in partitions.items() if number < 1000 or number in wanted}


def deliveries(partitions: Partitions, random: Random, size_max: int) -> Iterator[Delivery]:
    """Everything at least once, each partition in order, and the partitions in any order beside each other.

    A reader that starts again does so somewhere before the place where it was.
    """
    read = dict.fromkeys(partitions, 0)
    while unread := [number for number, events in partitions.items() if read[number] < len(events)]:
        number = random.choice(unread)
        for _ in range(random.randrange(1, 6)):  # a worker takes several batches before another is heard of
            start = read[number]
            if random.random() < 0.3:
                start = max(0, start - random.randrange(2 * size_max))
            end = min(start + random.randrange(1, size_max), len(partitions[number]))
            if end > start:
                yield Delivery(number, partitions[number][start:end])
            read[number] = max(read[number], end)
