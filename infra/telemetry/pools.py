"""How the pools of connections do, asked when Prometheus asks."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg_pool import AsyncConnectionPool

from infra.telemetry.metrics import POOLS


class PoolCollector(Collector):
    """Gives ``metrics.POOLS`` of those pools that there are, by name."""

    def __init__(self, pools: Mapping[str, AsyncConnectionPool[Any] | None]) -> None:
        self._pools = {name: pool for name, pool in pools.items() if pool is not None}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics of now."""
        families = {name: GaugeMetricFamily(name, what, labels=["pool"]) for name, what in POOLS.items()}
        for name, pool in self._pools.items():
            stats = pool.get_stats()
            families["moot_pool_connections"].add_metric([name], stats.get("pool_size", 0))
            families["moot_pool_idle"].add_metric([name], stats.get("pool_available", 0))
            families["moot_pool_waiting"].add_metric([name], stats.get("requests_waiting", 0))
        yield from families.values()
