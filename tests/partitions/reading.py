"""Both ends of the topics: a reader that goes where it is sent, and what the relay says when it has sent something."""

from collections.abc import Sequence
from random import Random
from typing import Any

from infra.rows import FRONTIER
from projections.catalogue import ALL
from streams.partitions import Delivery, PartitionFolder
from tests.partitions.delivering import Partitions

EVERY = list(ALL.values())


class Reader:
    """Reads some partitions as a consumer of Kafka does: offsets are indices, and it goes where it is sent."""

    def __init__(self, partitions: Partitions, random: Random) -> None:
        self._partitions = partitions
        self._random = random
        self.at: dict[int, int] = {}

    def seek(self, folder: PartitionFolder, connection: Any, numbers: Sequence[int]) -> None:
        self.at = {number: start.offset or 0 for number, start in folder.look(connection, numbers).items()}

    def some(self, size_max: int) -> list[Delivery]:
        """What came of some of the partitions; nothing at the end."""
        left = [number for number, at in self.at.items() if at < len(self._partitions.get(number, ()))]
        taken = self._random.sample(left, min(len(left), self._random.randrange(1, 5)))
        found = []
        for number in taken:
            start, end = self.at[number], self.at[number] + self._random.randrange(1, size_max)
            events = self._partitions[number][start:end]
            self.at[number] = start + len(events)
            found.append(Delivery(number, events, self.at[number]))
        return found


def relay(connection: Any, partitions: Partitions, frontier: int) -> None:
    """Say what the relay says when everything up to there is in the topics, as it does: in one statement."""
    sent = {number: max((e.position for e in events if e.position <= frontier), default=0)
            for number, events in partitions.items()}  # fmt: skip
    said = {FRONTIER: frontier, **{number: position for number, position in sent.items() if position}}
    connection.execute(
        "INSERT INTO log.relayed AS kept (partition, position) SELECT * FROM unnest(%s::integer[], %s::bigint[])"
        " ON CONFLICT (partition) DO UPDATE SET position = excluded.position WHERE excluded.position > kept.position",
        (list(said), list(said.values())),
    )
