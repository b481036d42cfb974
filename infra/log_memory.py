"""The log in the memory of one process: partitions, transactions and fencing as in Kafka, for tests.

Offsets have gaps where Kafka's have: a transaction leaves a marker behind it in each partition it wrote to.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from threading import Lock

import msgspec
from msgspec import Struct

from infra.event_log import (
    Fenced,
    GivingUp,
    LogRecord,
    LogUnavailable,
    Partition,
    Span,
    TopicsMissing,
    TopicState,
    never,
    nobody,
)

PAGE_RECORDS = 1_000


class _Transaction(Struct):
    places: set[Partition]
    open: bool = True
    committed: bool = False


class _Slot(Struct):
    """One offset: a record of a transaction, or the marker at its end."""

    record: LogRecord | None
    transaction: _Transaction


class MemoryLog:
    """See ``EventLog``. What goes wrong is told to it: see ``refuse`` and those after it, and ``lose_tail``."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._topics: dict[str, TopicState] = {}
        self._slots: dict[Partition, list[_Slot]] = {}
        self._epoch = 0
        self._open: _Transaction | None = None
        self.refuse = False
        """Whether nothing is answered."""
        self.lose_answers = 0
        """So many writes from now on happen, and are not answered."""
        self.die_in_writes = 0
        """So many writes from now on stop half-way, undecided."""

    def writer(self, giving_up: GivingUp = never) -> "MemoryWriter":
        """See ``EventLog``."""
        with self._lock:
            self._answer()
            self._epoch += 1
            self._end(committed=False)
            return MemoryWriter(self, self._epoch)

    def ends(self, topics: Sequence[str], *, decided: bool = True) -> Mapping[Partition, Span]:
        """See ``EventLog``."""
        with self._lock:
            self._answer()
            if missing := [name for name in topics if name not in self._topics]:
                raise TopicsMissing(", ".join(missing))
            return {
                place: (0, self._stable(place) if decided else len(slots))
                for place, slots in self._slots.items()
                if place[0] in topics
            }

    def read(
        self, spans: Mapping[Partition, Span], ahead: Callable[[], Collection[Partition]] = nobody
    ) -> Iterator[Sequence[LogRecord]]:
        """See ``EventLog``."""
        left = dict(spans)
        while left:
            resting = ahead()
            for place in [place for place in left if place not in resting]:
                first, end = left[place]
                with self._lock:
                    self._answer()
                    stable = min(end, first + PAGE_RECORDS, self._stable(place))
                    page = [
                        msgspec.structs.replace(slot.record, offset=offset)
                        for offset, slot in enumerate(self._slots[place][first:stable], first)
                        if slot.record is not None and slot.transaction.committed
                    ]
                left[place] = (stable, end)
                if stable in (first, end):
                    del left[place]
                if page:
                    yield page

    def topics(self) -> Mapping[str, TopicState]:
        """See ``EventLog``."""
        with self._lock:
            self._answer()
            return dict(self._topics)

    def create_topic(self, name: str, topic: TopicState) -> None:
        """See ``EventLog``."""
        with self._lock:
            self._answer()
            self._topics[name] = topic
            self._slots |= {(name, partition): [] for partition in range(topic.partitions)}

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """See ``EventLog``."""
        with self._lock:
            self._answer()
            topic = self._topics[name]
            self._topics[name] = msgspec.structs.replace(topic, config={**topic.config, **config})

    def lose_tail(self, place: Partition, transactions: int) -> None:
        """The last transactions in a partition were not on its broker's disk yet, and its power failed."""
        with self._lock:
            slots = self._slots[place]
            marks = [offset for offset, slot in enumerate(slots) if slot.record is None]
            del slots[marks[-transactions - 1] + 1 if transactions < len(marks) else 0 :]

    def write(self, epoch: int, records: Sequence[LogRecord]) -> None:
        """What a writer of that epoch writes."""
        with self._lock:
            self._answer()
            self._check(epoch)
            transaction = self._open = _Transaction({(record.topic, record.partition) for record in records})
            if missing := [place for place in transaction.places if place not in self._slots]:
                self._end(committed=False)
                raise TopicsMissing(str(missing))
            half = len(records) // 2 if self.die_in_writes else len(records)
            for record in records[:half]:
                self._slots[record.topic, record.partition].append(_Slot(record, transaction))
            if self.die_in_writes:
                self.die_in_writes -= 1
                raise LogUnavailable("the writer died")
            self._end(committed=True)
            if self.lose_answers:
                self.lose_answers -= 1
                raise LogUnavailable("the answer was lost")

    def _answer(self) -> None:
        if self.refuse:
            raise LogUnavailable("nobody answers")

    def _check(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise Fenced(f"writer {epoch} was followed by {self._epoch}")

    def _end(self, *, committed: bool) -> None:
        transaction, self._open = self._open, None
        if transaction is not None and transaction.open:
            transaction.open, transaction.committed = False, committed
            for place in transaction.places & self._slots.keys():
                self._slots[place].append(_Slot(None, transaction))

    def _stable(self, place: Partition) -> int:
        """The first offset of an open transaction, or the end."""
        slots = self._slots[place]
        return next((offset for offset, slot in enumerate(slots) if slot.transaction.open), len(slots))


class MemoryWriter:
    """See ``LogWriter``."""

    def __init__(self, log: MemoryLog, epoch: int) -> None:
        self._log = log
        self._epoch = epoch

    def write(self, records: Sequence[LogRecord]) -> None:
        """See ``LogWriter``."""
        self._log.write(self._epoch, records)

    def close(self) -> None:
        """Nothing is held."""
