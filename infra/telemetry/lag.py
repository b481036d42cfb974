"""How far the relay and the views are behind the log, asked of PostgreSQL when Prometheus asks."""

import time
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final

import psycopg
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.bounded import bounded
from infra.postgres import CONTEXT
from infra.telemetry.metrics import LAG

STATEMENT_SECONDS_MAX: Final = 2
"""How long PostgreSQL may take to say it: a scrape must end before Prometheus gives it up."""
KEPT_SECONDS: Final = 1.0
"""How long an answer is good for, whoever asks."""

_RECORDED: Final = """(SELECT (convert_from(e.state, 'UTF8')::json -> 'meta' ->> 'recorded_at')::timestamptz
    FROM log.stored_events e WHERE e.notification_id = {} + 1)"""
_LAG: Final = """
WITH head AS (SELECT coalesce(max(notification_id), 0) AS position FROM log.stored_events)
SELECT 'log', '', position, 0, 0 FROM head
UNION ALL
SELECT 'relay', '', r.position, greatest(0, h.position - r.position),
    coalesce(extract(epoch FROM clock_timestamp() - @relay), 0)
    FROM log.relayed r, head h WHERE r.partition = -1
UNION ALL
SELECT 'view', p.projection, p.position, greatest(0, h.position - p.position),
    coalesce(extract(epoch FROM clock_timestamp() - @view), 0)
    FROM views.progress p, head h
UNION ALL
SELECT 'parked', d.projection, 0, count(*), 0 FROM views.dead_letters d
    WHERE right(d.projection, 9) <> '_previous' GROUP BY d.projection
""".replace("@relay", _RECORDED.format("r.position")).replace("@view", _RECORDED.format("p.position"))


class Behind(Struct, frozen=True):
    """How far one thing is behind the log, in events and in seconds: the age of the oldest that it lacks.

    Its age is told by the time in it, so it is off by as much as the clock of the process that recorded it.
    """

    position: int
    events: int
    seconds: float


class Lag(Struct, frozen=True):
    """``relay`` is ``None`` where nothing was ever relayed; ``parked`` has the views with dead letters alone."""

    position: int
    relay: Behind | None
    views: dict[str, Behind]
    parked: dict[str, int]


def read_lag(connection: psycopg.Connection[Any]) -> Lag:
    """As it is committed now. Raises ``psycopg.Error``."""
    head, relay, views, parked = 0, None, {}, {}
    for kind, name, position, events, seconds in connection.execute(_LAG.encode()):
        behind = Behind(position, events, max(0.0, float(seconds)))
        if kind == "log":
            head = position
        elif kind == "relay":
            relay = behind
        elif kind == "view":
            views[name] = behind
        else:
            parked[name] = events
    return Lag(head, relay, views, parked)


class LagCollector(Collector):
    """Gives ``metrics.LAG``. A database that does not answer is a metric too; ``close`` it."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = Lock()
        self._lag: Lag | None = None
        self._asked_at = float("-inf")

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without values, so that nothing is asked to register this."""
        yield from _families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics of now."""
        lag = self._known()
        families = _families()
        families["moot_lag_known"].add_metric([], float(lag is not None))
        if lag is not None:
            families["moot_log_position"].add_metric([], lag.position)
            if lag.relay is not None:
                families["moot_relay_lag_events"].add_metric([], lag.relay.events)
                families["moot_relay_lag_seconds"].add_metric([], lag.relay.seconds)
            for name, behind in lag.views.items():
                families["moot_projection_lag_events"].add_metric([name], behind.events)
                families["moot_projection_lag_seconds"].add_metric([name], behind.seconds)
                families["moot_dead_letters"].add_metric([name], lag.parked.get(name, 0))
        yield from families.values()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _known(self) -> Lag | None:
        with self._lock:
            if time.monotonic() - self._asked_at > KEPT_SECONDS:
                self._lag = self._ask()
                self._asked_at = time.monotonic()
            return self._lag

    def _ask(self) -> Lag | None:
        try:
            if self._connection is None:
                # The server ends what takes too long; through a network that swallows packets nobody hears of it.
                self._connection = bounded(STATEMENT_SECONDS_MAX + 0.5).connect(
                    self._database_url,
                    autocommit=True,
                    context=CONTEXT,
                    connect_timeout=STATEMENT_SECONDS_MAX,
                    application_name="moot metrics",
                    options=f"-c statement_timeout={STATEMENT_SECONDS_MAX}s",
                )
            return read_lag(self._connection)
        except psycopg.Error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return None


def _families() -> dict[str, GaugeMetricFamily]:
    labels = {"moot_projection_lag_events", "moot_projection_lag_seconds", "moot_dead_letters"}
    return {name: GaugeMetricFamily(name, what, labels=["projection"] * (name in labels)) for name, what in LAG.items()}
