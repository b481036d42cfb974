"""The client of Cassandra: prepared, at quorum, bounded in flight and in time, with a breaker and bounded retries.

Every statement given to it must be one that may be applied twice without harm: what was not answered is sent again.
It connects when it is first used, and finds a cluster that was away by itself.
"""

import asyncio
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from cassandra import (
    ConsistencyLevel,
    DriverException,
    OperationTimedOut,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    FallthroughRetryPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage, IsBootstrappingErrorMessage, OverloadedErrorMessage
from cassandra.query import PreparedStatement, tuple_factory
from msgspec import Struct

from infra.breaker import Breaker, BreakerLimits, pauses
from infra.cassandra.address import Address
from infra.cassandra.errors import CassandraAway, CassandraError, CassandraRefused, CassandraUnready
from infra.telemetry import metrics

NAME: Final = "cassandra"
"""As metrics and breakers call it."""

PROTOCOL_VERSION: Final = 4
"""Of CQL: the newest that both Cassandra and ScyllaDB speak."""
READERS: Final = 16
"""Threads that wait for what an event loop asks. An answer takes a millisecond, and who reads the same asks once."""
RECONNECT_SECONDS_MIN: Final = 0.25
RECONNECT_SECONDS_MAX: Final = 2.0
"""How far apart the driver tries a node that went away. Its own default grows to ten minutes."""
SCHEMA_SECONDS_MAX: Final = 30.0
"""How long a change of the schema may take, which all nodes have to agree on."""

_NOT_ANSWERED: Final = (
    NoHostAvailable,
    OperationTimedOut,
    ConnectionException,
    Unavailable,
    ReadTimeout,
    WriteTimeout,
    ReadFailure,
    WriteFailure,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    OSError,
)

_FAILED: Final = (*_NOT_ANSWERED, DriverException, ErrorMessage)
"""All that the driver raises of what a server said or did not say."""

Row = tuple[Any, ...]

_TOO_LARGE = re.compile(r"oversized mutation|[Mm]utation of \d+ bytes is too large")
"""What Cassandra and ScyllaDB say of a row that is larger than a part of their commit log."""

# The driver logs each failed attempt to reconnect with its traceback; the breaker says the same once.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class CassandraLimits(Struct, frozen=True):
    """Units and reasons are with the settings of the same names, ``cassandra_…``."""

    replicas: int = 1
    connect_seconds_max: float = 2.0
    request_seconds_max: float = 2.0
    attempts_max: int = 3
    retry_seconds_max: float = 0.2
    in_flight_max: int = 128


class CassandraClient:
    """One process's client. All methods are for any thread, ``ask`` for event loops; ``close`` it at the end.

    Statements name tables as ``named`` gives them, and take parameters as ``?``. Methods raise ``CassandraError``.
    """

    def __init__(
        self, address: Address, limits: CassandraLimits | None = None, breaker_limits: BreakerLimits | None = None
    ) -> None:
        self.keyspace = address.keyspace
        self.limits = limits or CassandraLimits()
        self.breaker = Breaker(NAME, breaker_limits, refusal=CassandraAway)
        self.address = address
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, PreparedStatement] = {}
        self._in_flight = threading.BoundedSemaphore(self.limits.in_flight_max)
        self._threads = ThreadPoolExecutor(READERS, "cassandra")

    def named(self, table: str) -> str:
        """A table's full name."""
        return f"{self.keyspace}.{table}"

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The rows that one statement gives."""
        return self.run_all(statement, [parameters])[0]

    def run_all(self, statement: str, every: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """The rows that a statement gives with each of some parameters; so many as there may be are under way at once.

        Raises ``CassandraAway`` when one was not answered, however often it was tried. Of the others any may have
        happened, whatever is raised.
        """
        found: list[list[Row]] = [[] for _ in every]
        missing: Sequence[int] = range(len(every))
        waits = pauses(self.limits.attempts_max, self.limits.retry_seconds_max, self.limits.retry_seconds_max)
        while missing:
            try:
                with self._guarded():
                    self._attempt(statement, every, missing, found)
                missing = ()
            except _Missing as error:
                missing, pause = error.missing, next(waits, None)
                if pause is None:
                    raise _named(error.cause) from error.cause
                metrics.RETRIES.labels(NAME).inc()
                time.sleep(pause)
        return found

    async def ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """``run`` for an event loop."""
        return (await self.ask_all(statement, [parameters]))[0]

    async def ask_all(self, statement: str, every: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """``run_all`` for an event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run_all, statement, every)

    def pages(self, statement: str, size: int) -> Iterator[list[Row]]:
        """All rows that a statement gives, in pages of so many: for a look at everything, not for requests.

        It is not tried again.
        """
        with self._guarded():
            try:
                asked = self._statement(statement).bind(())
                asked.fetch_size = size
                page = self._connected().execute(asked)
                yield list(page.current_rows)
                while page.has_more_pages:
                    page.fetch_next_page()
                    yield list(page.current_rows)
            except _FAILED as error:
                raise _named(error) from error

    def change_schema(self, statement: str) -> None:
        """Run a statement that changes the schema; returns when all nodes that are there agree on it.

        It is not tried again.
        """
        with self._guarded():
            try:
                self._connected().execute(statement, timeout=SCHEMA_SECONDS_MAX)
            except _FAILED as error:
                raise _named(error) from error

    def version(self) -> str:
        """Of the node that answers."""
        return str(self.run("SELECT release_version FROM system.local")[0][0])

    def replication(self) -> dict[str, str] | None:
        """How the keyspace is kept, as the schema has it; ``None`` where there is no such keyspace."""
        found = self.run("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", [self.keyspace])
        return dict(found[0][0]) if found else None

    def close(self) -> None:
        """Let go of all connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            cluster.shutdown()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self.breaker.guarding(lambda error: isinstance(error, (_Missing, CassandraAway))):
            yield

    def _attempt(
        self, statement: str, every: Sequence[Sequence[Any]], wanted: Sequence[int], found: list[list[Row]]
    ) -> None:
        """Put what the statement gives into ``found``. Raises ``_Missing`` with those that were not answered."""
        try:
            session, prepared = self._connected(), self._statement(statement)
        except _NOT_ANSWERED as error:
            raise _Missing(wanted, error) from error
        except _FAILED as error:
            raise _named(error) from error
        try:
            bound = [prepared.bind(every[number]) for number in wanted]
        except (TypeError, ValueError, OverflowError) as error:
            raise CassandraRefused(f"a value cannot be sent: {error}") from error
        under_way = [self._send(session, one) for one in bound]
        missing: list[int] = []
        causes: list[BaseException] = []
        for number, future in zip(wanted, under_way, strict=True):
            try:
                found[number] = list(future.result())
            except _FAILED as error:
                missing.append(number)
                causes.append(error)
        for cause in causes:  # all were waited for by now
            if not isinstance(cause, _NOT_ANSWERED):
                raise _named(cause) from cause
        if causes:
            raise _Missing(missing, causes[0])

    def _send(self, session: Session, bound: Any) -> Any:
        """Begin one statement, once there are few enough under way."""
        self._in_flight.acquire()
        try:
            future = session.execute_async(bound)
        except BaseException:
            self._in_flight.release()
            raise
        future.add_callbacks(self._returned, self._returned)
        return future

    def _returned(self, _: Any) -> None:
        self._in_flight.release()

    def _statement(self, text: str) -> PreparedStatement:
        prepared = self._prepared.get(text)
        if prepared is None:
            prepared = self._connected().prepare(text)
            prepared.consistency_level = ConsistencyLevel.QUORUM
            prepared.is_idempotent = True
            self._prepared[text] = prepared
        return prepared

    def _connected(self) -> Session:
        session = self._session
        if session is not None:
            return session
        with self._lock:
            if self._session is None:
                cluster = self._new_cluster()
                try:
                    self._session = cluster.connect()
                except BaseException:
                    cluster.shutdown()
                    raise
                self._cluster = cluster
            return self._session

    def _new_cluster(self) -> Cluster:
        address, limits = self.address, self.limits
        nodes = DCAwareRoundRobinPolicy(address.datacenter) if address.datacenter else RoundRobinPolicy()
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(nodes),
            retry_policy=FallthroughRetryPolicy(),  # retries are ours: counted, bounded, apart
            consistency_level=ConsistencyLevel.QUORUM,
            request_timeout=limits.request_seconds_max,
            row_factory=tuple_factory,
        )
        return Cluster(
            list(address.hosts),
            auth_provider=PlainTextAuthProvider(address.user, address.password) if address.user else None,
            ssl_context=ssl.create_default_context(cafile=address.ca or None) if address.tls else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=PROTOCOL_VERSION,
            # The driver's other loops are asyncore, which newer Pythons lack, and one on asyncio, not meant for use.
            connection_class=LibevConnection,
            connect_timeout=limits.connect_seconds_max,
            control_connection_timeout=limits.request_seconds_max,
            reconnection_policy=ExponentialReconnectionPolicy(RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX, None),
            idle_heartbeat_interval=limits.request_seconds_max,
            idle_heartbeat_timeout=limits.request_seconds_max,
            monitor_reporting_enabled=False,
        )


class _Missing(Exception):
    """Some statements of an attempt were not answered."""

    def __init__(self, missing: Sequence[int], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.missing = missing
        self.cause = cause


def _named(error: BaseException) -> CassandraError:
    """What the driver raised, as callers know it."""
    if isinstance(error, _NOT_ANSWERED):
        return CassandraAway(f"Cassandra did not answer: {_said(error)}")
    return (CassandraRefused if _TOO_LARGE.search(str(error)) else CassandraUnready)(_said(error))


def _said(error: BaseException) -> str:
    """One line; what the driver says of all nodes ends in a dictionary of exceptions."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
