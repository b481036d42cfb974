"""Partitions as Kafka would hold them, and a reader of them that loses, repeats and mixes up what it likes."""

from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from infra.codec import Row
from infra.event_log import LogRecord
from infra.log_records import number_of, outgoing
from streams.worker.folding import Read
from streams.worker.keeping import Fetch, Moved

Topics = dict[int, list[LogRecord]]
"""The records of each partition, as checkpoints call it; between two of them may be offsets without a record."""


def topics_of(rows: Sequence[Row], random: Random) -> Topics:
    """These stored events as the relay sends them, with the marks of transactions here and there."""
    topics: Topics = {}
    ends: dict[int, int] = {}
    for record in outgoing(rows).records:
        number = number_of(record)
        offset = ends.get(number, 0) + (random.random() < 0.1)
        topics.setdefault(number, []).append(msgspec.structs.replace(record, offset=offset))
        ends[number] = offset + 1
    return topics


class Reader:
    """See ``streams.worker.keeping.Consumer``. Each fault happens as often as its probability says."""

    def __init__(self, topics: Topics, numbers: Sequence[int], random: Random, size_max: int = 300) -> None:
        self.topics = topics
        self.numbers = list(numbers)
        self.seeks: list[Mapping[int, int]] = []
        self.losing = self.repeating = self.late = 0.0
        self.moved = 0
        self._random = random
        self._size_max = size_max
        self._epoch = 0
        self._next: dict[int, int] = {}
        self._late: list[Fetch] = []

    def assigned(self) -> Sequence[int]:
        return self.numbers

    async def go_to(self, offsets: Mapping[int, int]) -> int:
        if self.moved:
            self.moved -= 1
            raise Moved("for the test")
        assert sorted(offsets) == sorted(self.numbers)
        self.seeks.append(dict(offsets))
        self._next = dict(offsets)
        self._epoch += 1
        return self._epoch

    def fetch(self) -> Fetch | None:
        """What comes next, in some of the partitions; ``None`` when nothing does."""
        if self._late and self._random.random() < 0.5:
            return self._late.pop()
        reads = []
        for number in self._random.sample(self.numbers, self._random.randrange(1, 1 + len(self.numbers))):
            begin = self._next.get(number, 0)
            if begin and self._random.random() < self.repeating:
                begin -= 1
            there = [record for record in self.topics.get(number, ()) if record.offset >= begin]
            found = there[: self._random.randrange(1, self._size_max)]
            if not found:
                continue
            end = found[-1].offset + 1
            self._next[number] = end
            if self._random.random() >= self.losing:
                reads.append(Read(number, begin, end, found))
        if not reads:
            return None
        fetch = Fetch(self._epoch, reads)
        if self._random.random() < self.late:
            self._late.append(fetch)
            return None
        return fetch

    def at_end(self) -> bool:
        """Whether everything was read since the last seek."""
        ends = {number: records[-1].offset + 1 for number, records in self.topics.items() if number in self.numbers}
        return all(self._next.get(number, 0) >= end for number, end in ends.items())
