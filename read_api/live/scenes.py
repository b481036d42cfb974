"""Scenes: what has no position in the log and no past. Whoever comes is shown how things stand, then what changes.

A scene is read once for all who watch it in a process, and what changed meanwhile is told together. Two things wake
it: a signal that what it shows has changed, and one that who may see it has. The second ends those who may not any
more. While Redis or PostgreSQL is away everybody is left with what was shown last; then all is read anew.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any, Generic, TypeVar

import psycopg
import structlog
from msgspec import Struct
from psycopg_pool import PoolTimeout

from infra.presence import PresenceUnavailable
from infra.queries.rows import Connection
from infra.signals import Signals
from infra.tasks import end
from infra.telemetry import metrics
from read_api.errors import ApiCode, ApiError
from read_api.live.following import Event, Follower, Pool, Ready, Viewer, gone
from read_api.live.topics import FOLLOWERS_AT_ONCE, RETRY_SECONDS

AWAY = (PresenceUnavailable, psycopg.OperationalError, PoolTimeout)
"""What is tried again."""

FIRSTS_SECONDS = 1.0
"""For so long those who come are sent the same bytes; then names are looked up anew."""

SCENES_AT_ONCE = 4
"""Of the scenes of one account each, so many are read anew at the same time where nothing in particular has changed:
all of them are when Redis comes back, thousands, of which the others of the process are to feel little."""

View = TypeVar("View")

_log = structlog.get_logger(__name__)


class SceneLimits(Struct, frozen=True):
    """The settings ``presence_check_seconds`` and ``presence_refresh_seconds``."""

    check_seconds: float = 0.5
    refresh_seconds: float = 60.0


class SceneTopic(ABC, Generic[View]):
    """One scene while it is watched. ``View`` is how it stands: a value that is replaced, never changed.

    ``channel`` is signalled when what it shows has changed, each of ``standing`` when who may see it, or be seen in it,
    has. Where there are ``turns``, one is waited for whenever it is not this scene in particular that has changed.
    """

    def __init__(
        self,
        channel: str,
        standing: Sequence[str],
        signals: Signals,
        pool: Pool,
        limits: SceneLimits,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        self._turns = turns
        self._channel = channel
        self._standing = standing
        self._signals = signals
        self._pool = pool
        self._limits = limits
        self._followers: set[Follower] = set()
        self._arriving: set[Follower] = set()
        self._view: View
        self._version = 0
        self._firsts: tuple[int, float, Sequence[Event]] | None = None
        self._wanted, self._moved = asyncio.Event(), asyncio.Event()
        self._whole, self._all_moved = False, False
        self._away = ""
        self._changing = asyncio.Lock()
        self._stack = AsyncExitStack()

    @abstractmethod
    async def _read(self, *, whole: bool) -> View:
        """How things stand; if not ``whole``, what was read before may be relied on."""

    @abstractmethod
    async def _after_standing(self) -> View:
        """The same once members or permissions have changed."""

    @abstractmethod
    async def _admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer]:
        """Those of the viewers who may watch now."""

    @abstractmethod
    def _payloads(self, before: View | None, after: View, viewer: Viewer) -> Sequence[Any]:
        """What leads from one to the other, or to begin with; to be told one after the other. Empty: nothing to tell.

        ``viewer`` is one to whom it looks otherwise than to most, or ``None``.
        """

    def _is_particular(self, viewer: Viewer, before: View | None, after: View) -> bool:
        """Whether that looks otherwise to this viewer than to most."""
        return False

    def _pace(self) -> float:
        """For how many seconds what changes is gathered."""
        return 0.0

    def _rest(self) -> float:
        """After how many seconds all is read anew, at the latest: what ends by itself is not signalled."""
        return self._limits.refresh_seconds

    async def open(self) -> None:
        """Listen, then read. Raises what ends the beginning: ``PresenceUnavailable``, or what PostgreSQL raises."""
        await self._stack.enter_async_context(self._signals.watch(self._channel, self._changed))
        try:
            for channel in self._standing:
                await self._stack.enter_async_context(self._signals.watch(channel, self._stood))
            self._view = await self._read(whole=True)
        except BaseException:
            await self._stack.aclose()
            raise
        tasks = (
            asyncio.create_task(self._follow_changes(), name=f"moot-scene-{self._channel}"),
            asyncio.create_task(self._follow_standing(), name=f"moot-scene-standing-{self._channel}"),
        )
        self._stack.push_async_callback(end, *tasks)

    async def close(self) -> None:
        """Stop listening."""
        await self._stack.aclose()

    async def follow(self, follower: Follower, ready: Ready) -> None:
        """Show how things stand, page by page, each but the first when ``ready`` returns; then what changes.

        Raises ``ApiError`` for whoever may not watch, or may not any more before all was shown, and
        ``PresenceUnavailable`` while it is not known how things stand.
        """
        if self._away:
            raise PresenceUnavailable(self._away)
        self._arriving.add(follower)  # from here on a change of what it may see is not missed
        try:
            async with self._pool.connection() as connection:
                if not await self._admitted(connection, {follower.viewer}):
                    raise gone()
            shown = self._view
            for number, event in enumerate(self._first_events(follower.viewer)):
                if number:
                    await ready()
                if follower.ended.done():
                    follower.ended.result()
                follower.deliver(event)
            if shown is not self._view:  # it changed meanwhile; nothing is awaited from here on
                for payload in self._payloads(shown, self._view, follower.viewer):
                    follower.deliver(Event(0, payload))
            self._followers.add(follower)
        finally:
            self._arriving.discard(follower)

    def leave(self, follower: Follower) -> None:
        """Deliver nothing more to it."""
        self._followers.discard(follower)

    def _first_events(self, viewer: Viewer) -> Sequence[Event]:
        if self._is_particular(viewer, None, self._view):
            return [Event(0, payload) for payload in self._payloads(None, self._view, viewer)]
        now = time.monotonic()
        kept = self._firsts
        if kept is None or kept[0] != self._version or now - kept[1] > FIRSTS_SECONDS:
            events = [Event(0, payload) for payload in self._payloads(None, self._view, None)]
            kept = self._firsts = (self._version, now, events)
        return kept[2]

    def _changed(self, number: int | None) -> None:
        self._whole = self._whole or number is None
        self._wanted.set()

    def _stood(self, number: int | None) -> None:
        self._all_moved = self._all_moved or number is None
        self._moved.set()

    def _turn(self, *, everything: bool) -> AbstractAsyncContextManager[None]:
        return self._turns if everything and self._turns is not None else nullcontext()

    async def _follow_changes(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._rest()):
                    await self._wanted.wait()
            except TimeoutError:
                self._whole = True
            await asyncio.sleep(self._pace())
            async with self._trying(self._wanted), self._turn(everything=self._whole), self._changing:
                self._wanted.clear()
                whole, self._whole = self._whole, False
                try:
                    view = await self._read(whole=whole)
                except AWAY as error:
                    self._whole, self._away = True, f"{type(error).__name__}: {error}"
                    raise
                self._away = ""
                await self._show(view)

    async def _follow_standing(self) -> None:
        while True:
            await self._moved.wait()
            async with self._trying(self._moved), self._turn(everything=self._all_moved):
                self._moved.clear()
                followers = (*self._followers, *self._arriving)
                async with self._pool.connection() as connection:
                    admitted = await self._admitted(connection, {follower.viewer for follower in followers})
                for follower in followers:
                    if follower.viewer not in admitted:
                        follower.end(gone())
                        self._followers.discard(follower)
                async with self._changing:
                    await self._show(await self._after_standing())
                self._all_moved = False
            await asyncio.sleep(self._limits.check_seconds)

    @asynccontextmanager
    async def _trying(self, again: asyncio.Event) -> AsyncIterator[None]:
        try:
            yield
        except AWAY as error:
            _log.warning("scene.unread", channel=self._channel, error=f"{type(error).__name__}: {error}")
            again.set()
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:  # noqa: BLE001 - logged, and told to everybody who follows
            _log.exception("scene.failed", channel=self._channel)
            for follower in self._followers:
                follower.end(ApiError(ApiCode.INTERNAL, "This cannot be followed now. Try again later."))
            self._followers.clear()

    async def _show(self, view: View) -> None:
        """Tell everybody what has changed; ``_changing`` is held."""
        before, self._view = self._view, view
        if before == view:
            return
        common = [Event(0, payload) for payload in self._payloads(before, view, None)]
        self._version += 1
        followers = tuple(self._followers)
        for number, follower in enumerate(followers, 1):
            if self._is_particular(follower.viewer, before, view):
                events = [Event(0, payload) for payload in self._payloads(before, view, follower.viewer)]
            else:
                events = common
            for event in events:
                if not follower.ended.done():
                    follower.deliver(event)
            if number % FOLLOWERS_AT_ONCE == 0:
                await asyncio.sleep(0)
        metrics.PUSHES.inc(len(common) * len(followers))
