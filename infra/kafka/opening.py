"""The log on Kafka as the settings name it."""

from typing import Final

from infra.event_log import GivingUp, never
from infra.kafka.limits import KafkaLimits
from infra.kafka.log import KafkaLog
from infra.settings import Settings, SettingsError

RECORD_OVERHEAD_BYTES: Final = 65_536
"""Of key, headers and framing, generously, above the largest event."""


def record_bytes_max(settings: Settings) -> int:
    """The largest record that an event may become."""
    return settings.store_event_bytes_max + RECORD_OVERHEAD_BYTES


def kafka_log(settings: Settings, *, stopping: GivingUp = never) -> KafkaLog:
    """The log on that Kafka; connects when it is used. Raises ``SettingsError`` when none is named."""
    if not settings.kafka_url:
        raise SettingsError(
            "No Kafka is named.",
            "MOOT_KAFKA_URL is not set. One process on one machine needs none; a fleet does.",
            "Set it to the brokers, for example MOOT_KAFKA_URL=127.0.0.1:9092, or start the stack: ./task stack:up",
        )
    limits = KafkaLimits(
        request_seconds_max=settings.kafka_request_seconds_max,
        transaction_seconds_max=settings.kafka_transaction_seconds_max,
        record_bytes_max=record_bytes_max(settings),
        read_ahead_bytes_max=settings.kafka_read_ahead_bytes_max,
    )
    return KafkaLog(settings.kafka_url, limits=limits, stopping=stopping)
