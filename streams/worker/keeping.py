"""Keeping the views of one group: where to read from, what to do with what was read, and what to do when that fails.

This is what an agent does, without Kafka and without Faust. Every place where something could get lost is checked
rather than trusted: what was read must begin where what was read before has ended, and where reading begins anew, there
must stand an event that the views have already.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import structlog
from msgspec import Struct

from infra.log_records import NotOurs, position_of, row_of
from infra.partitions import PartitionsFailure
from infra.postgres import in_short
from projections.core import StaleCheckpoint
from streams.observing import first_of
from streams.worker.folding import AWAY, Folded, Folding, Read
from streams.worker.limits import WorkerLimits

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Moved(Exception):
    """The partitions are being given to others, or have been: whatever was under way is not ours any more."""


class Fetch(Struct, frozen=True):
    """What was read at once, a partition at most once. ``epoch`` is that of the seek it was read after."""

    epoch: int
    reads: Sequence[Read]


class Consumer(Protocol):
    """The reader of the topics."""

    def assigned(self) -> Sequence[int]:
        """The partitions that are ours, as checkpoints call them."""
        ...

    async def go_to(self, offsets: Mapping[int, int]) -> int:
        """Read on from there, in all that are ours; gives the epoch of what is read from then on. Raises ``Moved``."""
        ...


class Keeper:
    """Keeps the views of one group. It belongs to one event loop; folding is done in a thread of its own.

    ``trouble`` says why it waits; ``None`` while all is well. ``away`` is whether that is because PostgreSQL is away.
    """

    def __init__(self, group: str, folding: Folding, limits: WorkerLimits) -> None:
        self.group = group
        self.folding = folding
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"moot-{group}")
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        self._one = asyncio.Lock()
        self._released = asyncio.Event()
        self._releases = 0
        self._epoch: int | None = None
        self._next: dict[int, int] = {}
        self._anchors: dict[int, int] = {}
        self._from_start: set[int] = set()
        self._events_max = limits.batch_events_max
        self.furthest: dict[int, int] = {}
        """Up to before which offset each partition was ever read: what is left out as known gets further, too."""
        self.trouble: str | None = None
        self.away = False
        self.events = 0
        self.reads = 0

    @property
    def offsets(self) -> Mapping[int, int]:
        """Up to before which offset everything is in the views, by partition."""
        return dict(self._next)

    async def place(self, consumer: Consumer) -> None:
        """Have the consumer read on from where the views stand. Goes on until it does, or until a release."""
        releases = self._releases
        async with self._one:
            await self._persist(lambda: self._place(consumer), releases)

    async def place_if_otherwise(self, consumer: Consumer) -> None:
        """The same where a stale view was rebuilt meanwhile, or a partition lost its end, which nobody tells.

        Else it reads on where it is.
        """
        async with self._one:
            otherwise = await self._in_thread(self.folding.looks_otherwise)
        if otherwise:
            await self.place(consumer)

    async def take(self, consumer: Consumer, fetch: Fetch) -> None:
        """Fold what was read. Raises nothing: what can be put right by waiting is waited for, until a release."""
        releases = self._releases
        async with self._one:
            if fetch.epoch != self._epoch:
                if self._epoch is None:
                    await self._persist(lambda: self._place(consumer), releases)
                return
            problem = self._problem(fetch.reads)
            if problem is None:
                problem = await self._persist(lambda: self._fold(fetch.reads), releases, fetch.reads)
            if problem:
                _log.warning("worker.reads_again", group=self.group, reason=problem)
                await self._persist(lambda: self._place(consumer), releases)

    async def release(self) -> None:
        """End what waits, and let what is under way come to its end, for as long as a change of workers may wait."""
        self._releases += 1
        self._released.set()
        try:
            await asyncio.wait_for(self._one.acquire(), self._limits.release_seconds_max)
        except TimeoutError:
            _log.warning("worker.batch_not_waited_for", group=self.group, trouble=self.trouble)
        else:
            self._one.release()
        self._released.clear()
        self._epoch = None
        self._next = {}

    async def close(self) -> None:
        """Let go of everything; what is under way still may end."""
        await self.release()
        self._thread.submit(self.folding.close)
        self._thread.shutdown(wait=False)

    # -- under the lock ----------------------------------------------------------------------------------------

    async def _place(self, consumer: Consumer) -> None:
        self._epoch, self._next = None, {}
        numbers = consumer.assigned()
        starts = await self._in_thread(lambda: self.folding.look(numbers))
        offsets, anchors = {}, {}
        for number, start in starts.items():
            # One event earlier, which the views have: by that it is seen that the topic is what it was.
            known = start.offset is not None and number not in self._from_start
            offsets[number] = max(0, start.offset - 1) if known and start.offset is not None else 0
            if offsets[number]:
                anchors[number] = start.position
        epoch = await consumer.go_to(offsets)
        self._epoch, self._next, self._anchors = epoch, offsets, anchors
        _log.info("worker.placed", group=self.group, partitions=len(offsets), stale=sorted(self.folding.stale))

    def _problem(self, reads: Sequence[Read]) -> str | None:
        """Why this is not what comes next, if it is not."""
        for read in reads:
            # What begins earlier is known by its positions, and left out.
            if (expected := self._next.get(read.partition)) is None or not 0 <= read.begin <= expected:
                return f"partition {read.partition} was read from {read.begin}, not {expected}"
            anchor = self._anchors.pop(read.partition, None)
            if anchor is None:
                continue
            try:
                first = position_of(read.records[0])  # type: ignore[arg-type]  # it has what that asks for
            except NotOurs:
                first = anchor + 1
            if first > anchor:
                self._from_start.add(read.partition)
                _log.error("worker.other_topic", group=self.group, partition=read.partition, first=first, known=anchor)
                return f"partition {read.partition} is not as it was at {read.begin}; it is read from its beginning"
        return None

    async def _fold(self, reads: Sequence[Read]) -> str:
        """Fold; gives why it has to be read again, if it has."""
        events_max = self._events_max
        # After a failure less at a time: what takes too long for one transaction must not be tried for ever.
        self._events_max = max(1, events_max // 2)
        try:
            folded: Folded = await self._in_thread(lambda: self.folding.fold(reads, events_max))
        except StaleCheckpoint as error:
            return str(error)
        self._events_max = min(2 * events_max, self._limits.batch_events_max)
        for read in reads:
            if (before := self._next.get(read.partition)) is not None:  # else it was given away meanwhile
                self._next[read.partition] = max(read.end, before)
            self._from_start.discard(read.partition)  # the offset that is kept by now is of the topic as it is
            self.furthest[read.partition] = max(read.end, self.furthest.get(read.partition, 0))
        self.events += folded.events
        self.reads += 1
        return ""

    async def _persist(self, call: Callable[[], Awaitable[_T]], releases: int, reads: Sequence[Read] = ()) -> _T | None:
        """What the call gives, however often it takes; ``None`` when it was given up for a release.

        ``reads`` is what it is about.
        """
        pause = self._limits.retry_seconds_min
        while releases == self._releases:
            try:
                outcome = await call()
            except Moved as error:
                _log.info("worker.moved", group=self.group, reason=str(error))
                return None
            except Exception as error:  # noqa: BLE001 - said, and tried again: nothing may end an agent
                self._say(error, reads)
            else:
                if self.trouble is not None:
                    _log.info("worker.well_again", group=self.group)
                self.trouble, self.away = None, False
                return outcome
            try:
                await asyncio.wait_for(self._released.wait(), pause * self._random.uniform(0.5, 1.5))
            except TimeoutError:
                pause = min(2 * pause, self._limits.retry_seconds_max)
        return None

    def _say(self, error: Exception, reads: Sequence[Read]) -> None:
        self.away = isinstance(error, AWAY)
        self.trouble = in_short(error)
        expected = self.away or isinstance(error, PartitionsFailure)
        _log.warning("worker.waits", group=self.group, trouble=self.trouble, exc_info=not expected, **_first(reads))

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Run it in the thread of this group; one that PostgreSQL keeps waiting too long is cut off."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, call)
        done, _ = await asyncio.wait([running], timeout=self._limits.batch_seconds_max)
        if not done:
            _log.warning("worker.cut_off", group=self.group, seconds=self._limits.batch_seconds_max)
            self.folding.cut()
        return await running


def _first(reads: Sequence[Read]) -> dict[str, int | str]:
    """Of what was read, the first event's position and trace, for a line of the log."""
    try:
        return first_of([row_of(reads[0].records[0])]) if reads else {}  # type: ignore[arg-type]  # it has what that asks for
    except NotOurs:
        return {}
