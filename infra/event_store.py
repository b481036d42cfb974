"""The event store: the recorders behind group commit, group loading and a live reader.

One thread appends everything that waits in one transaction, so that sixty-four commands pay for one lock, one
round trip and one flush of the disk. A conflict fails only the command that caused it.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import TypeVar

import msgspec
import structlog
from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError

from commands.ports import Append, Conflict, StoreUnavailable
from domain.event import Id
from infra.breaker import Breaker
from infra.codec import Codec, Keys
from infra.gathering import Gatherer, GathererClosed, TooManyWaiting
from infra.keyring import Keyring, KeysUnavailable, MemoryKeys, PostgresKeys
from infra.recorders import CHANNEL, Datastore, Entry, MemoryRecorder, NotSent, Outcome, PostgresRecorder, Recorder
from infra.store_limits import LIMITS, StoreLimits
from infra.telemetry import metrics, tracing
from infra.watch import RECONNECT_SECONDS, Listener, Watch
from schemas.envelope import Metadata, Recorded

_CANONICAL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION_MAX = 2**62
_AWAY = (OperationalError, InterfaceError)
_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_Job = tuple[Entry, ...]


class StoreOverloaded(StoreUnavailable):
    """Too many commands wait already. Nothing happened: try again in a moment."""


class EventTooLarge(ValueError):
    """An event is over ``event_bytes_max`` as stored."""


def _now() -> datetime:
    return datetime.now(UTC)


class GroupCommitStore:
    """The ``EventStore`` of commands, with the same for threads beside it. See ``commands/ports.py``.

    ``recorded_at`` of what is appended is always ``clock()`` here; the rest of the metadata is the caller's.
    Everything may be used from any event loop and any thread. ``watch`` tells when the log grows.
    """

    def __init__(
        self,
        recorder: Recorder,
        codec: Codec,
        *,
        watch: Watch | None = None,
        listen: Callable[[Callable[[], None]], Listener] | None = None,
        clock: Callable[[], datetime] = _now,
        limits: StoreLimits = LIMITS,
    ) -> None:
        self.codec = codec
        self.recorder = recorder
        self.watch = watch or Watch()
        self._listen = listen
        self._listener: Listener | None = None
        self._lock = Lock()
        self._clock = clock
        self._limits = limits
        self._writer: Gatherer[_Job, int] = Gatherer(
            "event store writer", self._record, waiting_max=limits.waiting_max, batch_max=limits.batch_events_max
        )
        self._loader: Gatherer[tuple[Id, ...], dict[Id, list[Recorded]]] = Gatherer(
            "event store loader", self._load, waiting_max=limits.waiting_max, batch_max=limits.load_streams_max
        )
        self._readers = ThreadPoolExecutor(limits.reader_threads, "event store reader")

    # -- for event loops ---------------------------------------------------------------------------------------

    async def load(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """The events of each stream, oldest first; a stream that does not exist is empty."""
        asked = tuple(stream_ids)
        if not self.recorder.blocking:
            return self._load([asked])[0]
        return await _answered(self._loader.ask(asked, len(asked)))

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        """Record all of it or nothing, durably. Gives the position of the last event.

        Raises ``Conflict``, ``StoreUnavailable`` (also ``StoreOverloaded``), ``EventTooLarge``, ``AuthorErased``, or
        ``ValueError`` for what is no append: no events at all, a stream twice, an id that is no UUID in canonical form.
        """
        began_ns = time.time_ns() if tracing.enabled() else 0
        keys: Keys | None = self.codec.keyring.cached(authors := self._authors(appends))
        if keys is None:
            keys = await self._in_thread(partial(self._keys, authors))
        job = self._job(appends, meta, keys)
        if not self.recorder.blocking:
            return _position(self._record([job])[0])
        position = await _answered(self._writer.ask(job, _size(job)))
        if began_ns:
            tracing.appended(meta.correlation_id, meta.command_id, began_ns, position=position, events=_size(job))
        return position

    async def read(self, after: int, limit: int) -> Sequence[Recorded]:
        """At most ``limit`` events with a position greater than ``after``, in order."""
        return await self._in_thread(partial(self.read_sync, after, limit))

    async def head(self) -> int:
        """The position of the newest event; 0 in an empty log."""
        return await self._in_thread(self.head_sync)

    async def follow(self, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """All events after that position, in order, in batches, and then new ones as they are committed; endless.

        It outlives restarts of the database: what was committed meanwhile comes afterwards.
        """
        self._start_listening()
        while True:
            try:
                page = await self.read(after, self._limits.follow_events_max)
            except StoreUnavailable as error:
                _log.warning("following the log is interrupted", after=after, error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            if page:
                after = page[-1].position
                yield page
            if len(page) < self._limits.follow_events_max:
                await self.watch.beyond(after, self._limits.poll_seconds)

    # -- for threads -------------------------------------------------------------------------------------------

    def load_sync(self, stream_ids: Sequence[Id]) -> Mapping[Id, Sequence[Recorded]]:
        """``load`` for a thread, in one query."""
        return self._load([tuple(stream_ids)])[0]

    def append_sync(self, appends: Sequence[Append], meta: Metadata) -> int:
        """``append`` for a thread; joins the same group commit."""
        job = self._job(appends, meta, self._keys(self._authors(appends)))
        if not self.recorder.blocking:
            return _position(self._record([job])[0])
        try:
            return self._writer.ask_sync(job, _size(job))
        except TooManyWaiting as error:
            raise StoreOverloaded(f"{error}; try again in a moment") from error
        except GathererClosed as error:
            raise StoreUnavailable(str(error)) from error

    def append_many(self, commands: Sequence[tuple[Sequence[Append], Metadata]]) -> list[int | Conflict]:
        """Append for many commands in few large transactions, in order: the position or the conflict of each.

        A command that appends to a stream to which an earlier one of these appended goes into a later transaction.
        Raises what ``append`` raises but ``Conflict``; some of the commands may then be recorded.
        """
        keys = self._keys({author for appends, _ in commands for author in self._authors(appends)})
        jobs = [self._job(appends, meta, keys) for appends, meta in commands]
        outcomes: list[int | Conflict] = []
        start = 0
        while start < len(jobs):
            end, size = start, 0
            while end < len(jobs) and (end == start or size + _size(jobs[end]) <= self._limits.bulk_events_max):
                size += _size(jobs[end])
                end += 1
            for outcome in self._record(jobs[start:end]):
                if isinstance(outcome, Exception) and not isinstance(outcome, Conflict):
                    raise outcome
                outcomes.append(outcome)
            start = end
        return outcomes

    def read_sync(self, after: int, limit: int) -> list[Recorded]:
        """``read`` for a thread."""
        page = self._reading(lambda: self.codec.decode_page(self.recorder.page(after, limit)))
        if page:
            self.watch.advance(page[-1].position)
        return page

    def head_sync(self) -> int:
        """``head`` for a thread."""
        return self._reading(self.recorder.head)

    def wait_for_more(self, after: int, timeout: float) -> bool:
        """Wait until there is an event after that position, at most ``timeout`` seconds; whether there is one."""
        self._start_listening()
        end = time.monotonic() + timeout
        while not self.watch.wait_beyond(after, max(0.0, min(end - time.monotonic(), self._limits.poll_seconds))):
            self._look()
            if time.monotonic() >= end:
                return self.watch.head > after
        return True

    def close(self) -> None:
        """Take no more commands, finish those that wait, and let go of everything."""
        with self._lock:
            listener, self._listener, self._listen = self._listener, None, None
        if listener is not None:
            listener.close()
        self._writer.close()
        self._loader.close()
        self._readers.shutdown()
        self.recorder.close()

    # -- appending ---------------------------------------------------------------------------------------------

    def _authors(self, appends: Sequence[Append]) -> set[Id]:
        return self.codec.authors(event for append in appends for event in append.events)

    def _keys(self, authors: set[Id]) -> Keys:
        if not authors:
            return {}
        return self._reading(lambda: self.codec.keyring.ensure(authors))

    def _job(self, appends: Sequence[Append], meta: Metadata, keys: Keys) -> _Job:
        raw_meta = self.codec.encode_meta(msgspec.structs.replace(meta, recorded_at=self._clock()))
        job = tuple(self._entry(append, raw_meta, keys) for append in appends)
        if not any(entry.records for entry in job):
            raise ValueError("nothing to append")
        if len(job) > 1 and len({entry.stream_id for entry in job}) < len(job):
            raise ValueError("a stream is named twice in one append")
        return job

    def _entry(self, append: Append, raw_meta: bytes, keys: Keys) -> Entry:
        stream_id = append.stream_id
        if not _CANONICAL_ID.fullmatch(stream_id):
            raise ValueError(f"{stream_id!r} is no stream id: it must be a UUID in canonical form")
        if not 0 <= append.expected_version <= _VERSION_MAX:
            raise ValueError(f"{append.expected_version} is no version that stream {stream_id} can have")
        records = tuple([self.codec.encode(stream_id, event, raw_meta, keys) for event in append.events])
        for topic, state in records:
            if len(state) > self._limits.event_bytes_max:
                raise EventTooLarge(f"{topic} has {len(state)} bytes as stored, over {self._limits.event_bytes_max}")
        return Entry(stream_id, append.expected_version, records)

    def _record(self, jobs: Sequence[_Job]) -> list[int | Exception]:
        """The outcome of each job, in rounds: in one transaction a stream is appended to by one job at most.

        Versions are checked before anything of a round is recorded. So who guards a stream may be in one round with
        who appends to it, if he comes first, and with any number of others who guard it.
        """
        outcomes: dict[int, int | Exception] = {}
        waiting = list(enumerate(jobs))
        while waiting:
            written: set[Id] = set()
            held: set[Id] = set()  # guarded by what is held back
            now: list[tuple[int, _Job]] = []
            later: list[tuple[int, _Job]] = []
            for number, job in waiting:
                streams = {entry.stream_id for entry in job}
                writes = {entry.stream_id for entry in job if entry.records} if len(job) > 1 else streams
                # What is held back holds back what comes after it on the same streams, so order is kept.
                if streams & written or writes & held:
                    later.append((number, job))
                    held |= streams - writes
                else:
                    now.append((number, job))
                written |= writes
            for (number, _), outcome in zip(now, self._transact([job for _, job in now]), strict=True):
                outcomes[number] = outcome
            waiting = self._still_possible(now, later, outcomes)
        if done := [outcome for outcome in outcomes.values() if isinstance(outcome, int)]:
            self.watch.advance(max(done))
        return [outcomes[number] for number in range(len(jobs))]

    @staticmethod
    def _still_possible(
        now: Sequence[tuple[int, _Job]], later: Sequence[tuple[int, _Job]], outcomes: dict[int, int | Exception]
    ) -> list[tuple[int, _Job]]:
        """Those held back that what was just recorded did not already make conflicts; these get their outcome."""
        reached = {
            entry.stream_id: entry.expected_version + len(entry.records)
            for number, job in now
            if isinstance(outcomes[number], int)
            for entry in job
        }
        possible = []
        for number, job in later:
            stale = [entry.stream_id for entry in job if reached.get(entry.stream_id, 0) > entry.expected_version]
            if stale:
                outcomes[number] = Conflict(stale)
            else:
                possible.append((number, job))
        return possible

    def _transact(self, jobs: Sequence[_Job]) -> list[int | Exception]:
        """One transaction for all; each alone if the database cannot take them together."""
        began = time.perf_counter()
        try:
            try:
                found = self.recorder.append(jobs)
            except NotSent:
                raise
            except _AWAY:
                found = self._append_again(jobs)
        except _AWAY as error:
            metrics.STORE_UNAVAILABLE.inc(len(jobs))
            _log.warning("the event store did not answer", commands=len(jobs), error=str(error))
            return [StoreUnavailable("the event store did not answer; try again") for _ in jobs]
        except Exception as error:  # noqa: BLE001 - it goes to the one command that causes it
            if len(jobs) == 1:
                _log.error("an append failed", stream=jobs[0][0].stream_id, error=str(error))
                return [error]
            return [outcome for job in jobs for outcome in self._transact([job])]
        self._count(jobs, found, time.perf_counter() - began)
        return [Conflict(outcome) if isinstance(outcome, tuple) else outcome for outcome in found]

    @staticmethod
    def _count(jobs: Sequence[_Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Once for each transaction, whatever the number of commands in it."""
        refused = sum([isinstance(outcome, tuple) for outcome in outcomes])
        events = sum([_size(job) for job, found in zip(jobs, outcomes, strict=True) if not isinstance(found, tuple)])
        metrics.STORE_EVENTS.inc(events)
        metrics.STORE_BATCH_COMMANDS.observe(len(jobs))
        metrics.STORE_APPEND_SECONDS.observe(seconds)
        if refused:
            metrics.STORE_CONFLICTS.inc(refused)

    def _append_again(self, jobs: Sequence[_Job]) -> list[Outcome]:
        """After an answer was lost: what the first try recorded, the second is refused for, and finds in the log."""
        self.recorder.refresh()
        outcomes: list[Outcome] = []
        for job, outcome in zip(jobs, self.recorder.append(jobs), strict=True):
            before = self.recorder.recorded(job) if isinstance(outcome, tuple) else None
            outcomes.append(outcome if before is None else before)
        return outcomes

    # -- reading -----------------------------------------------------------------------------------------------

    def _load(self, requests: Sequence[tuple[Id, ...]]) -> list[dict[Id, list[Recorded]]]:
        wanted = list(dict.fromkeys(stream_id for request in requests for stream_id in request))
        # An id that is no UUID names no stream; the database would refuse the others with it.
        known = [stream_id for stream_id in wanted if _CANONICAL_ID.fullmatch(stream_id)]
        page = self._reading(lambda: self.codec.decode_page(self.recorder.streams(known))) if known else []
        streams: dict[Id, list[Recorded]] = {}
        for recorded in page:
            streams.setdefault(recorded.stream_id, []).append(recorded)
        return [{stream_id: streams.get(stream_id, []) for stream_id in request} for request in requests]

    def _reading(self, read: Callable[[], _T]) -> _T:
        """Once more after a connection turned out to be broken; then ``StoreUnavailable``."""
        try:
            try:
                return read()
            except NotSent:
                raise
            except (*_AWAY, KeysUnavailable):
                self.recorder.refresh()
                return read()
        except (*_AWAY, KeysUnavailable) as error:
            raise StoreUnavailable("the event store did not answer; try again") from error

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if not self.recorder.blocking:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    def _start_listening(self) -> None:
        with self._lock:
            if self._listener is None and self._listen is not None:
                self._listener = self._listen(self._look)

    def _look(self) -> None:
        """Look for something new; while the database is away there is nothing new."""
        try:
            self.watch.advance(self.head_sync())
        except (StoreUnavailable, PersistenceError) as error:
            _log.warning("cannot see what is new in the log", error=str(error))


