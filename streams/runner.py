"""The embedded runner: one thread that keeps all views at the head of the log.

Views that stand at the same position take each batch in one transaction; a view that is behind (a new one, or
one that failed to be rebuilt) catches up beside them and joins. One runner is active in a database at a time, by
an advisory lock that goes with its connection; others wait for it. After each commit it says what changed.
"""

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import psycopg
import structlog
from msgspec import Struct
from psycopg import Connection

from commands.ports import StoreUnavailable
from infra.cassandra.log import LogStore, table_of
from infra.event_store import GroupCommitStore
from infra.partitions import PartitionsFailure, leave_fleet
from infra.postgres import connect, in_short
from infra.rows import Checkpoint, create_missing, prepare_for_folding, read_checkpoints
from projections.core import Projection, StaleCheckpoint
from projections.stepping import Stepped
from schemas.envelope import Recorded
from streams.announcing import log_parked, to_wake
from streams.batches import Batch, fold_batch

if TYPE_CHECKING:
    from streams.limits import RebuildLimits

LOCK: Final = 0x6D6F6F74_72756E72
"""PostgreSQL's advisory lock of the active runner: ``mootrunr`` in ASCII. The workers of a fleet share it."""

_log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """Where it is said that rows have changed, after they are committed."""

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        """Wake each channel with its position, and say that all views reached ``position``. Must not block long.

        ``None``: some views have come further, and how far all have is for the checkpoints to say.
        """
        ...

    def say_lost(self) -> None:
        """Have everybody look at everything: who kept the views before may have ended before it had said so."""
        ...

    def mend(self) -> None:
        """Say once more what could not be said. Nothing if all was: call it now and then while nothing happens."""
        ...


class RunnerLimits(Struct, frozen=True):
    """The limits of a runner.

    A batch grows from ``batch_events_min`` to ``batch_events_max`` events while there is a backlog: small ones are
    visible soon, large ones cost least each. ``laggard_events_max`` bounds the batches of views that are behind,
    so that those in front keep their pace. A view is brought up in bulk when it is more than ``bulk_events_min``
    behind, and at start a view of another version is rebuilt if the log has at most ``rebuild_events_max`` events.
    After a failure the runner starts again after ``retry_seconds_min``, doubled each time up to
    ``retry_seconds_max``, for as long as it takes; while it has nothing to do it looks around every
    ``idle_seconds``.
    """

    batch_events_min: int = 500
    batch_events_max: int = 5000
    laggard_events_max: int = 1000
    bulk_events_min: int = 50_000
    rebuild_events_max: int = 2_000_000
    retry_seconds_min: float = 0.1
    retry_seconds_max: float = 5.0
    idle_seconds: float = 1.0


