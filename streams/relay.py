"""The relay: follows the event store and sends every event to Kafka, in order, once.

One relay leads, by a lock in PostgreSQL; others stand by. The log's own fencing makes that safe: whoever leads opens a
writer, which shuts out every writer before it, and then reads from the log itself how far it has come. A batch is one
transaction of positions that follow each other, so the highest position in the log says that all up to it were sent
once. The same way leads back from every failure; nothing has to be kept anywhere for it.

What was acknowledged may be lost all the same, by a lone broker whose power fails: each partition then ends where its
disk did. What was once sent is kept in PostgreSQL for that, and such ends are sent again before anything else is.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import msgspec
import psycopg
import structlog
from msgspec import Struct

from domain.event import Id
from infra.breaker import State as BreakerState
from infra.breaker import show
from infra.codec import Row
from infra.event_log import (
    EventLog,
    Fenced,
    LogUnavailable,
    LogWriter,
    Partition,
    Span,
    TopicsMissing,
    settled,
)
from infra.guarded_pool import is_away
from infra.log_records import (
    EVENT_TOPICS,
    NotOurs,
    Unplaceable,
    last_events,
    names,
    number_of,
    outgoing,
    position_of,
)
from infra.postgres import in_short
from infra.relay_store import EVERYTHING, RelayStore
from infra.telemetry import metrics
from schemas.topics import TOPICS, located
from streams.limits import RelayLimits
from streams.log_origin import AnotherLog, check_origin, last_positions, lost_ends
from streams.observing import first_of, sent
from streams.relay_keys import AuthorKeys
from streams.runner import Publisher
from streams.topic_plan import check_partitions

State = Literal["starting", "standing by", "leading", "waiting", "stopped"]

_EXPECTED: Final = (psycopg.Error, OSError, LogUnavailable, Fenced, TopicsMissing, Unplaceable, NotOurs, AnotherLog)
"""What may happen while all of Moot is right."""

_log = structlog.get_logger(__name__)


class RelayStatus(Struct, frozen=True):
    """How a relay is doing. ``trouble`` is why it waits or stands by; ``failures`` so many in a row led to that."""

    state: State = "starting"
    position: int = 0
    events: int = 0
    transactions: int = 0
    failures: int = 0
    trouble: str | None = None


class Relay:
    """Relays from a thread of its own. Start it once; stop it to end it for good.

    ``changed`` is called, in that thread, when its state or its trouble is another one.
    """

    def __init__(
        self,
        conninfo: str,
        log: EventLog,
        publisher: Publisher | None = None,
        *,
        limits: RelayLimits | None = None,
        changed: Callable[[RelayStatus], None] = lambda _: None,
    ) -> None:
        self._conninfo = conninfo
        self._target = log
        self._publisher = publisher
        self._limits = limits or RelayLimits()
        self._changed = changed
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        self._moved = threading.Condition()
        self._stopping = threading.Event()
        self._store: RelayStore | None = None
        self._thread = threading.Thread(target=self._run, name="moot-relay", daemon=True)
        self._keys = AuthorKeys(self._limits)
        self._sending: list[Row] = []
        self.status = RelayStatus()
        """As of the last transaction."""

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` the second time."""
        show("postgres", BreakerState.CLOSED)
        show("kafka", BreakerState.CLOSED)
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the transaction at hand, unless the log does not answer, and end; whether it ended in time."""
        self._stopping.set()
        store = self._store
        if store is not None:
            store.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def wait(self, reached: Callable[[RelayStatus], bool], timeout: float) -> bool:
        """Wait until the status is so, at most ``timeout`` seconds; whether it is."""
        with self._moved:
            return self._moved.wait_for(lambda: reached(self.status), timeout)

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.stopping:
            try:
                with RelayStore(self._conninfo, self._limits.silent_seconds_max) as store:
                    self._store = store
                    if self._elected(store):
                        self._lead(store)
            except _EXPECTED as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - recorded; a relay that ended would stop every view
                self._fail(error, unexpected=True)
            finally:
                self._store = None
        self._say(state="stopped", trouble=None)

    def _fail(self, error: Exception, *, unexpected: bool = False) -> None:
        """Say what is wrong and wait: longer each time, and not as long as another relay that met the same."""
        failures = self.status.failures + 1
        metrics.RELAY_FAILURES.inc()
        # One thread that pauses between its attempts is its own breaker, and is seen as one.
        if isinstance(error, LogUnavailable):
            show("kafka", BreakerState.OPEN)
        elif is_away(error):
            show("postgres", BreakerState.OPEN)
        trouble = in_short(error)
        sending, self._sending = self._sending, []
        _log.warning("relay.failed", error=trouble, failures=failures, exc_info=unexpected, **first_of(sending))
        self._say(state="waiting", trouble=trouble, failures=failures)
        limits = self._limits
        pause = min(limits.retry_seconds_max, limits.retry_seconds_min * 2 ** min(failures - 1, 30))
        if isinstance(error, Fenced):
            pause = max(pause, limits.election_seconds)
        self._stopping.wait(pause * self._random.uniform(0.5, 1.5))

    def _elected(self, store: RelayStore) -> bool:
        while not self.stopping:
            elected = store.elected()
            show("postgres", BreakerState.CLOSED)
            if elected:
                return True
            show("kafka", BreakerState.CLOSED)  # it asks nothing of Kafka
            self._say(state="standing by", trouble="another relay leads")
            self._stopping.wait(self._limits.election_seconds)
        return False

    def _lead(self, store: RelayStore) -> None:
        # A relay that is set up wrongly must be found out before it shuts out one that is not.
        self._look(store, self._target.ends(names(TOPICS)))
        writer = self._target.writer(partial(self._giving_up, store))
        try:
            self._keys.start_over(store, self._target)
            position = self._resume(store, writer)
            show("kafka", BreakerState.CLOSED)
            if self.stopping:
                return
            self._say(state="leading", position=position, trouble=None)
            if self._publisher is not None:
                # Who led before may have ended before it had said how far it came: some hold back what they were told.
                self._publisher.publish({}, None)
            while not self.stopping:
                self._forget_keys(store, writer)
                rows = store.page(position, self._limits.batch_events_max, self._limits.batch_bytes_max)
                if not rows:
                    self._say(failures=0)
                    if self._send_lost_keys(writer):
                        continue
                    if self._publisher is not None:
                        self._publisher.mend()
                    store.wait(min(self._limits.poll_seconds, self._limits.keys_seconds))
                    continue
                began = time.monotonic()
                position = self._send(store, writer, position, rows)
                if len(rows) < self._limits.batch_events_max:
                    self._send_lost_keys(writer)
                    self._stopping.wait(max(0.0, began + self._limits.interval_seconds - time.monotonic()))
        finally:
            self._keys.close()
            writer.close()

    def _giving_up(self, store: RelayStore) -> bool:
        """While the log does not answer: go on waiting, and stay the leader."""
        store.beat()
        return self.stopping

    def _resume(self, store: RelayStore, writer: LogWriter) -> int:
        """The position up to which everything is in the log, once it is; kept in PostgreSQL as well."""
        there = self._look(store, settled(self._target, names(TOPICS)))
        kept = store.kept()
        frontier = max(kept.get(EVERYTHING, 0), *there.values(), 0)
        once = self._once_sent(store, kept, frontier)
        if lost := lost_ends(there, once):
            self._send_again(store, writer, lost, frontier)
        if not self.stopping:
            store.relayed(there | {number: once[number] for number in lost}, frontier)
            _log.info("relay.leads", position=frontier)
        return frontier

    def _once_sent(self, store: RelayStore, kept: dict[int, int], frontier: int) -> dict[int, int]:
        """The last event of each partition that was sent, for all that the partitions themselves may have lost.

        What was kept of it may be behind, by what was sent in the moment before a crash: the events tell. Where nothing
        was kept, as after a restore, which has read all of it, the partitions are taken at their word.
        """
        once = dict(kept)
        after = once.pop(EVERYTHING, frontier)
        for rows in self._pages(store, after, frontier):
            once |= outgoing(rows).positions
        return once

    def _send_again(self, store: RelayStore, writer: LogWriter, lost: Mapping[int, int], to: int) -> None:
        """Send what these partitions should have after the position that each ends with.

        As many transactions as it takes: one that is followed by nothing leaves each partition with an end of its own,
        from which the next leader goes on, as what was once sent is kept until all of it is there again.
        """
        after = min(lost.values())
        named = ", ".join(f"{topic.name}-{number}" for topic, number in map(located, sorted(lost)))
        _log.error("relay.kafka_lost_events", partitions=named, after=after, to=to, fix="they are sent again")
        self._say(state="waiting", trouble=f"{named} lost events that Kafka had acknowledged: they are sent again")
        # Less room may be taken than before, so that what comes next stands where a worker believes to have been.
        store.forget_offsets(lost)
        count = 0
        for rows in self._pages(store, after, to):
            batch = outgoing(rows)
            missing = [one for one in batch.records if position_of(one) > lost.get(number_of(one), to)]
            if missing:
                writer.write([*self._keys.needed(store, batch.authors), *missing])
                self._keys.sent(batch.authors)
                count += len(missing)
        _log.info("relay.sent_again", partitions=named, events=count)

    def _pages(self, store: RelayStore, after: int, to: int) -> Iterator[list[Row]]:
        """The events after one position up to another, in order, unless it is told to stop."""
        while after < to and not self.stopping:
            found = store.page(after, self._limits.batch_events_max, self._limits.batch_bytes_max)
            rows = [row for row in found if row[0] <= to]
            _check_whole(after, rows)
            yield rows
            after = rows[-1][0]

    def _look(self, store: RelayStore, ends: Mapping[Partition, Span]) -> dict[int, int]:
        """The last position in each partition before its end. Raises ``AnotherLog`` and ``TopicsMissing``."""
        topics = names(EVENT_TOPICS)
        check_partitions(Counter(topic for topic, _ in ends))
        last = last_events(self._target, {place: span for place, span in ends.items() if place[0] in topics})
        check_origin(last.values(), store.state)
        return last_positions(last.values())

    def _send(self, store: RelayStore, writer: LogWriter, after: int, rows: list[Row]) -> int:
        """One transaction; the position of its last event."""
        _check_whole(after, rows)
        began_ns = time.time_ns()
        self._sending = rows
        batch = outgoing(rows)
        records = [*self._keys.needed(store, batch.authors), *batch.records]
        writer.write(records)
        show("kafka", BreakerState.CLOSED)
        sent(rows, began_ns)
        self._keys.sent(batch.authors)
        position = rows[-1][0]
        store.relayed(batch.positions, position)
        self._sending = []
        if self._publisher is not None:
            # Views that had folded all that was sent before have now come as far as this.
            self._publisher.publish({}, None)
        status = self.status
        self._say(
            state="leading",
            position=position,
            events=status.events + len(rows),
            transactions=status.transactions + 1,
            failures=0,
            trouble=None,
        )
        return position

    def _forget_keys(self, store: RelayStore, writer: LogWriter) -> None:
        tombstones = self._keys.destroyed(store)
        if tombstones:
            writer.write(tombstones)
            _log.info("relay.keys_destroyed", authors=len(tombstones))

    def _send_lost_keys(self, writer: LogWriter) -> bool:
        """Look a little further for keys that Kafka has lost, and send those; whether there is more to look for."""
        lost = self._keys.lost()
        if lost:
            writer.write(lost)
            self._keys.sent(Id(record.key.decode()) for record in lost)
        return lost is not None

    def _say(self, **changes: Any) -> None:
        before = self.status
        with self._moved:
            self.status = msgspec.structs.replace(before, **changes)
            self._moved.notify_all()
        metrics.RELAY_LEADS.set(self.status.state == "leading")
        if (before.state, before.trouble) != (self.status.state, self.status.trouble):
            self._changed(self.status)


def _check_whole(after: int, rows: Sequence[Row]) -> None:
    """Make sure that these follow that position and each other."""
    if not rows or rows[0][0] != after + 1 or rows[-1][0] != after + len(rows):
        followed = f"it is followed by {rows[0][0]}" if rows else "nothing follows it"
        raise AnotherLog(f"the event store has a gap after position {after}: {followed}")
