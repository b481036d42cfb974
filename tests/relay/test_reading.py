"""Reading goes on where it broke off, without a record lost or repeated, and not for ever."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from infra.event_log import LogUnavailable
from infra.kafka import log as adapter
from infra.kafka.log import READ_RETRIES_MAX, KafkaLog

TOPIC = "topic"
END = 20


class Message:
    """A record, or an error, at an offset of the one partition."""

    def __init__(self, offset: int, error: KafkaError | None = None) -> None:
        self._offset = offset
        self._error = error

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"%d" % self._offset

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


class Consumers:
    """Each reads a few records from where it is set to, and breaks off in the middle of a batch."""

    def __init__(self, good: int) -> None:
        self._good = good
        self.made = 0
        self._at = 0

    def __call__(self, *_: Any, **__: Any) -> "Consumers":
        self.made += 1
        return self

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._at = places[0].offset

    def consume(self, *_: object) -> list[Message]:
        records = [Message(offset) for offset in range(self._at, min(END, self._at + self._good))]
        broken = Message(self._at + self._good, KafkaError(KafkaError.OFFSET_OUT_OF_RANGE))
        return [*records, broken, Message(self._at + self._good)]

    def close(self) -> None:
        pass


def read(monkeypatch: pytest.MonkeyPatch, good: int) -> tuple[list[int], Consumers]:
    consumers = Consumers(good)
    monkeypatch.setattr(adapter, "Consumer", consumers)
    monkeypatch.setattr(adapter, "READ_PAUSE_SECONDS", 0.001)
    found = [record.offset for page in KafkaLog("nowhere").read({(TOPIC, 0): (0, END)}) for record in page]
    return found, consumers


def test_it_goes_on_where_it_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    found, consumers = read(monkeypatch, 3)
    assert found == list(range(END))
    assert consumers.made == 7


def test_it_gives_up_when_it_comes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogUnavailable, match="offset 0"):
        read(monkeypatch, 0)
    assert READ_RETRIES_MAX < 10