class Runner:
    """Keeps views up to date from a thread of its own. Start it once; stop it to end it for good."""

    def __init__(
        self,
        conninfo: str,
        log: GroupCommitStore,
        projections: Iterable[Projection],
        publisher: Publisher | None = None,
        *,
        limits: RunnerLimits | None = None,
        rebuild_limits: "RebuildLimits | None" = None,
        message_log: LogStore | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._source = log
        self._projections = {projection.name: projection for projection in projections}
        self._tables = {name: table_of(projection, message_log) for name, projection in self._projections.items()}
        self._publisher = publisher
        self._limits = limits or RunnerLimits()
        self._rebuild_limits = rebuild_limits
        self._message_log = message_log
        self._batch_events = self._limits.batch_events_min
        self._positions: dict[str, int] = {}
        self._active = False
        self._moved = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="moot-runner", daemon=True)
        self.trouble: str | None = None
        """Why the runner is not running, or does not run some views; ``None`` while all is well."""
        self.stale: frozenset[str] = frozenset()
        """Views built by another version of their declaration, left alone here until they are rebuilt."""

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` the second time."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the batch at hand and end; whether it ended in time."""
        self._stopping.set()
        with self._moved:
            self._moved.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def positions(self) -> Mapping[str, int]:
        """How far each view has come, by projection, as of the last commit; empty while another runner is active."""
        with self._moved:
            return dict(self._positions)

    def wait(self, position: int, timeout: float, names: Iterable[str] | None = None) -> bool:
        """Wait until those views, or all, have reached the position, at most ``timeout`` seconds; whether they have."""
        wanted = list(self._projections if names is None else names)

        def reached() -> bool:
            return all(self._positions.get(name, -1) >= position for name in wanted)

        with self._moved:
            self._moved.wait_for(lambda: reached() or self._stopping.is_set(), timeout)
            return reached()

    def settled(self, timeout: float) -> bool:
        """Wait until this runner is the active one and knows which views it keeps, at most ``timeout`` seconds."""
        with self._moved:
            self._moved.wait_for(lambda: self._active or self._stopping.is_set(), timeout)
            return self._active

    def _run(self) -> None:
        delay, again = self._limits.retry_seconds_min, False
        while not self._stopping.is_set():
            try:
                with connect(self._conninfo) as connection:
                    if not self._elected(connection):
                        continue
                    self._prepare(connection)
                    delay = self._limits.retry_seconds_min
                    if again and self._publisher is not None:
                        self._publisher.say_lost()  # what was committed last may not have been signalled
                    again = True
                    while not self._stopping.is_set():
                        self._round(connection)
            except StaleCheckpoint as error:
                _log.info("runner.stale_checkpoint", reason=str(error))
            except PartitionsFailure as error:
                self.trouble = str(error)
                _log.warning("runner.refused", reason=str(error))
            except (psycopg.OperationalError, psycopg.InterfaceError, StoreUnavailable) as error:
                self._fail("the database does not answer", error)
            except Exception as error:  # noqa: BLE001 - recorded in `trouble` and the log, and tried again
                self._fail("the runner failed", error)
            if self.trouble is not None:
                self._stopping.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                delay = min(2 * delay, self._limits.retry_seconds_max)
        with self._moved:
            self._positions = {}
            self._active = False

    def _fail(self, what: str, error: Exception) -> None:
        self.trouble = f"{what}: {in_short(error)}"
        _log.warning("runner.failed", what=what, error=in_short(error), exc_info=not isinstance(error, psycopg.Error))

    def _elected(self, connection: Connection[Any]) -> bool:
        """Whether this is the active runner; asks at intervals until it is, or is told to stop."""
        prepare_for_folding(connection, "moot runner")
        while not self._stopping.is_set():
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
            if row and row[0]:
                return True
            self.trouble = "another runner is active on this database; waiting for it to end"
            self._stopping.wait(self._limits.idle_seconds)
        return False

    def _prepare(self, connection: Connection[Any]) -> None:
        """Make tables that are missing, and rebuild what another version built or what is far behind.

        Raises ``PartitionsFailure`` when a fleet left the views where only it can go on.
        """
        if left := leave_fleet(connection, list(self._projections.values())):
            _log.info("runner.takes_over_from_fleet", projections=left)
        create_missing(connection, list(self._projections.values()))
        head = self._source.head_sync()
        checkpoints = self._checkpoints(connection)
        old = self._of_other_versions(checkpoints)
        far = {
            name
            for name, checkpoint in checkpoints.items()
            if head - checkpoint.position > max(self._limits.bulk_events_min, head // 2)
        }
        due = far | (old if head <= self._limits.rebuild_events_max else set())
        self.trouble = None
        if due:
            _log.info("runner.rebuilds", projections=sorted(due), events=head)
            self._rebuild([self._projections[name] for name in sorted(due)])
        self._look(connection)

    def _rebuild(self, views: Sequence[Projection]) -> None:
        # Only here, because it takes numpy, which is 30 MB and a tenth of a second that a start seldom needs.
        from streams.rebuild import RebuildFailure, rebuild  # noqa: PLC0415

        try:
            rebuild(self._conninfo, self._source, views, limits=self._rebuild_limits, message_log=self._message_log)
        except RebuildFailure as error:
            self._fail("a rebuild at start failed", error)

    def _checkpoints(self, connection: Connection[Any]) -> dict[str, Checkpoint]:
        return {name: found for name, found in read_checkpoints(connection).items() if name in self._projections}

    def _of_other_versions(self, checkpoints: Mapping[str, Checkpoint]) -> set[str]:
        return {name for name, found in checkpoints.items() if found.version != self._projections[name].version}

    def _look(self, connection: Connection[Any]) -> None:
        """Learn from the database where the views stand and which of them are for this version to keep."""
        checkpoints = self._checkpoints(connection)
        stale = frozenset(self._of_other_versions(checkpoints))
        if stale != self.stale and stale:
            names = " ".join(sorted(stale))
            self.trouble = (
                f"built by another version and not kept up to date: {names}. Run: moot projections rebuild {names}"
            )
            _log.warning("runner.stale_views", projections=sorted(stale), fix=f"moot projections rebuild {names}")
        elif not stale:
            self.trouble = None
        self.stale = stale
        self._reached({name: found.position for name, found in checkpoints.items() if name not in stale}, replace=True)

    def _reached(self, positions: Mapping[str, int], *, replace: bool = False) -> None:
        with self._moved:
            self._positions = dict(positions) if replace else {**self._positions, **positions}
            self._active = True
            self._moved.notify_all()

    def _round(self, connection: Connection[Any]) -> None:
        """A batch for the views in front, one for those furthest behind, or a wait for more."""
        positions = self._positions
        if not positions:
            self._stopping.wait(self._limits.idle_seconds)
            self._look(connection)
            return
        front, rear = max(positions.values()), min(positions.values())
        if rear < front:
            limit = min(self._limits.laggard_events_max, front - rear)
            self._take(connection, rear, self._source.read_sync(rear, limit))
        page = self._source.read_sync(front, self._batch_events)
        if page:
            self._take(connection, front, page)
        elif rear == front and not self._source.wait_for_more(front, self._limits.idle_seconds):
            self._look(connection)
            if self._publisher is not None:
                self._publisher.mend()
        full = len(page) == self._batch_events
        self._batch_events = (
            min(2 * self._batch_events, self._limits.batch_events_max) if full else self._limits.batch_events_min
        )

    def _take(self, connection: Connection[Any], after: int, page: Sequence[Recorded]) -> None:
        """Fold a page into all views that stand at ``after``, and say so."""
        if not page:
            return
        to = page[-1].position
        together = [self._projections[name] for name, position in self._positions.items() if position == after]
        done = fold_batch(connection, self._tables, together, Batch(page, after, to))
        self._reached({projection.name: to for projection in together})
        log_parked(done, page)
        self._announce(connection, done, to)

    def _announce(self, connection: Connection[Any], done: Mapping[str, Stepped], to: int) -> None:
        if self._publisher is None:
            return
        channels = to_wake(connection, self._projections, done, to)
        try:
            self._publisher.publish(channels, min(self._positions.values()))
        except Exception as error:  # noqa: BLE001 - recorded; a view that is right must not wait for its signal
            _log.warning("runner.signal_lost", channels=len(channels), error=in_short(error))
