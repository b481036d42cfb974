"""The limits of the runner, of a rebuild, of the relay and of a worker, from the settings."""

from msgspec import Struct

from infra.setting import group
from infra.settings import Settings
from projections.subjects import BUCKET_BITS
from streams.runner import RunnerLimits
from streams.worker.limits import WorkerLimits


class RebuildLimits(Struct, frozen=True):
    """The limits of a rebuild.

    It reads ``page_events`` at a time, as many as a row of subjects holds so that it is whole at once. It copies
    ``copy_rows`` at a time, at most ``copies_waiting_max`` of them waiting. When more than ``rows_max`` rows are held
    in memory, those of the largest view are written out and merged from then on. It catches up without a lock until
    at most ``lag_events_max`` events are left; the runner waits for the rest. The exchange waits ``lock_seconds`` for
    readers, who queue behind it, and is tried ``switch_attempts_max`` times, ``switch_pause_seconds`` apart; it waits
    ``batch_seconds_max`` for the runner's batch to end, and in all ``ahead_seconds_max`` for live views to come to
    where the new ones stand already.
    """

    page_events: int = 1 << BUCKET_BITS
    copy_rows: int = 20_000
    copies_waiting_max: int = 8
    rows_max: int = 6_000_000
    lag_events_max: int = 500
    lock_seconds: float = 0.1
    batch_seconds_max: float = 10.0
    switch_attempts_max: int = 100
    switch_pause_seconds: float = 0.1
    ahead_seconds_max: float = 5.0
    writers: int = 2


class RelayLimits(Struct, frozen=True):
    """The limits of a relay. Units and reasons are with the settings of the same names, ``relay_…``."""

    batch_events_max: int = 5_000
    batch_bytes_max: int = 16 * 1024**2
    interval_seconds: float = 0.01
    poll_seconds: float = 1.0
    election_seconds: float = 1.0
    silent_seconds_max: float = 15.0
    retry_seconds_min: float = 0.1
    retry_seconds_max: float = 5.0
    keys_seconds: float = 5.0
    keys_margin_seconds: float = 60.0
    keys_remembered_max: int = 200_000


def runner_limits(settings: Settings) -> RunnerLimits:
    """Those settings that begin with ``runner_``."""
    return group(settings, "runner", RunnerLimits)


def rebuild_limits(settings: Settings) -> RebuildLimits:
    """Those settings that begin with ``rebuild_``."""
    return group(settings, "rebuild", RebuildLimits)


def relay_limits(settings: Settings) -> RelayLimits:
    """Those settings that begin with ``relay_``."""
    return group(settings, "relay", RelayLimits)


def worker_limits(settings: Settings) -> WorkerLimits:
    """Those settings that begin with ``worker_``."""
    return group(settings, "worker", WorkerLimits)