def _position(outcome: int | Exception) -> int:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _size(job: _Job) -> int:
    return sum([len(entry.records) for entry in job])


async def _answered(answer: Awaitable[_T]) -> _T:
    try:
        return await answer
    except TooManyWaiting as error:
        raise StoreOverloaded(f"{error}; try again in a moment") from error
    except GathererClosed as error:
        raise StoreUnavailable(str(error)) from error


def memory_store(
    *, clock: Callable[[], datetime] = _now, keyring: Keyring | None = None, limits: StoreLimits = LIMITS
) -> GroupCommitStore:
    """A store that lives as long as it is held: no threads, no files, nothing to close."""
    codec = Codec(keyring or Keyring(MemoryKeys(), bytes(32)))
    return GroupCommitStore(MemoryRecorder(), codec, clock=clock, limits=limits)


def postgres_store(
    conninfo: str,
    master_key: bytes,
    *,
    clock: Callable[[], datetime] = _now,
    limits: StoreLimits = LIMITS,
    breaker: Breaker | None = None,
) -> GroupCommitStore:
    """The store in PostgreSQL, whose migrations have run. ``close`` it. The ``breaker`` refuses with ``NotSent``."""
    datastore = Datastore(conninfo, limits)
    keyring = Keyring(PostgresKeys(datastore.connection), master_key, cached_max=limits.cached_keys_max)
    return GroupCommitStore(
        PostgresRecorder(datastore, breaker),
        Codec(keyring),
        listen=lambda heard: Listener(conninfo, CHANNEL, heard),
        clock=clock,
        limits=limits,
    )
