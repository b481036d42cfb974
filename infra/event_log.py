"""The log as workers read it: topics of partitions, written by one writer in transactions.

``infra/kafka/log.py`` is the real one, ``infra/log_memory.py`` the same in one process. What both promise, and one
conformance suite checks:

- A write is one transaction: readers see all of its records or none, whatever dies in between.
- Who opens a writer shuts out every writer before it. What those had begun is decided when the new one is open: it is
  there wholly, or nothing of it ever will be. What they try afterwards raises ``Fenced`` and leaves no trace.
- A partition keeps the order in which it was written to.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

Partition = tuple[str, int]
"""A topic and one of its partitions."""
Span = tuple[int, int]
"""Offsets from the first up to the one after the last."""


class LogUnavailable(Exception):
    """The log did not answer, or not in time. A write may or may not have happened: open a new writer and look."""


class Fenced(Exception):
    """Another writer was opened since. This one can do nothing any more."""


class TopicsMissing(Exception):
    """Topics or partitions that are not there."""


class TopicsOtherwise(TopicsMissing):
    """Topics that have other partitions than they were declared with. To make what is missing does not help."""


class LogRecord(Struct, frozen=True, gc=False):
    """One record. ``timestamp_ms`` is since 1970, UTC; ``offset`` is its place in the partition once it is stored."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]] = []
    timestamp_ms: int = 0
    offset: int = -1


class TopicState(Struct, frozen=True):
    """A topic as it stands: how many partitions and copies, and those settings that are not the broker's defaults."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


GivingUp = Callable[[], bool]
"""Asked whether to wait no longer."""


def never() -> bool:
    """Wait as long as is allowed."""
    return False


def nobody() -> Collection[Partition]:
    """No partition is ahead of another."""
    return ()


class LogWriter(Protocol):
    """Writes transactions, one after another, from one thread. After any error it is good for nothing but ``close``."""

    def write(self, records: Sequence[LogRecord]) -> None:
        """Write all of it, durably, or nothing.

        Raises ``Fenced``, and ``LogUnavailable`` when the outcome is unknown.
        """
        ...

    def close(self) -> None:
        """Let go. Never waits, nor tries to finish anything."""
        ...


class EventLog(Protocol):
    """The log. All methods may be called from any thread; all raise ``LogUnavailable``."""

    def writer(self, giving_up: GivingUp = never) -> LogWriter:
        """A writer, once every one before it is shut out and all that those had begun is decided.

        While it waits for an answer it asks ``giving_up`` now and then; what that raises is raised.
        """
        ...

    def ends(self, topics: Sequence[str], *, decided: bool = True) -> Mapping[Partition, Span]:
        """The first offset of each partition, and the one after its last that is decided. Raises ``TopicsMissing``.

        With ``decided=False`` the one after its very last. Partitions learn one by one that a write was decided, also
        after its writer was told: see ``settled``. Not every offset need have a record: what was given up left its
        offsets behind.
        """
        ...

    def read(
        self, spans: Mapping[Partition, Span], ahead: Callable[[], Collection[Partition]] = nobody
    ) -> Iterator[Sequence[LogRecord]]:
        """The records that were written wholly in those spans, each partition in order, the partitions mingled.

        ``ahead`` is asked after each page: the partitions it names rest until it no longer does. Never all that are
        left may be named.
        """
        ...

    def topics(self) -> Mapping[str, TopicState]:
        """All topics there are."""
        ...

    def create_topic(self, name: str, topic: TopicState) -> None:
        """Make a topic; returns when it can be used."""
        ...

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """Give these settings of a topic these values; the others stay."""
        ...


SETTLED_SECONDS_MAX = 90.0
"""How long a write may stay undecided: until its writer's time is over, and the broker has noticed."""
_LOOK_SECONDS = 0.1


def settled(
    log: EventLog, topics: Sequence[str], *, seconds_max: float = SETTLED_SECONDS_MAX
) -> Mapping[Partition, Span]:
    """The ends of partitions once all that was written by now is decided in each of them. Raises ``LogUnavailable``.

    What was acknowledged before is then before these ends, whole. Of what is written meanwhile they may have parts.
    """
    written = log.ends(topics, decided=False)
    deadline = time.monotonic() + seconds_max
    while True:
        ends = log.ends(topics)
        undecided = [place for place, (_, end) in written.items() if ends[place][1] < end]
        if not undecided:
            return ends
        if time.monotonic() > deadline:
            topic, partition = undecided[0]
            raise LogUnavailable(f"a write to {topic}, partition {partition}, was not decided in {seconds_max:g} s")
        time.sleep(_LOOK_SECONDS)


TAIL_OFFSETS = 64
"""How far before the end of a partition its last record is looked for first; then four times as far, and so on."""


def every_record(_: LogRecord) -> bool:
    """None is passed over."""
    return True


def last_records(
    log: EventLog, spans: Mapping[Partition, Span], wanted: Callable[[LogRecord], bool] = every_record
) -> dict[Partition, LogRecord]:
    """The last wanted record of each partition that has one. What was given up in between is passed over."""
    found: dict[Partition, LogRecord] = {}
    left = {place: span for place, span in spans.items() if span[0] < span[1]}
    back = TAIL_OFFSETS
    while left:
        tails = {place: (max(first, end - back), end) for place, (first, end) in left.items()}
        for page in log.read(tails):
            for record in filter(wanted, page):
                found[record.topic, record.partition] = record
        left = {
            place: left[place] for place, (first, _) in tails.items() if place not in found and first > left[place][0]
        }
        back *= 4
    return found
