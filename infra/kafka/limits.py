"""The limits of the clients of Kafka."""

from msgspec import Struct


class KafkaLimits(Struct, frozen=True):
    """Units and reasons are with the settings of the same names, ``kafka_…``.

    ``record_bytes_max`` is that of a stored event, and what goes with it.
    """

    request_seconds_max: float = 10.0
    transaction_seconds_max: float = 30.0
    record_bytes_max: int = 1_065_536
    read_ahead_bytes_max: int = 32 * 1024**2
