"""The limits of a worker."""

from msgspec import Struct


class WorkerLimits(Struct, frozen=True):
    """Units and reasons are with the settings of the same names, ``worker_…``."""

    batch_events_max: int = 4_000
    batch_seconds_max: float = 30.0
    session_seconds: float = 10.0
    heartbeat_seconds: float = 1.0
    rebalance_seconds: float = 12.0
    release_seconds_max: float = 3.0
    retry_seconds_min: float = 0.1
    retry_seconds_max: float = 5.0
    transaction_seconds_max: float = 10.0
    hint_seconds: float = 5.0
    watch_seconds: float = 5.0
    stall_seconds_max: float = 120.0
