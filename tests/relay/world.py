"""A relay between a real PostgreSQL and a log, and histories for it to send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.codec import Row
from infra.event_log import EventLog
from infra.event_store import GroupCommitStore, postgres_store
from infra.log_records import row_of
from infra.postgres import connect
from schemas.topics import TOPICS
from streams.limits import RelayLimits
from streams.relay import Relay
from streams.topic_plan import apply, plan
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler

MASTER_KEY = bytes(range(32))
SECONDS_MAX = 30
"""A test that waits longer than this has failed."""
QUICK = RelayLimits(
    poll_seconds=0.2, election_seconds=0.1, retry_seconds_min=0.02, retry_seconds_max=0.2, keys_seconds=0.1
)
"""Soon back, so that tests are fast."""
SMALL = RelayLimits(
    batch_events_max=20, poll_seconds=0.2, retry_seconds_min=0.001, retry_seconds_max=0.01, keys_seconds=0.1
)
"""So many transactions that there is much to lose."""


@contextmanager
def store_of(conninfo: str) -> Iterator[GroupCommitStore]:
    """The event store of a database that is migrated."""
    store = postgres_store(conninfo, MASTER_KEY)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def relaying(conninfo: str, log: EventLog, **options: Any) -> Iterator[Relay]:
    """A relay at work."""
    relay = Relay(conninfo, log, **{"limits": QUICK, **options})
    relay.start()
    try:
        yield relay
    finally:
        assert relay.stop(SECONDS_MAX)


def reached(relay: Relay, position: int, seconds: float = SECONDS_MAX) -> None:
    """Wait until everything up to that position is sent."""
    assert relay.wait(lambda status: status.position >= position, seconds), relay.status


def declare(log: EventLog) -> None:
    """Make the topics."""
    apply(log, plan(log.topics(), replicas=1, record_bytes_max=1_065_536), replicas=1)


class History:
    """Fills the log of a database with a lively history, a part at a time."""

    def __init__(self, conninfo: str, seed: int = 1, weights: dict[str, int] | None = None) -> None:
        self._world = World(seed, weights=weights)
        self._store = postgres_store(conninfo, MASTER_KEY)
        self._connection = connect(conninfo)
        self._filler = Filler(self._connection, self._store.codec)

    def grow(self, events: int) -> int:
        """Record so many more, about; the position of the last."""
        position = self._filler.fill(self._world.happen(events))
        self._connection.execute("SELECT pg_notify('stored_events', '')")
        return position

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()
        self._store.close()


def stored(conninfo: str) -> list[Row]:
    """All that the event store has."""
    with connect(conninfo) as connection:
        return connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM log.stored_events"
            " ORDER BY notification_id"
        ).fetchall()


def sent(log: EventLog) -> list[Row]:
    """All that is in the topics of events, by position; asserts that each partition is in order."""
    rows: list[Row] = []
    by_partition: dict[tuple[str, int], int] = {}
    for page in log.read(log.ends([topic.name for topic in TOPICS if not topic.compacted])):
        for record in page:
            row = row_of(record)
            rows.append(row)
            place = record.topic, record.partition
            assert by_partition.get(place, 0) < row[0]
            by_partition[place] = row[0]
    return sorted(rows)
