"""Live signals: what tells a process that rows which its clients watch have changed.

A signal says only *that* something changed and up to which position; what changed is read from the views. So a
signal may come twice, late or for nothing without harm, and the one duty is that none is ever missing:

- A process listens only to channels that somebody in it watches, over one connection to Redis.
- Whoever starts to watch is let go on when Redis has confirmed it: what is read from then on and what is signalled
  overlap.
- While the connection is lost, and once it is back, every watcher is woken with ``None``: read again, anything may
  have happened.
- A publisher that failed to publish says so on ``LOST``, which wakes every watcher of every process.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import redis
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from infra.breaker import Breaker, CircuitOpen
from infra.tasks import end
from infra.telemetry import metrics, tracing

PROGRESS = "moot:progress"
"""Signalled after each commit of the runner with the position that all views have reached; after those of a fleet's
workers and relay, of which none knows that, without any."""

LOST = "moot:signals-lost"
"""Signalled when signals were lost on their way into Redis; every hub listens to it."""

TRACES = "moot:traces"
"""Told just before the signals that they led to: in which spans events were committed to views. Only while traces are
recorded; who does not know of it misses nothing."""

HEARTBEAT_SECONDS = 15.0
"""How often a silent connection is asked whether it lives; half of that is waited for the answer."""

RETRY_SECONDS = 1.0
"""Between attempts to reach Redis. Each failed one wakes the watchers, so views are polled at this pace at most."""

CONFIRM_SECONDS_MAX = 2.0
"""How long a new watcher waits for Redis. Without an answer it goes on: it is woken when Redis is back."""

_log = structlog.get_logger(__name__)

Wake = Callable[[int | None], None]
"""Called in the event loop with what was signalled: a position, one as ``late`` writes it, or ``None``: anything may
have happened. Must return at once and not raise.
"""


def late(position: int) -> int:
    """What is signalled in place of a position when what is there can be read only now: readers may be past it."""
    return -position


def since_late(signalled: int | None) -> int | None:
    """The position that was signalled so; ``None`` for any other signal."""
    return -signalled if signalled is not None and signalled < 0 else None


class Signals(Protocol):
    """Who watches what, in one process. Used within one event loop."""

    def watch(self, channel: str, wake: Wake) -> "contextlib.AbstractAsyncContextManager[None]":
        """Have ``wake`` called for each signal of the channel, from entering the block until leaving it."""
        ...


class _Watchers:
    """The watchers of each channel."""

    def __init__(self) -> None:
        self._of: dict[str, list[Wake]] = {}

    def add(self, channel: str, wake: Wake) -> bool:
        """Whether it is the channel's first."""
        watchers = self._of.setdefault(channel, [])
        watchers.append(wake)
        return len(watchers) == 1

    def remove(self, channel: str, wake: Wake) -> bool:
        """Whether it was the channel's last."""
        watchers = self._of[channel]
        watchers.remove(wake)
        if not watchers:
            del self._of[channel]
        return not watchers

    def channels(self) -> list[str]:
        return list(self._of)

    def wake(self, channel: str, position: int | None) -> None:
        for wake in tuple(self._of.get(channel, ())):
            wake(position)

    def wake_all(self) -> None:
        for channel in self.channels():
            self.wake(channel, None)


class MemorySignals:
    """Signals within one process, for a store that lives in its memory. Also its own publisher."""

    def __init__(self) -> None:
        self._watchers = _Watchers()
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def watch(self, channel: str, wake: Wake) -> AsyncIterator[None]:
        """See ``Signals``."""
        self._loop = asyncio.get_running_loop()
        self._watchers.add(channel, wake)
        try:
            yield
        finally:
            self._watchers.remove(channel, wake)

    @property
    def channels(self) -> list[str]:
        """What is watched."""
        return self._watchers.channels()

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        """Wake each channel with its position, and progress with ``position``. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._deliver, {**channels, PROGRESS: position})

    def say_lost(self) -> None:
        """Wake every watcher. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._watchers.wake_all)

    def mend(self) -> None:
        """Nothing is lost within a process."""

    def _deliver(self, signals: Mapping[str, int | None]) -> None:
        for channel, position in signals.items():
            self._watchers.wake(channel, position)


