"""Every metric of Moot, in one place, by role. Names end in their unit; dashboards and alerts are checked against them.

No label takes a value that a user chose: the number of series is bounded by the code.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry(auto_describe=False)
"""Ours alone: what a library registers by itself is not shown."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EVENTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(name, what, labels, registry=REGISTRY)


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(name, what, labels, registry=REGISTRY)


def _histogram(name: str, what: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    return Histogram(name, what, labels, buckets=buckets, registry=REGISTRY)


INFO: Final = _gauge("moot_info", "Always 1: which role this process has, and its version.", "role", "version")

# Clients of what Moot depends on.
BREAKER_STATE: Final = _gauge("moot_breaker_state", "Of a client: 0 closed, 1 half open, 2 open.", "dependency")
BREAKER_OPENED: Final = _counter("moot_breaker_opened_total", "How often a breaker opened.", "dependency")
BREAKER_REFUSED: Final = _counter("moot_breaker_refused_total", "Calls refused by an open breaker.", "dependency")
RETRIES: Final = _counter("moot_retries_total", "Calls made once more after a failure.", "dependency")

# The API.
OPERATIONS: Final = _counter("moot_operations_total", "GraphQL operations, by outcome.", "kind", "outcome")
OPERATION_SECONDS: Final = _histogram(
    "moot_operation_seconds", "Of a GraphQL operation, from parsed to answer.", "kind"
)
COMMANDS: Final = _counter("moot_commands_total", "Commands, by what came of them.", "command", "outcome")
COMMAND_SECONDS: Final = _histogram("moot_command_seconds", "From a command to its outcome.", "command")
SOCKETS: Final = _gauge("moot_websockets", "WebSockets that are open.")
TOPICS: Final = _gauge("moot_topics_followed", "Topics that somebody follows in this process.")
PUSHES: Final = _counter("moot_pushes_total", "Events handed to a subscriber.")
PUSH_READ_SECONDS: Final = _histogram("moot_push_read_seconds", "From a signal to what it led to handed to followers.")
SIGNALS_LOST: Final = _counter("moot_signals_lost_total", "Batches whose signals Redis did not take.")
POSITION_WAITS: Final = _counter("moot_position_waits_total", "Reads that named a position, by outcome.", "outcome")
POSITION_WAIT_SECONDS: Final = _histogram("moot_position_wait_seconds", "How long such a read waited for the views.")
READS: Final = _counter("moot_reads_total", "Reads of views, by the server that answered.", "server")

IDS_LACKING_SECONDS: Final = _gauge(
    "moot_ids_lacking_seconds", "For how long this process could make no ids of messages; 0 while it can."
)

# The event store, in whatever process appends.
STORE_EVENTS: Final = _counter("moot_store_events_total", "Events appended.")
STORE_CONFLICTS: Final = _counter("moot_store_conflicts_total", "Commands that met another writer on their stream.")
STORE_UNAVAILABLE: Final = _counter("moot_store_unavailable_total", "Commands that the event store did not answer.")
STORE_BATCH_COMMANDS: Final = _histogram(
    "moot_store_batch_commands", "Commands in one transaction of the event store.", buckets=_EVENTS
)
STORE_APPEND_SECONDS: Final = _histogram("moot_store_append_seconds", "Of one transaction of the event store.")

# The relay.
RELAY_LEADS: Final = _gauge("moot_relay_leads", "Whether this relay leads.")
RELAY_POSITION: Final = _gauge("moot_relay_position", "The position up to which everything is in Kafka.")
RELAY_EVENTS: Final = _counter("moot_relay_events_total", "Events sent to Kafka and acknowledged.")
RELAY_BATCH_EVENTS: Final = _histogram("moot_relay_batch_events", "Events in one transaction.", buckets=_EVENTS)
RELAY_SEND_SECONDS: Final = _histogram("moot_relay_send_seconds", "Of one transaction, to its acknowledgement.")
RELAY_FAILURES: Final = _counter("moot_relay_failures_total", "Times that the relay had to begin again.")

# The views, in whatever process folds: the embedded runner or a worker.
VIEW_EVENTS: Final = _counter("moot_view_events_total", "Events folded into at least one view.")
VIEW_BATCH_EVENTS: Final = _histogram("moot_view_batch_events", "Events in one batch of folds.", buckets=_EVENTS)
VIEW_BATCH_SECONDS: Final = _histogram("moot_view_batch_seconds", "Of one batch, from its first query to its commit.")
VIEW_PARKED: Final = _counter("moot_view_parked_total", "Events that went to the dead letters.", "projection")
FOREIGN_RECORDS: Final = _counter(
    "moot_foreign_records_total", "Records of the topics that a worker passed over, as no relay has sent them."
)
VIEW_LAST_COMMIT: Final = _gauge("moot_view_last_commit_timestamp_seconds", "When a batch was last committed.")

# How far everything is, as PostgreSQL knows it: asked for at a scrape, by the roles that follow the log.
LAG: Final = {
    "moot_log_position": "The position of the newest event.",
    "moot_relay_lag_events": "Events that are not in Kafka yet.",
    "moot_relay_lag_seconds": "How old the oldest of them is.",
    "moot_projection_lag_events": "Events that are not in the view yet.",
    "moot_projection_lag_seconds": "How old the oldest of them is.",
    "moot_dead_letters": "Events of a view that wait in the dead letters.",
    "moot_lag_known": "Whether PostgreSQL could be asked for all of this.",
}
"""Gauges that ``infra.telemetry.lag`` gives, and what they say."""

POOLS: Final = {
    "moot_pool_connections": "Connections of a pool to PostgreSQL.",
    "moot_pool_idle": "Those of them that nobody uses.",
    "moot_pool_waiting": "Callers that wait for one.",
}
"""Gauges that ``infra.telemetry.pools`` gives, and what they say."""
