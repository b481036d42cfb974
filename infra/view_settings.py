"""The limits of what keeps the views: the runner, live, and the rebuild, in bulk."""

from pydantic import BaseModel

from infra.setting import setting


class ViewSettings(BaseModel):
    """Part of ``Settings``; ``streams/limits.py`` makes the runner's and the rebuild's limits of it."""

    runner_batch_events_min: int = setting(500, "events", "The first batch of a backlog: small, so visible soon.", ge=1)
    runner_batch_events_max: int = setting(
        5_000, "events", "The largest batch of a backlog: past this an event costs no less.", ge=1
    )
    runner_laggard_events_max: int = setting(
        1_000, "events", "A batch of a view that is behind: those in front wait for it.", ge=1
    )
    runner_bulk_events_min: int = setting(
        50_000,
        "events",
        "A view further behind than this at start is rebuilt in bulk, which is faster from there.",
        ge=1,
    )
    runner_rebuild_events_max: int = setting(
        2_000_000, "events", "Up to so long a log, a view of another version is rebuilt at start: some 20 s.", ge=0
    )
    runner_retry_seconds_min: float = setting(0.1, "seconds", "Before the first retry after a failure.", gt=0)
    runner_retry_seconds_max: float = setting(
        5.0, "seconds", "Between later ones, each twice as long: a database that is back is found so soon.", gt=0
    )
    runner_idle_seconds: float = setting(
        1.0, "seconds", "How often an idle runner looks for what no notice told it: rebuilt views, lost notices.", gt=0
    )

    rebuild_page_events: int = setting(
        16_384,
        "events",
        "Read at a time, as many as a row of the index of subjects holds: it is whole at once. Memory holds two pages.",
        ge=1,
    )
    rebuild_copy_rows: int = setting(20_000, "rows", "Copied at a time: larger ones are no faster.", ge=1)
    rebuild_copies_waiting_max: int = setting(8, "copies", "Waiting for the disk before folding waits, too.", ge=1)
    rebuild_rows_max: int = setting(
        6_000_000, "rows", "Held in memory, some 200 bytes each; with more, the largest view goes to disk.", ge=1
    )
    rebuild_lag_events_max: int = setting(
        500, "events", "Left to catch up with when the exchange begins and the runner waits: milliseconds.", ge=0
    )
    rebuild_lock_seconds: float = setting(
        0.1, "seconds", "How long the exchange waits for readers, who queue behind it meanwhile.", gt=0
    )
    rebuild_batch_seconds_max: float = setting(
        10.0, "seconds", "How long the exchange waits for the runner's batch to end.", gt=0
    )
    rebuild_switch_attempts_max: int = setting(
        100, "attempts", "Of the exchange, where long reads are in the way: some 20 s in all.", ge=1
    )
    rebuild_switch_pause_seconds: float = setting(0.1, "seconds", "Between them: the readers' turn.", gt=0)
    rebuild_ahead_seconds_max: float = setting(
        5.0, "seconds", "How long live views may take in all to come to where the new ones stand.", ge=0
    )
    rebuild_writers: int = setting(2, "threads", "That copy rows beside the one that folds.", ge=1)
