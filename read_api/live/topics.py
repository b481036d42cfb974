"""Topics: what is watched, read once for all who watch it.

A topic is one list (the comments of a post) or one value (the score of a comment) in the views. While anybody
follows it, it listens for its signal and on each reads the rows after its position. A follower first listens, then
catches up from its own cursor to the topic's position, then takes what the topic reads. Every row has its position
in the log and a topic tells of rows in that order, so following is comparing numbers: nothing can be missed between
catching up and going live, and nothing comes twice. Rows of several partitions may become visible in another order:
what is there too early is held until the views have reached it.

Only the topic's own task tells many: a follower who comes, goes or fails in the middle takes nothing from the others.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.event import Id
from infra.cassandra.errors import CassandraError
from infra.queries import live
from infra.queries.rows import Connection
from infra.signals import PROGRESS, Signals, since_late
from infra.tasks import end
from infra.telemetry import metrics, tracing
from read_api.errors import ApiCode, ApiError, BadInput
from read_api.live.endings import Endings
from read_api.live.following import NOW, Event, Follower, FollowLimits, Pool, Ready, Source, Viewer, gone

RETRY_SECONDS = 1.0
"""Until a topic whose read failed reads again."""

ADMISSION_SECONDS = 5.0
"""So long it is relied on that whoever was admitted still is, where guards tell when that changes. It says how long a
signal that was lost with its publisher can matter; ten thousand followers are then not looked at for each message."""

FOLLOWERS_AT_ONCE = 100
"""Followers served before others in this process get a turn."""

FOLLOWERS_FIRST = 8
"""Followers of whom each is waited for, if he is the first to have something made of an event: most of the others want
just that, and are spared to wait for it one by one."""

MAKING_SECONDS_MAX = 0.5
"""How long they are waited for, all of them together."""

REST_SECONDS_MAX = 0.1
"""Of a topic with many followers and many changes: it takes half of the process's time for so long, and more of it
beyond. What happens meanwhile is read together, and goes to each follower in one piece."""

PATIENT_AT_ONCE = 2
"""Of the topics that rest, so many are read at the same time, and for as long again none in their place: thousands may
be woken by one message, of which the others of the process are to feel nothing."""

_log = structlog.get_logger(__name__)


def _too_old(why: str) -> BadInput:
    return BadInput(ApiCode.CURSOR_TOO_OLD, f"{why}: read the list anew, then subscribe.", "after")


class Topic:
    """One source while it is followed.

    ``_reading`` is held while anything is read that moves ``_position``, and while a follower goes live. ``_doubts``
    counts the signals that somebody may have lost the right to follow, ``_settled`` is how many of them were looked at,
    and ``_looked`` when.
    """

    def __init__(
        self,
        source: Source,
        signals: Signals,
        pool: Pool,
        limits: FollowLimits,
        turns: asyncio.Semaphore,
        endings: Endings,
    ) -> None:
        self._turns = turns
        self._endings = endings
        self._source = source
        self._signals = signals
        self._pool = pool
        self._limits = limits
        self._followers: set[Follower] = set()
        self._arriving: set[Follower] = set()
        self._position = NOW
        self._newest: Event | None = None
        self._wanted, self._hurry = asyncio.Event(), asyncio.Event()
        self._asked: asyncio.Future[None] | None = None
        self._reading = asyncio.Lock()
        self._held = False
        self._late: int | None = None
        self._guards = tuple(source.guards)
        self._doubts = self._settled = 0
        self._looked = float("-inf")
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Listen, then take note of how far the view has come."""
        await self._stack.enter_async_context(self._signals.watch(self._source.channel, self._wake))
        try:
            for guard in self._guards:
                heard = self._hurry_to if guard in self._source.own_guards else self._doubt_with_others
                await self._stack.enter_async_context(self._signals.watch(guard, heard))
            async with self._pool.connection() as connection:
                self._position = await self._source.start(connection)
        except BaseException:
            await self._stack.aclose()
            raise
        task = asyncio.create_task(self._run(), name=f"moot-topic-{self._source.channel}")
        self._stack.push_async_callback(end, task)

    async def close(self) -> None:
        """Stop listening."""
        await self._stack.aclose()

    async def follow(self, follower: Follower, ready: Ready) -> None:
        """Deliver to it from its position on.

        What was missed comes first, page by page, each but the first when ``ready`` returns. Raises ``BadInput`` with
        ``CURSOR_TOO_OLD`` if too much was missed, before any of it is delivered, and ``ApiError`` for whoever may not
        follow, or may not any more before he is live.
        """
        value = self._source.is_value
        self._arriving.add(follower)  # from here on a doubt about him is not missed
        try:
            await self._admit(follower)
            if value or follower.position == NOW:
                await self._refresh()
            else:
                await self._catch_up(follower, ready)
            async with self._reading:  # nothing can pass between the last look and the first delivery
                if self._doubts != self._settled:
                    await self._admit(follower)
                if follower.ended.done():
                    follower.ended.result()
                if value and self._newest is not None:
                    follower.take(self._newest)
                elif follower.position == NOW:
                    follower.position = self._position
                elif not value and follower.position < self._position:
                    await self._catch_up(follower, None)
                    # Less only where something is held that the topic is past: all of it is told again to who lacks it.
                    self._position = min(self._position, follower.position)
                self._followers.add(follower)
        finally:
            self._arriving.discard(follower)

    def leave(self, follower: Follower) -> None:
        """Deliver nothing more to it."""
        self._followers.discard(follower)

    async def _admit(self, follower: Follower) -> None:
        async with self._pool.connection() as connection:
            admitted = await self._source.admitted(connection, {follower.viewer})
        if admitted is not None and follower.viewer not in admitted:
            raise gone()

    async def _catch_up(self, follower: Follower, ready: Ready | None) -> None:
        seen, limit = self._position, self._limits.backfill_max
        async with self._pool.connection() as connection:
            reading = await self._source.read(connection, follower.position, limit + 1)
            if reading.held:
                self._hold()
            events = reading.events
            if len(events) > limit:
                raise _too_old(f"More than {limit} events have happened since this cursor")
            hidden = await self._hidden(connection, {follower.viewer}, events)
        for number, event in enumerate(events):
            if ready is not None and number and number % self._limits.page == 0:
                await ready()
            follower.take(event, hidden)
        if not reading.held:
            follower.position = max(follower.position, seen)

    async def _refresh(self) -> None:
        """Have everything read that is there now. Those who ask at the same time share one reading, and its failure."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._wanted.set()
            self._hurry.set()
        await asyncio.shield(self._asked)

    async def _read(self) -> None:
        """Read what is new and deliver it; ``_reading`` is held. For the topic's own task alone."""
        limit = 1 if self._source.is_value else self._limits.page
        more = True
        began_ns = time.time_ns()
        while more:
            began = time.monotonic()
            followers, arriving = tuple(self._followers), tuple(self._arriving)
            viewers = {follower.viewer for follower in (*followers, *arriving)}
            async with self._pool.connection() as connection:
                reading = await self._source.read(connection, self._position, limit)
                if reading.held:
                    self._hold()
                else:
                    self._held = False
                events = reading.events
                doubts = self._doubts
                if not events and doubts == self._settled:
                    self._forget_renderings()
                    return
                looks = not self._guards or doubts != self._settled or began - self._looked >= ADMISSION_SECONDS
                admitted = await self._source.admitted(connection, viewers) if looks else None
                hidden = await self._hidden(connection, viewers, events)
            self._put_out(arriving, admitted)
            if events:
                self._position, self._newest = events[-1].position, events[-1]
            else:
                self._forget_renderings()
            await _deliver(events, self._put_out(followers, admitted), hidden)
            if looks:  # not before: what failed is asked again, and what came meanwhile is another doubt
                self._settled, self._looked = doubts, began
            if not events:
                return
            metrics.PUSHES.inc(len(events) * len(followers))
            metrics.PUSH_READ_SECONDS.observe(max(0, time.time_ns() - began_ns) / 1e9)
            tracing.pushed([event.position for event in events], began_ns, followers=len(followers))
            more = len(events) == limit and not self._source.is_value

    async def _settle(self) -> None:
        """Put out whoever may follow no more, where nothing else can be read: the right to is asked of PostgreSQL."""
        doubts = self._doubts
        if doubts == self._settled:
            return
        with suppress(psycopg.OperationalError, PoolTimeout):
            async with self._reading:
                followers = (*self._followers, *self._arriving)
                async with self._pool.connection() as connection:
                    admitted = await self._source.admitted(connection, {follower.viewer for follower in followers})
                self._put_out(followers, admitted)
                self._settled = doubts

    def _put_out(self, followers: Collection[Follower], admitted: Collection[Viewer] | None) -> Collection[Follower]:
        """End those who are not admitted. The others."""
        if admitted is None:
            return followers
        for follower in followers:
            if follower.viewer not in admitted:
                follower.end(gone())
                self._followers.discard(follower)
        return [follower for follower in followers if follower.viewer in admitted]

    def _forget_renderings(self) -> None:
        """Whoever comes now is sent the newest event as it looks now: what it leads to may have changed since."""
        if self._source.is_value and (newest := self._newest) is not None:
            self._newest = Event(newest.position, newest.payload, newest.author_id)

    async def _hidden(
        self, connection: Connection, viewers: Collection[Viewer], events: Sequence[Event]
    ) -> Collection[tuple[Viewer, Id]]:
        authors = {event.author_id for event in events if event.author_id is not None}
        return await live.blocks(connection, viewers, authors)

    def _wake(self, signalled: int | None) -> None:
        if (position := since_late(signalled)) is not None:
            self._late = position if self._late is None else min(position, self._late)
        self._wanted.set()

    def _end_past(self) -> None:
        """End those who are past what came late, and those who may be: what they have lacks it."""
        position, self._late = self._late, None
        if position is None or self._source.is_value:
            return
        arriving = [follower for follower in self._arriving if follower.position != NOW]
        for follower in (*arriving, *(one for one in self._followers if one.position >= position)):
            follower.end(_too_old("Something came late that belongs before this cursor"))
            self._followers.discard(follower)

    def _doubt(self, _: int | None) -> None:
        """Somebody may have lost the right to follow: look at all of them, whether anything happens or not."""
        self._doubts += 1
        self._wanted.set()

    def _doubt_with_others(self, signalled: int | None) -> None:
        """As a doubt; that all has ended is no matter of turns."""
        self._doubt(signalled)
        if (server_id := self._source.ends_with) is not None:
            self._endings.ask(server_id, self._end_all)

    def _end_all(self) -> None:
        for follower in (*self._followers, *self._arriving):
            follower.end(gone())
        self._followers.clear()

    def _hurry_to(self, signalled: int | None) -> None:
        """As a doubt, and it does not wait for its turn."""
        self._doubt(signalled)
        if signalled is not None:  # but where anything may have happened, it may have to all
            self._hurry.set()

    def _hold(self) -> None:
        """Remember that what was read is not all that is there: read again when the views have come further."""
        if not self._held:
            self._held = True
            self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            if not self._held:
                await self._look_in_turn()
                continue
            async with self._signals.watch(PROGRESS, self._wake):
                while self._held:  # still wanted, so it looks first: progress may have been made unheard
                    await self._wanted.wait()
                    await self._look_in_turn()

    async def _look_in_turn(self) -> None:
        """Look, and rest. What can wait looks in its turn, or at once when somebody asks."""
        if not self._source.rest_seconds or not await self._take_turn():
            await self._rest(await self._look())
            return
        started = time.perf_counter()
        try:
            rest = await self._look()
            await self._rest(time.perf_counter() - started)
        finally:
            self._turns.release()
        await self._rest(rest)

    async def _take_turn(self) -> bool:
        """Wait for a turn, or until somebody asks. Whether it is one, to be given back."""
        taking, hurry = asyncio.create_task(self._turns.acquire()), asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait((taking, hurry), return_when=asyncio.FIRST_COMPLETED)
            await end(taking, hurry)
        except asyncio.CancelledError:  # at either: a turn that was got is given back
            await end(taking, hurry)
            if not taking.cancelled():
                self._turns.release()
            raise
        return not taking.cancelled()

    async def _rest(self, seconds: float) -> None:
        """Whoever asks is not kept waiting."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _look(self) -> float:
        """Read what is new, once, or have it tried again. How long to rest afterwards."""
        self._wanted.clear()
        self._hurry.clear()
        asked, self._asked = self._asked or asyncio.get_running_loop().create_future(), None
        started = time.perf_counter()
        try:
            async with self._reading:
                self._end_past()
                await self._read()
        except (psycopg.OperationalError, PoolTimeout, CassandraError) as error:
            _log.warning("topic.unread", channel=self._source.channel, error=f"{type(error).__name__}: {error}")
            asked.set_exception(error)
            self._wanted.set()
            await self._settle()
            rest = RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 - logged, and told to everybody who follows
            _log.exception("topic.failed", channel=self._source.channel)
            asked.set_exception(error)
            for follower in self._followers:
                follower.end(ApiError(ApiCode.INTERNAL, "This cannot be followed now. Try again later."))
            self._followers.clear()
            rest = 0.0
        else:
            asked.set_result(None)
            rest = max(min(time.perf_counter() - started, REST_SECONDS_MAX), self._source.rest_seconds)
        asked.exception()  # whoever waits for it raises it; nobody has to wait
        return rest


async def _deliver(
    events: Sequence[Event], followers: Collection[Follower], hidden: Collection[tuple[Viewer, Id]]
) -> None:
    left = MAKING_SECONDS_MAX
    for number, follower in enumerate(followers, 1):
        before = [event.making for event in events] if number <= FOLLOWERS_FIRST else []
        for event in events:
            follower.take(event, hidden)
        if number % FOLLOWERS_AT_ONCE == 0:
            await asyncio.sleep(0)
        elif before and left > 0:
            begun = [one.making for one, was in zip(events, before, strict=True) if one.making is not was]
            left -= await _made(begun, left)


async def _made(making: Sequence[asyncio.Future[Any] | None], seconds_max: float) -> float:
    """Wait for what has begun to be made. How long that took."""
    if not (waited := [one for one in making if one is not None and not one.done()]):
        return 0.0
    started = time.perf_counter()
    await asyncio.wait(waited, timeout=seconds_max)
    return time.perf_counter() - started
