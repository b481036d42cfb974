"""The settings of the workers of a fleet, which fold what is in Kafka into views."""

from pydantic import BaseModel

from infra.setting import setting


class WorkerSettings(BaseModel):
    """Part of ``Settings``; ``streams/limits.py`` makes the limits of a worker of it."""

    worker_batch_events_max: int = setting(
        4_000, "events", "Folded in one transaction at most: past this an event costs no less.", ge=1
    )
    worker_batch_seconds_max: float = setting(
        30.0,
        "seconds",
        "PostgreSQL that has not answered for so long is taken for gone: a batch takes a fraction of a second, and"
        " whoever holds its locks no more than a few.",
        ge=1,
    )
    worker_session_seconds: float = setting(
        10.0,
        "seconds",
        "A worker that the broker has not heard of for so long is dead, and others take over. Less than 6 s, which a"
        " broker must be told to allow, takes a machine that is merely busy for a dead one.",
        ge=1,
        le=300,
    )
    worker_heartbeat_seconds: float = setting(
        1.0, "seconds", "How often a worker is heard of. The others learn of a change of workers as late.", gt=0
    )
    worker_rebalance_seconds: float = setting(
        12.0,
        "seconds",
        "How long the others wait, in a change of workers, for one that does not answer; then it is left out.",
        ge=1,
    )
    worker_release_seconds_max: float = setting(
        3.0,
        "seconds",
        "How long a change of workers, or the end, waits for a batch under way. What is folded after that is refused by"
        " its checkpoint.",
        gt=0,
    )
    worker_retry_seconds_min: float = setting(0.1, "seconds", "Before the first retry after a failure.", gt=0)
    worker_retry_seconds_max: float = setting(
        5.0, "seconds", "Between later ones, each twice as long: an engine that is back is found so soon.", gt=0
    )
    worker_transaction_seconds_max: float = setting(
        10.0,
        "seconds",
        "PostgreSQL ends a transaction of a worker that takes longer: one that was frozen in the middle of it holds"
        " locks that others wait for.",
        ge=1,
    )
    worker_hint_seconds: float = setting(
        5.0, "seconds", "How often the broker is told how far a group is, for tools that ask it.", gt=0
    )
    worker_watch_seconds: float = setting(
        5.0,
        "seconds",
        "How often a worker looks whether it still gets on, for rebuilt views, for topics that were made again, and for"
        " signals still to be sent.",
        gt=0,
    )
    worker_stall_seconds_max: float = setting(
        120.0,
        "seconds",
        "A worker that has events to fold and PostgreSQL to fold them into, and has not committed one for so long, ends"
        " itself: whoever starts it again finds it well. Far more than a rebalance and the slowest batch.",
        ge=10,
    )
