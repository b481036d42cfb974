"""Rebuilding views from the log: a bulk load beside the live tables, then an exchange of names.

The log is read once for all views that are rebuilt, a page ahead in a thread; rows are folded in memory and
copied into tables without indexes; the indexes are made; the tables catch up with what was recorded meanwhile and
take the live names in one short transaction each, at the very position where the live view stands then. Readers
and the live runner go on all the time. Nothing is signalled. One transaction a view holds all of it until the
exchange, so a rebuild that is killed leaves nothing behind.
"""

import gc
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import Any, Final

from msgspec import Struct
from psycopg import Connection, Error

from domain.event import Event
from infra.bulk_log import BulkLog, LogPage
from infra.cassandra.errors import CassandraError
from infra.cassandra.log import LogStore
from infra.cassandra.shadow import shadow_of
from infra.event_log import EventLog
from infra.event_store import GroupCommitStore
from infra.log_records import NotOurs
from infra.postgres import connect
from infra.relay_store import kept, state
from infra.shadow import Busy, Shadow
from infra.topic_pages import TopicPages
from projections.core import Projection, Row, View, fold
from schemas.envelope import Recorded
from streams.batches import UNSTORABLE
from streams.exchanging import Exchange
from streams.limits import RebuildLimits
from streams.log_origin import AnotherLog, check_origin, last_positions, lost_ends
from streams.making import Making

_LOCK_CLASS: Final = 0x7265_6275
"""The first half of the advisory lock of a rebuild, ``rebu`` in ASCII; the second is a hash of the view's name."""


STARTED_AT_ONCE: Final = 4
"""Views whose connections and tables are made at the same time: one by one, fifteen take a quarter of a second."""


class RebuildFailure(Exception):
    """A rebuild did not happen; the live views are as they were. The subclass and the message say why."""


class RebuildRunning(RebuildFailure):
    """Another rebuild of one of the views is under way."""


class SwitchFailed(RebuildFailure):
    """Readers or the runner held the live view for so long that its name could not be taken."""


class OtherLog(RebuildFailure):
    """The topics are of another store, hold an event that cannot be read, or lack what was sent."""


class LogFailed(RebuildFailure):
    """The message log, which one of the views lives in, did not do what it was asked."""


