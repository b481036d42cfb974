"""A rebuild on two cores: the views in two halves that take as long as each other, one of them in another process.

Folding is Python's work and one process can use one core for it. Each half reads and decodes the log for itself,
so this pays where there are many views and many events; elsewhere everything stays in this process.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from threading import Thread

from msgspec import Struct

from infra.copying import packed
from infra.event_store import GroupCommitStore
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import Projection, View, fold
from schemas.envelope import Recorded
from streams.rebuild import Progress, RebuildFailure, RebuildLimits, RebuildSummary, rebuild

OpenLog = Callable[[], GroupCommitStore]
"""Opens the log in another process: what it is must survive pickling, as a ``functools.partial`` of names does."""

TWO_PROCESSES_EVENTS_MIN = 200_000
"""With fewer events in the log, starting another process takes longer than it saves."""
SAMPLE_EVENTS = 4_000
"""Events from the middle of the log that are folded on trial, to see which views take how long."""

_SQL_NAMES = {"bigint": "int8", "boolean": "bool"}


class HalfFailed(RebuildFailure):
    """The other process ended without an answer. Its views are as they were."""


class _Task(Struct, frozen=True):
    """What the other process is to do."""

    conninfo: str
    open_log: OpenLog
    names: Sequence[str]
    compare: bool
    limits: RebuildLimits | None


class _Answer(Struct, frozen=True):
    """What the other process says: how far it is, or how it ended."""

    progress: Progress | None = None
    summary: RebuildSummary | None = None
    error: Exception | None = None


def rebuild_fast(
    conninfo: str,
    log: GroupCommitStore,
    projections: Sequence[Projection],
    open_log: OpenLog,
    *,
    progress: Callable[[Progress], None] | None = None,
    compare: bool = False,
    limits: RebuildLimits | None = None,
    events_min: int = TWO_PROCESSES_EVENTS_MIN,
) -> RebuildSummary:
    """``rebuild``, with the help of a second process where that is faster. ``open_log`` opens the same log there.

    Raises what ``rebuild`` raises. ``progress`` tells of the slower half.
    """
    known = all(ALL.get(projection.name) is projection for projection in projections)
    if len(projections) < 2 or not known or log.head_sync() < events_min:
        return rebuild(conninfo, log, projections, progress=progress, compare=compare, limits=limits)
    started = time.perf_counter()
    here, there = halves(projections, log.read_sync(log.head_sync() // 2, SAMPLE_EVENTS))
    helper = _Helper(_Task(conninfo, open_log, [projection.name for projection in there], compare, limits))
    helper.start()

    def slower(ours: Progress) -> None:
        if progress is not None:
            theirs = helper.progress
            progress(ours if theirs is None or theirs.position > ours.position else theirs)

    try:
        ours = rebuild(conninfo, log, here, progress=slower, compare=compare, limits=limits)
        theirs = helper.result()
    finally:
        helper.stop()
    in_order = {view.name: view for view in (*ours.views, *theirs.views)}
    views = [in_order[projection.name] for projection in projections]
    return RebuildSummary(views, ours.events, time.perf_counter() - started)


def halves(projections: Iterable[Projection], sample: Sequence[Recorded]) -> tuple[list[Projection], list[Projection]]:
    """The projections in two groups that take about as long as each other, told from folding a sample."""
    costs = sorted(((_cost(projection, sample), projection) for projection in projections), key=lambda pair: -pair[0])
    groups: tuple[list[Projection], list[Projection]] = ([], [])
    taken = [0.0, 0.0]
    for cost, projection in costs:
        lighter = 0 if taken[0] <= taken[1] else 1
        groups[lighter].append(projection)
        taken[lighter] += cost
    return groups


def _cost(projection: Projection, sample: Sequence[Recorded]) -> float:
    started = time.process_time()
    view = View(projection, {}, set())
    fold((view,), sample)
    if view.rows:
        names = [_SQL_NAMES.get(column.sql_type, column.sql_type) for column in Table(projection).columns]
        packed(list(view.rows.values()), names)
    return time.process_time() - started


class _Helper:
    """The other process, and a thread that hears what it says."""

    def __init__(self, task: _Task) -> None:
        # A fresh interpreter: this one has threads, and connections that a fork would share.
        context = get_context("spawn")
        self._ours, self._theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._theirs, task), daemon=True)
        self._thread = Thread(target=self._listen, name="rebuild-helper", daemon=True)
        self._last: _Answer | None = None
        self.progress: Progress | None = None

    def start(self) -> None:
        self._process.start()
        self._theirs.close()
        self._thread.start()

    def result(self) -> RebuildSummary:
        """Wait for its end. Raises what its rebuild raised, or ``HalfFailed``."""
        self._thread.join()
        if self._last is None:
            self._process.join()
            raise HalfFailed(f"the process of the other half ended with {self._process.exitcode}; run it again")
        if self._last.error is not None:
            raise self._last.error
        assert self._last.summary is not None
        return self._last.summary

    def stop(self) -> None:
        """End it if it still runs: its transactions are rolled back then."""
        if self._process.is_alive():
            self._process.terminate()
        self._process.join()
        self._ours.close()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while self._last is None:
                answer: _Answer = self._ours.recv()
                if answer.progress is not None:
                    self.progress = answer.progress
                else:
                    self._last = answer


def _work(pipe: Pipe, task: _Task) -> None:
    """The other process."""
    log = task.open_log()
    try:
        summary = rebuild(
            task.conninfo,
            log,
            [ALL[name] for name in task.names],
            progress=lambda progress: pipe.send(_Answer(progress=progress)),
            compare=task.compare,
            limits=task.limits,
        )
        pipe.send(_Answer(summary=summary))
    except Exception as error:  # noqa: BLE001 - raised again in the first process
        pipe.send(_Answer(error=error))
    finally:
        log.close()
