"""What every log of topics does, whatever it is made of: subclass, give ``log`` and ``abandon``, and all runs on it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

import pytest

from infra.event_log import (
    TAIL_OFFSETS,
    EventLog,
    Fenced,
    LogRecord,
    LogUnavailable,
    Partition,
    Span,
    TopicsMissing,
    TopicState,
    last_records,
    settled,
)

PARTITIONS = 3
ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}
"""Without this a broker refuses records from a clock that is ahead of its own."""

Abandon = Callable[[Sequence[LogRecord]], None]
"""Writes some of these records as a writer does that dies in the middle of it."""


def record(topic: str, number: int, *, partition: int | None = None) -> LogRecord:
    """Some record, another one for each number."""
    headers = [("position", b"%d" % number), ("wire", b"vote.cast@1")]
    where = number % PARTITIONS if partition is None else partition
    return LogRecord(topic, where, b"key %d" % number, b"value %d" % number, headers, 1_400_000_000_000 + number)


def records(topic: str, first: int, last: int) -> list[LogRecord]:
    """Those from one number up to another, spread over all partitions."""
    return [record(topic, number) for number in range(first, last + 1)]


def numbers(found: Sequence[LogRecord]) -> list[int]:
    """What they were made of."""
    return [int(dict(one.headers)["position"]) for one in found]


def everything(
    log: EventLog, topic: str, ends: Mapping[Partition, Span] | None = None
) -> dict[Partition, list[LogRecord]]:
    """All that readers see, by partition, in the order that they see it."""
    found: dict[Partition, list[LogRecord]] = defaultdict(list)
    for page in log.read(settled(log, [topic]) if ends is None else ends):
        for one in page:
            found[one.topic, one.partition].append(one)
    return found


def seen(log: EventLog, topic: str, ends: Mapping[Partition, Span] | None = None) -> list[int]:
    """The numbers of all that readers see, in order."""
    return sorted(number for found in everything(log, topic, ends).values() for number in numbers(found))


class EventLogConformance:
    """The suite. Other tests may use the same log at the same time, but not its topics or its writers."""

    @pytest.fixture
    def log(self) -> EventLog:
        raise NotImplementedError

    @pytest.fixture
    def abandon(self) -> Abandon:
        raise NotImplementedError

    @pytest.fixture
    def topic(self, log: EventLog) -> str:
        name = f"conformance-{uuid4().hex}"
        log.create_topic(name, TopicState(PARTITIONS, 1, ANY_TIME))
        return name

    # -- writing and reading -----------------------------------------------------------------------------------

    def test_a_new_topic_is_empty(self, log: EventLog, topic: str) -> None:
        assert log.ends([topic]) == {(topic, number): (0, 0) for number in range(PARTITIONS)}
        assert seen(log, topic) == []
        assert last_records(log, log.ends([topic])) == {}

    def test_what_was_written_comes_back_as_it_was(self, log: EventLog, topic: str) -> None:
        written = [
            record(topic, 1),
            LogRecord(topic, 0, "Schlüssel 🐍".encode(), bytes(range(256)), [("a", b""), ("a", b"\xff\x00")], 1),
            LogRecord(topic, 0, b"gone", None, [], 2_000_000_000_000),
            LogRecord(topic, 2, b"large", b"x" * 900_000, [], 0),
        ]
        log.writer().write(written)
        found = [one for page in everything(log, topic).values() for one in page]
        for one in written:
            (same,) = [other for other in found if other.key == one.key]
            assert (same.topic, same.partition, same.value) == (one.topic, one.partition, one.value)
            assert (same.headers, same.timestamp_ms) == (one.headers, one.timestamp_ms or same.timestamp_ms)
        assert len(found) == len(written)

    def test_each_partition_keeps_its_order_over_transactions(self, log: EventLog, topic: str) -> None:
        writer = log.writer()
        for first in range(0, 3_000, 500):
            writer.write(records(topic, first, first + 499))
        found = everything(log, topic)
        assert {place: numbers(page) for place, page in found.items()} == {
            (topic, partition): list(range(partition, 3_000, PARTITIONS)) for partition in range(PARTITIONS)
        }
        for page in found.values():
            offsets = [one.offset for one in page]
            assert offsets == sorted(set(offsets))

    def test_a_part_is_read_from_where_it_begins_to_where_it_ends(self, log: EventLog, topic: str) -> None:
        log.writer().write(records(topic, 0, 29))
        page = everything(log, topic)[topic, 1]
        span = page[3].offset, page[7].offset
        assert numbers([one for part in log.read({(topic, 1): span}) for one in part]) == numbers(page[3:7])
        assert list(log.read({(topic, 1): (5, 5)})) == []

    def test_the_end_stays_where_it_was_asked_for(self, log: EventLog, topic: str) -> None:
        writer = log.writer()
        writer.write(records(topic, 0, 8))
        ends = settled(log, [topic])
        writer.write(records(topic, 9, 99))
        assert seen(log, topic, ends) == list(range(9))

    # -- all or nothing ----------------------------------------------------------------------------------------

    def test_nothing_is_seen_of_a_write_that_is_undecided(self, log: EventLog, topic: str, abandon: Abandon) -> None:
        log.writer().write(records(topic, 0, 8))
        before = settled(log, [topic])
        abandon(records(topic, 9, 20))
        assert log.ends([topic]) == before
        assert seen(log, topic, log.ends([topic])) == list(range(9))

    def test_what_is_undecided_is_waited_for(self, log: EventLog, topic: str, abandon: Abandon) -> None:
        log.writer().write(records(topic, 0, 8))
        ends = settled(log, [topic])
        assert seen(log, topic, ends) == list(range(9))
        abandon(records(topic, 9, 20))
        assert all(log.ends([topic], decided=False)[place][1] > end for place, (_, end) in ends.items())
        with pytest.raises(LogUnavailable, match="not decided"):
            settled(log, [topic], seconds_max=0.2)
        log.writer()
        assert all(settled(log, [topic])[place][1] > end for place, (_, end) in ends.items())
        assert seen(log, topic) == list(range(9))

    def test_a_new_writer_decides_what_the_last_left_behind(self, log: EventLog, topic: str, abandon: Abandon) -> None:
        log.writer().write(records(topic, 0, 8))
        abandon(records(topic, 9, 20))
        writer = log.writer()
        assert seen(log, topic) == list(range(9))
        writer.write(records(topic, 100, 108))
        assert seen(log, topic) == [*range(9), *range(100, 109)]

    def test_the_last_record_is_found_behind_much_that_was_given_up(
        self, log: EventLog, topic: str, abandon: Abandon
    ) -> None:
        log.writer().write(
            [record(topic, 5, partition=0), record(topic, 6, partition=0), record(topic, 7, partition=1)]
        )
        for _ in range(2):
            abandon([record(topic, number, partition=0) for number in range(6 * TAIL_OFFSETS)])
        log.writer()
        found = last_records(log, settled(log, [topic]))
        assert {place: numbers([one]) for place, one in found.items()} == {(topic, 0): [6], (topic, 1): [7]}

    # -- one writer --------------------------------------------------------------------------------------------

    def test_a_writer_that_was_followed_can_do_nothing(self, log: EventLog, topic: str) -> None:
        first = log.writer()
        first.write(records(topic, 0, 2))
        second = log.writer()
        with pytest.raises(Fenced):
            first.write(records(topic, 3, 5))
        second.write(records(topic, 6, 8))
        assert seen(log, topic) == [0, 1, 2, 6, 7, 8]

    def test_it_can_do_nothing_either_when_the_other_did_nothing_yet(self, log: EventLog, topic: str) -> None:
        first = log.writer()
        log.writer()
        with pytest.raises((Fenced, LogUnavailable)):
            first.write(records(topic, 0, 2))
        with pytest.raises((Fenced, LogUnavailable)):
            first.write(records(topic, 0, 2))
        assert seen(log, topic) == []

    # -- topics ------------------------------------------------------------------------------------------------

    def test_topics_are_made_as_they_were_asked_for(self, log: EventLog) -> None:
        name = f"conformance-{uuid4().hex}"
        wanted = TopicState(4, 1, {"cleanup.policy": "compact", "retention.ms": "-1"})
        log.create_topic(name, wanted)
        assert log.topics()[name] == wanted
        log.configure_topic(name, {"retention.ms": "60000"})
        assert log.topics()[name] == TopicState(4, 1, {"cleanup.policy": "compact", "retention.ms": "60000"})

    def test_topics_that_are_not_there_are_said_to_be_missing(self, log: EventLog, topic: str) -> None:
        with pytest.raises(TopicsMissing, match="conformance-none"):
            log.ends([topic, "conformance-none"])
