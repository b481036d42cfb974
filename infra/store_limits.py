"""The limits of the event store. Units and reasons are with the settings of the same names, ``store_…``."""

from msgspec import Struct


class StoreLimits(Struct, frozen=True):
    """Of the store in one process. The defaults suit two cores."""

    waiting_max: int = 10_000
    batch_events_max: int = 1_000
    bulk_events_max: int = 5_000
    load_streams_max: int = 1_000
    follow_events_max: int = 1_000
    event_bytes_max: int = 1_000_000
    connections_max: int = 8
    connect_seconds_max: float = 3.0
    lock_seconds_max: int = 10
    answer_seconds_max: float = 10.0
    poll_seconds: float = 1.0
    cached_keys_max: int = 50_000
    reader_threads: int = 2


LIMITS = StoreLimits()
