"""The watchdog of a worker: ends the process when it does not get on and nothing outside explains it.

It is a thread with a connection of its own, and takes nobody's word: what there is to fold, and whether it is folded,
is asked of PostgreSQL, whether it could be read, of the log, and whether it could be written, of the message log. While
one of them does not answer, nothing is held against the worker: its time begins when all do.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from logging import INFO, WARNING
from typing import Any, Final, Protocol

import psycopg
import structlog
from psycopg import Connection

from infra.cassandra.log import LogStore
from infra.event_log import EventLog, LogUnavailable, TopicsMissing
from infra.log_records import EVENT_TOPICS, names
from infra.postgres import connect
from streams.worker.limits import WorkerLimits

STALLED: Final = 4
"""The exit code of a worker that its watchdog has ended."""

_log = structlog.get_logger(__name__)


class Watched(Protocol):
    """A group as its worker has it."""

    group: str

    def views(self) -> Collection[str]:
        """The views that are its to keep."""
        ...

    def holds(self) -> Collection[int]:
        """The partitions that are its to read."""
        ...

    def furthest(self) -> Mapping[int, int]:
        """How far it has ever read in each partition."""
        ...


def end_process(reason: str) -> None:
    """End at once, with every thread's whereabouts on standard error: what hangs would not end in any other way."""
    sys.stderr.write(f"error: this worker does not get on: {reason}. It ends itself, to be started again.\n")
    faulthandler.dump_traceback(all_threads=True)
    sys.stderr.flush()
    os._exit(STALLED)


class Watchdog:
    """Watches the groups that ``watched`` gives, from a thread of its own."""

    def __init__(
        self,
        conninfo: str,
        log: EventLog,
        watched: Callable[[], Collection[Watched]],
        limits: WorkerLimits,
        *,
        messages: LogStore | None = None,
        end: Callable[[str], None] = end_process,
    ) -> None:
        self._conninfo = conninfo
        self._log = log
        self._watched = watched
        self._limits = limits
        self._messages = messages
        self._end = end
        self._since: dict[str, tuple[object, float]] = {}
        self._connection: Connection[Any] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="moot-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.ident is None:
            self._disconnect()
        else:
            self._thread.join(self._limits.watch_seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self._limits.watch_seconds):
            try:
                self.look(time.monotonic())
            except Exception as error:  # noqa: BLE001 - said, and looked again: without it nothing ends a stalled worker
                expected = isinstance(error, psycopg.Error)
                reason = f"{type(error).__name__}: {error}".strip()
                _log.log(INFO if expected else WARNING, "worker.watchdog_blind", reason=reason, exc_info=not expected)
                self._since.clear()
                self._disconnect()
        self._disconnect()

    def look(self, now: float) -> None:
        """Look at every group once. Raises ``psycopg.Error``."""
        readable = cache(self._readable)
        began = time.monotonic()
        for watched in self._watched():
            lag, commits = self._lag(watched)
            came = (commits, sum(watched.furthest().values()))
            before, since = self._since.get(watched.group, (None, now))
            if not lag or came != before:
                self._since[watched.group] = (came, now)
            elif not readable():
                # To ask takes a while where nobody answers.
                self._since[watched.group] = (came, now + time.monotonic() - began)
            elif now - since >= self._limits.stall_seconds_max:
                reason = f"{watched.group} has committed nothing for {now - since:.0f} s, in {lag} partitions with more"
                _log.error("worker.stalled", group=watched.group, seconds=round(now - since), partitions=lag)
                self._end(reason)

    def _lag(self, watched: Watched) -> tuple[int, int]:
        """In how many of its partitions there is more to fold, and a number that grows with each commit there."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo, answer_seconds_max=_ANSWER_SECONDS_MAX)
            self._connection.execute("SELECT set_config('statement_timeout', %s, false)", (_TIMEOUT,))
        row = self._connection.execute(
            """SELECT count(*) FILTER (WHERE at.first < r.position), coalesce(sum(at.whole), 0) FROM (
                SELECT partition, min(position) AS first, sum(position) AS whole FROM views.checkpoints
                WHERE projection = ANY(%s) AND partition = ANY(%s) GROUP BY partition
            ) at LEFT JOIN log.relayed r USING (partition)""",
            (list(watched.views()), list(watched.holds())),
        ).fetchone()
        assert row is not None
        return row[0], int(row[1])

    def _readable(self) -> bool:
        """Whether the topics can be asked for, and the message log answers, as far as one question tells."""
        try:
            self._log.ends(names(EVENT_TOPICS))
        except (LogUnavailable, TopicsMissing) as error:
            _log.info("worker.watchdog_waits", reason=f"{type(error).__name__}: {error}".strip())
            return False
        trouble = self._messages.trouble() if self._messages is not None else None
        if trouble:
            _log.info("worker.watchdog_waits", reason=trouble)
        return not trouble

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_TIMEOUT: Final = "5s"
_ANSWER_SECONDS_MAX: Final = 6.0
"""PostgreSQL ends what takes longer than the former; when it cannot say so, it is the network that does not."""