class Progress(Struct, frozen=True):
    """Where a rebuild stands: which position of how many. ``phase`` is ``fold`` or ``index``."""

    phase: str
    position: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Events of the log a second so far."""
        return self.position / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """How long the folding will still take at this rate."""
        return (self.total - self.position) / self.rate if self.rate else 0.0


class Rebuilt(Struct, frozen=True):
    """What became of one view.

    ``differences``: rows that were not in both the old and the new table, ``None`` if these were not compared.
    """

    name: str
    version: int
    position: int
    rows: int
    parked: int
    differences: int | None


class RebuildSummary(Struct, frozen=True):
    """What a rebuild did. ``events`` were in the log, which was read once for all views.

    ``foreign`` records of its topics were passed over: no relay has sent them.
    """

    views: Sequence[Rebuilt]
    events: int
    seconds: float
    foreign: int = 0

    @property
    def rate(self) -> float:
        """Events a second, all phases included."""
        return self.events / self.seconds if self.seconds else 0.0


def rebuild(
    conninfo: str,
    log: GroupCommitStore,
    projections: Sequence[Projection],
    *,
    progress: Callable[[Progress], None] | None = None,
    compare: bool = False,
    limits: RebuildLimits | None = None,
    topics: EventLog | None = None,
    message_log: LogStore | None = None,
) -> RebuildSummary:
    """Rebuild these views from the log and put the new tables in the place of the old ones.

    With ``topics`` the log is read from there, all partitions at the same time, and what came meanwhile from the event
    store. Views of the message log are built in the ``message_log``, where there is one.

    ``compare`` counts differences to the live view while it is held still: for large views that takes a while. It is
    exact, however far apart the partitions are that the view is folded from: the new one is folded up to where the live
    one stands in each. A live view that does not come to where the new one begins is waited for, as long as the limits
    say (``ahead_seconds_max``), and then exchanged without having been compared.
    Raises ``RebuildFailure``; ``psycopg.Error``, ``StoreUnavailable``, ``LogUnavailable`` or ``TopicsMissing`` when the
    database or the topics fail. Views already
    exchanged by then stay so, the others are as they were.
    """
    making = _Rebuild(
        conninfo,
        log,
        projections,
        progress=progress,
        compare=compare,
        limits=limits or RebuildLimits(),
        topics=topics,
        message_log=message_log,
    )
    return making.run()


class _NotInBulk(Exception):
    """The log holds an event that must be parked, or that cannot be had in bulk: begin again, event by event."""


class _NotStored(Exception):
    """A row of this view cannot be stored: begin again, and step through the log for it as the live runner does."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Rebuild:
    def __init__(
        self,
        conninfo: str,
        log: GroupCommitStore,
        projections: Sequence[Projection],
        *,
        progress: Callable[[Progress], None] | None,
        compare: bool,
        limits: RebuildLimits,
        topics: EventLog | None,
        message_log: LogStore | None,
    ) -> None:
        self._topics = topics
        self._message_log = message_log
        self._conninfo = conninfo
        self._log = log
        self._projections = projections
        self._progress = progress or (lambda _: None)
        self._limits = limits
        self._exchange = Exchange(log, limits, compare=compare)
        self._waiting = threading.BoundedSemaphore(limits.copies_waiting_max)
        self._failed: BaseException | None = None
        self._reached = 0
        self._total = 0
        self._foreign = 0
        self._started = time.perf_counter()

    def run(self) -> RebuildSummary:
        in_bulk, careful = True, frozenset[str]()
        while True:
            try:
                return self._run(in_bulk=in_bulk, careful=careful)
            except _NotInBulk:
                # What is parked, and what must wait behind it, shows only when events are folded one after another.
                in_bulk = False
            except _NotStored as error:
                careful |= {error.name}
                self._failed = None
            except NotOurs as error:
                raise OtherLog(str(error)) from error
            except CassandraError as error:
                raise LogFailed(str(error)) from error

    def _run(self, *, in_bulk: bool, careful: Collection[str]) -> RebuildSummary:
        with ExitStack() as stack, _no_collections():
            with _pool(STARTED_AT_ONCE) as starters:
                making = list(starters.map(partial(self._begin, stack), self._projections))
            writers = stack.enter_context(_pool(self._limits.writers))
            self._fold([one for one in making if one.view.projection.name not in careful], writers, in_bulk=in_bulk)
            self._reached = self._total
            self._exchange.begin()
            self._say("index")
            # The largest first, so that none is left alone at the end.
            largest_first = sorted(making, key=lambda one: one.shadow.rows + one.weight, reverse=True)
            finished = {one.view.projection.name: writers.submit(self._finish, one) for one in largest_first}
            views = [finished[projection.name].result() for projection in self._projections]
        return RebuildSummary(views, self._total, time.perf_counter() - self._started, self._foreign)

    def _say(self, phase: str) -> None:
        self._progress(Progress(phase, self._reached, self._total, time.perf_counter() - self._started))

    def _begin(self, stack: ExitStack, projection: Projection) -> Making:
        connection = stack.enter_context(connect(self._conninfo))
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK_CLASS, projection.name)
        ).fetchone()
        if not row or not row[0]:
            raise RebuildRunning(f"{projection.name} is being rebuilt already; wait for that to end, or stop it")
        # A server notices late that a connection was closed; who begins again must not meet its own lock.
        stack.callback(_release, connection, projection.name)
        shadow = shadow_of(connection, projection, self._message_log)
        shadow.create()
        return Making(shadow, self._limits.page_events)

    def _open_log(self, wanted: Collection[type[Event]]) -> BulkLog | TopicPages:
        if self._topics is not None:
            pages = self._open_topics(self._topics, wanted)
            self._total = pages.head
            return pages
        self._total = self._log.head_sync()
        return BulkLog(self._conninfo, self._log.codec, wanted, page_events=self._limits.page_events)

    def _open_topics(self, topics: EventLog, wanted: Collection[type[Event]]) -> TopicPages:
        """The topics, once it is seen that they are of this store and have all that was sent. Raises ``OtherLog``."""
        with connect(self._conninfo) as connection:
            once = kept(connection)  # first: a relay goes on meanwhile
            pages = TopicPages(topics, self._log.codec, wanted, page_events=self._limits.page_events)
            try:
                check_origin(pages.last.values(), partial(state, connection))
            except AnotherLog as error:
                raise OtherLog(str(error)) from error
            if lost := lost_ends(last_positions(pages.last.values()), once):
                raise OtherLog(
                    f"{len(lost)} partitions lost events that Kafka had acknowledged: the next relay that leads sends"
                    " them again (moot log audit tells which are missing)"
                )
        return pages

    def _fold(self, making: Sequence[Making], writers: ThreadPoolExecutor, *, in_bulk: bool) -> None:
        """Read the log to where it ended at the start, and fold it."""
        wanted = {kind for one in making for kind in one.view.projection.handlers}
        with closing(self._open_log(wanted)) as log:
            log.bare = self._bare(making) if in_bulk else frozenset()
            for page in log.pages(0, self._total):
                if in_bulk:
                    self._fold_in_bulk(making, writers, page)
                else:
                    self._fold_singly(making, [one.view for one in making], page.recorded(wanted))
                self._reached = page.last
                for one in making:
                    if len(one.view.rows) >= self._limits.copy_rows:
                        rows = one.take_done(page.last)
                        if rows:
                            self._write(writers, one, partial(_copy, one.shadow, rows, self._limits.copy_rows))
                if self._bound_memory(making) and in_bulk:
                    log.bare = self._bare(making)
                self._say("fold")
            if isinstance(log, TopicPages):
                self._foreign = log.foreign
        for one in making:
            one.shadow.position = self._total

    def _fold_in_bulk(self, making: Sequence[Making], writers: ThreadPoolExecutor, page: LogPage) -> None:
        if not page.regular:
            raise _NotInBulk
        try:
            for one in making:
                self._take_shortcut(one, writers, page)
        except (ValueError, OverflowError) as error:
            # An id that is none, a number out of range: one of the events is to be parked.
            raise _NotInBulk from error
        views = [one.rest for one in making]
        events = page.recorded({kind for view in views for kind in view.projection.handlers})
        self._fold_singly(making, views, events)
        if any(view.parked for view in views):
            raise _NotInBulk

    def _take_shortcut(self, one: Making, writers: ThreadPoolExecutor, page: LogPage) -> None:
        projection = one.view.projection
        if one.in_columns:
            columns = projection.columns_of(page.alike)
            if columns is not None:
                self._write(writers, one, partial(one.shadow.copy_columns, columns))
        elif one.parts is not None:
            one.parts.add(projection.parts_of(page.alike))
        elif not one.spilled:
            projection.fold_in_bulk(one.view.rows, page.alike)

    def _fold_singly(self, making: Sequence[Making], views: Sequence[View], events: Sequence[Recorded]) -> None:
        touched = []
        for one, view in zip(making, views, strict=True):
            if one.spilled:
                with _storing(one):
                    touched.append((one, one.prepare(view, events)))
        fold(views, events)
        for one, keys in touched:
            one.folded(keys)

    @staticmethod
    def _bare(making: Sequence[Making]) -> frozenset[type[Event]]:
        """The kinds that are folded in bulk alone: nobody looks at one such event with its metadata."""
        every = {kind for one in making for kind in one.view.projection.handlers}
        return frozenset(every - {kind for one in making for kind in one.rest.projection.handlers})

    def _bound_memory(self, making: Sequence[Making]) -> bool:
        """Write rows out while there are too many in memory. Whether any view has rows in its table now."""
        while sum(one.weight for one in making) > self._limits.rows_max:
            heaviest = max(making, key=lambda one: one.weight)
            with heaviest.lock, _storing(heaviest):
                heaviest.write(self._limits.copy_rows)
                if not heaviest.once and not heaviest.spilled:
                    heaviest.shadow.index()
                    heaviest.spilled = True
        return any(one.spilled for one in making)

    def _write(self, writers: ThreadPoolExecutor, one: Making, copy: Callable[[], None]) -> None:
        """Have rows copied by a writer; waits while too many are waiting."""
        if self._failed is not None:
            raise self._failed

        def write() -> None:
            try:
                with one.lock, _storing(one):
                    copy()
            except BaseException as error:
                self._failed = error
                raise
            finally:
                self._waiting.release()

        self._waiting.acquire()
        one.writing.append(writers.submit(write))

    def _finish(self, one: Making) -> Rebuilt:
        """Write the rest, make the indexes, catch up and switch."""
        wait(one.writing)
        with one.lock:
            if self._failed is not None:
                raise self._failed
            with _storing(one):
                one.write(self._limits.copy_rows)
            one.shadow.index()
            return self._switch(one.shadow)

    def _switch(self, shadow: Shadow) -> Rebuilt:
        try:
            differences = self._exchange.make(shadow)
        except Busy as error:
            raise SwitchFailed(
                f"{shadow.projection.name}: its readers left no moment to exchange the tables; try again"
            ) from error
        return Rebuilt(
            shadow.projection.name,
            shadow.projection.version,
            shadow.position,
            shadow.count(),
            len(shadow.view.parked),
            differences,
        )


def _release(connection: Connection[Any], name: str) -> None:
    with suppress(Error):
        connection.execute("ROLLBACK")
        connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (_LOCK_CLASS, name))


def _copy(shadow: Shadow, rows: Sequence[Row], copy_rows: int) -> None:
    for start in range(0, len(rows), copy_rows):
        shadow.copy(rows[start : start + copy_rows])


@contextmanager
def _storing(one: Making) -> Iterator[None]:
    """What PostgreSQL cannot store ends this attempt."""
    try:
        yield
    except UNSTORABLE as error:
        raise _NotStored(one.view.projection.name) from error


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that do no more than what they began when the block fails."""
    pool = ThreadPoolExecutor(threads, "rebuild-writer")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _no_collections() -> Iterator[None]:
    """No cyclic collections meanwhile: rows and events are in no cycle, and millions of them would be looked at."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
