"""The settings of the log on Kafka and of the relay that fills it."""

from pydantic import BaseModel, field_validator

from infra.engine_urls import checked_kafka_url
from infra.setting import setting


class KafkaSettings(BaseModel):
    """Part of ``Settings``; ``streams/limits.py`` makes the limits of the clients and of the relay of it."""

    kafka_url: str | None = setting(
        None, "host:port, …", "Where Kafka (4.0 or newer) answers, one or more brokers. Needed by a fleet only."
    )
    kafka_replicas: int = setting(
        1, "copies", "Of each new topic's partitions, on as many brokers. Three survive the loss of one.", ge=1
    )
    kafka_request_seconds_max: float = setting(
        10.0, "seconds", "How long one request to a broker may take before it is sent again or given up.", gt=0
    )
    kafka_transaction_seconds_max: float = setting(
        30.0,
        "seconds",
        "How long a transaction may stay undecided, while its broker is away. Readers wait, too.",
        ge=1,
        le=900,
    )
    kafka_read_ahead_bytes_max: int = setting(
        32 * 1024**2, "bytes", "Fetched before they are asked for when topics are read from end to end.", ge=2**20
    )

    relay_batch_events_max: int = setting(
        5_000, "events", "In one transaction of a backlog: past this an event costs no less.", ge=1, le=20_000
    )
    relay_batch_bytes_max: int = setting(
        16 * 1024**2, "bytes", "The same in bytes: what the relay holds in memory, two or three times.", ge=1
    )
    relay_interval_seconds: float = setting(
        0.01,
        "seconds",
        "From one transaction to the next while there is no backlog: each costs the broker the same, however small.",
        ge=0,
    )
    relay_poll_seconds: float = setting(
        1.0, "seconds", "How often the relay looks for events that no notice told it of.", gt=0
    )
    relay_election_seconds: float = setting(
        1.0, "seconds", "How often a relay that stands by asks whether the leader is gone.", gt=0
    )
    relay_silent_seconds_max: float = setting(
        15.0,
        "seconds",
        "How long PostgreSQL may hear nothing of a leader before another may lead: one that is frozen, or cut off. And"
        " how long a relay waits for an answer of PostgreSQL before it lets go and connects anew.",
        ge=1,
    )
    relay_retry_seconds_min: float = setting(
        0.1, "seconds", "Before the first retry after a failure, and half as much more or less.", gt=0
    )
    relay_retry_seconds_max: float = setting(
        5.0, "seconds", "Between later ones, each twice as long: a broker that is back is found so soon.", gt=0
    )
    relay_keys_seconds: float = setting(
        5.0, "seconds", "How often the relay looks for authors who were erased, whose keys Kafka must forget.", gt=0
    )
    relay_keys_margin_seconds: float = setting(
        60.0, "seconds", "How long an erasure may take to commit after it has begun, and still be found.", gt=0
    )
    relay_keys_remembered_max: int = setting(
        200_000,
        "authors",
        "Whose keys are known to be in Kafka; of others they are sent once more, which harms nothing.",
        ge=1,
    )
    relay_publish_seconds_max: float = setting(
        0.2, "seconds", "How long the relay waits for Redis to pass on that it has got further.", gt=0
    )

    @field_validator("kafka_url")
    @classmethod
    def _are_brokers(cls, url: str | None) -> str | None:
        return None if url is None else checked_kafka_url(url)
