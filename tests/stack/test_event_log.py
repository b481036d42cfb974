"""The log of topics on a real Kafka."""

from collections.abc import Sequence
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from infra.event_log import LogRecord, LogUnavailable
from infra.kafka.log import LANES, KafkaLog
from tests.conformance.event_log import Abandon, EventLogConformance


class TestKafka(EventLogConformance):
    @pytest.fixture
    def transactional_id(self) -> str:
        return f"conformance-{uuid4().hex}"

    @pytest.fixture
    def log(self, kafka_url: str, transactional_id: str) -> KafkaLog:
        return KafkaLog(kafka_url, transactional_id=transactional_id)

    @pytest.fixture
    def abandon(self, kafka_url: str, transactional_id: str) -> Abandon:
        def half(records: Sequence[LogRecord]) -> None:
            producer = Producer(
                {"bootstrap.servers": kafka_url, "transactional.id": f"{transactional_id}-{LANES - 1}", "linger.ms": 0}
            )
            producer.init_transactions(30)
            producer.begin_transaction()
            for one in records:
                producer.produce(one.topic, one.value, one.key, one.partition, headers=list(one.headers))
            while len(producer):
                producer.poll(0.1)

        return half

    def test_what_is_not_there_is_not_waited_for(self, log: KafkaLog, topic: str) -> None:
        log.writer().write([LogRecord(topic, 0, b"k", b"v")])
        with pytest.raises(LogUnavailable, match="offset 100"):
            list(log.read({(topic, 0): (100, 105)}))