class _Confirmation:
    """What Redis still has to confirm of one channel: it answers each command, in order."""

    __slots__ = ("awaited", "future")

    def __init__(self) -> None:
        self.awaited = 1
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class RedisSignals:
    """Signals through Redis. ``open`` it in the event loop that watches, ``close`` it there.

    ``client`` only says where and how to connect: one connection of its own is made and kept.
    """

    def __init__(
        self, client: Redis, *, retry_seconds: float = RETRY_SECONDS, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._redis = client
        self._retry_seconds = retry_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._watchers = _Watchers()
        self._confirming: dict[str, _Confirmation] = {}
        self._commands: deque[tuple[str, str]] = deque()
        self._commanded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        """Whether Redis is being listened to now."""

    async def open(self) -> None:
        """Start to listen. Does not wait for Redis."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="moot-signals")

    async def close(self) -> None:
        """Stop listening and drop the connection. Watchers are not woken any more."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    @property
    def channels(self) -> list[str]:
        """What is watched, in this process."""
        return self._watchers.channels()

    @asynccontextmanager
    async def watch(self, channel: str, wake: Wake) -> AsyncIterator[None]:
        """See ``Signals``. Waits until Redis has confirmed it, at most ``CONFIRM_SECONDS_MAX``."""
        if self._watchers.add(channel, wake):
            self._command("SUBSCRIBE", channel)
        try:
            await self._confirmed(channel)
            yield
        finally:
            if self._watchers.remove(channel, wake):
                self._command("UNSUBSCRIBE", channel)

    async def _confirmed(self, channel: str) -> None:
        confirmation = self._confirming.get(channel)
        if confirmation is not None:
            await asyncio.wait([confirmation.future], timeout=CONFIRM_SECONDS_MAX)

    def _command(self, verb: str, channel: str) -> None:
        if verb == "SUBSCRIBE":
            confirmation = self._confirming.get(channel)
            if confirmation is None:
                self._confirming[channel] = _Confirmation()
            else:
                confirmation.awaited += 1
        if self.connected:  # else all channels that are watched by then are subscribed to at once
            self._commands.append((verb, channel))
            self._commanded.set()

    def _confirm(self, channel: str) -> None:
        confirmation = self._confirming.get(channel)
        if confirmation is not None:
            confirmation.awaited -= 1
            if confirmation.awaited == 0:
                del self._confirming[channel]
                confirmation.future.set_result(None)

    async def _run(self) -> None:
        while True:
            connection = self._connection()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # of the library
                await self._listen(connection)
            except (RedisError, OSError, EOFError, TimeoutError) as error:
                _log.warning("signals.disconnected", error=f"{type(error).__name__}: {error}")
            finally:
                self.connected = False
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            self._watchers.wake_all()
            await asyncio.sleep(self._retry_seconds)

    def _connection(self) -> AbstractConnection:
        pool = self._redis.connection_pool
        # RESP2 has one shape for all that arrives on such a connection, and no reply may end the waiting.
        given = {**pool.connection_kwargs, "protocol": 2, "decode_responses": False, "socket_timeout": None}
        given["socket_connect_timeout"] = given.get("socket_connect_timeout") or CONFIRM_SECONDS_MAX
        connection: AbstractConnection = pool.connection_class(**given)
        return connection

    async def _listen(self, connection: AbstractConnection) -> None:
        channels = self._watchers.channels()
        self._commands.clear()
        for channel in set(self._confirming) - set(channels):
            self._confirming.pop(channel).future.set_result(None)
        for confirmation in self._confirming.values():
            confirmation.awaited = 1
        self.connected = True
        traces = (TRACES,) if tracing.enabled() else ()
        await connection.send_command("SUBSCRIBE", LOST, *traces, *channels)
        writer = asyncio.create_task(self._write(connection), name="moot-signals-writer")
        try:
            await self._read(connection, {channel.encode() for channel in (*channels, LOST)})
        finally:
            await end(writer)

    async def _read(self, connection: AbstractConnection, awaited: set[bytes]) -> None:
        """Take what comes until the connection breaks; ``awaited`` are the channels that are being subscribed anew."""
        asked = False
        while True:
            reply = await connection.read_response(
                timeout=self._heartbeat_seconds / 2 if asked else self._heartbeat_seconds
            )
            if reply is None:
                if asked:
                    raise TimeoutError("Redis does not answer")
                await connection.send_command("PING", check_health=False)
                asked = True
                continue
            asked = False
            kind = reply[0]
            if kind == b"message":
                self._received(reply[1].decode(), reply[2])
            elif kind == b"subscribe":
                self._confirm(reply[1].decode())
                if reply[1] in awaited:
                    awaited.remove(reply[1])
                    if not awaited:
                        self._watchers.wake_all()

    def _received(self, channel: str, value: bytes) -> None:
        if channel == LOST:
            self._watchers.wake_all()
        elif channel == TRACES:
            tracing.heard(value)
        else:
            self._watchers.wake(channel, int(value) if value.removeprefix(b"-").isdigit() else None)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._commanded.wait()
            self._commanded.clear()
            commands = list(self._commands)
            self._commands.clear()
            try:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            except (RedisError, OSError):
                return  # the reader meets the same broken connection, and says so


def publishing_client(url: str, seconds_max: float) -> redis.Redis:
    """A client for ``RedisPublisher``, which waits for Redis so long and no longer. Close it."""
    return redis.Redis.from_url(url, socket_timeout=seconds_max, socket_connect_timeout=seconds_max)


class RedisPublisher:
    """Publishes from threads, such as those of the runner or a worker's groups, and never raises for want of Redis.

    ``client`` should have short timeouts: it is waited for twice at most, and not at all while the breaker is open.
    ``failures`` counts what could not be published; the next success tells every watcher to read again. ``mend``
    sees to it that there is one although nothing happens: watchers whose own Redis answers know of nothing lost.
    """

    def __init__(self, client: redis.Redis, breaker: Breaker | None = None) -> None:
        client.set_retry(Retry(NoBackoff(), 1))  # once: the connection may be one that a restart of Redis has cut
        self._client = client
        self._breaker = breaker or Breaker("redis publisher")
        self._lock = threading.Lock()
        self._losses = 0
        self._told = 0
        """How many losses there were, and how many of them everybody has been told of."""
        self.failures = 0

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        """Wake each channel with its position (or as ``late`` has it), and say that all views reached ``position``.

        ``None``: some came further, and how far all have is for the checkpoints to say.
        """
        announcement = tracing.Announcement()
        losses = self._losses  # those that come meanwhile, in other threads, are not told of by this
        try:
            with self._breaker.guarding(_is_away), self._client.pipeline(transaction=False) as pipeline:
                if losses != self._told:
                    pipeline.publish(LOST, b"")
                if announcement:
                    pipeline.publish(TRACES, bytes(announcement))
                for channel, at in channels.items():
                    pipeline.publish(channel, at)
                pipeline.publish(PROGRESS, b"" if position is None else position)
                pipeline.execute()
        except (RedisError, OSError, CircuitOpen) as error:
            with self._lock:
                self._losses += 1
                self.failures += 1
            metrics.SIGNALS_LOST.inc()
            _log.warning("signals.not_published", channels=len(channels), error=f"{type(error).__name__}: {error}")
        else:
            with self._lock:
                self._told = max(self._told, losses)
            announcement.told()

    def say_lost(self) -> None:
        """Wake every watcher of every process: what was to be published may not have been."""
        with self._lock:
            self._losses += 1
        self.publish({}, None)

    def mend(self) -> None:
        """The same if something could not be published, and nothing could since."""
        if self._losses != self._told:
            self.publish({}, None)


def _is_away(error: BaseException) -> bool:
    return isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)
