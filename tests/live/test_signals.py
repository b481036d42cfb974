"""The port ``Signals``: one suite for both adapters, then what only Redis can do, such as die."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.signals import LOST, PROGRESS, MemorySignals, RedisPublisher, RedisSignals, Signals
from tests.live.redis_server import RedisServer

SECONDS = 10.0


class Publisher(Protocol):
    def publish(self, channels: Mapping[str, int], position: int) -> None: ...

    def say_lost(self) -> None: ...

    def mend(self) -> None: ...


Opened = Callable[[], "asynccontextmanager[tuple[Signals, Publisher]]"]


class Woken:
    """Collects wake-ups."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[int | None] = asyncio.Queue()

    def __call__(self, position: int | None) -> None:
        self._queue.put_nowait(position)

    async def next(self) -> int | None:
        return await asyncio.wait_for(self._queue.get(), SECONDS)

    async def until(self, wanted: int | None) -> list[int | None]:
        seen = [await self.next()]
        while seen[-1] != wanted:
            seen.append(await self.next())
        return seen

    @property
    def pending(self) -> int:
        return self._queue.qsize()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@asynccontextmanager
async def over_redis(server: RedisServer, **options: float) -> AsyncIterator[tuple[RedisSignals, RedisPublisher]]:
    client, publishing = server.async_client(), server.client()
    signals = RedisSignals(client, **options)
    await signals.open()
    try:
        yield signals, RedisPublisher(publishing)
    finally:
        await signals.close()
        await client.aclose()
        publishing.close()


@asynccontextmanager
async def in_memory() -> AsyncIterator[tuple[MemorySignals, MemorySignals]]:
    signals = MemorySignals()
    yield signals, signals


@pytest.fixture(params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "memory":
        return in_memory
    server = request.getfixturevalue("server")
    return lambda: over_redis(server)


def test_a_watcher_is_woken_with_the_position_of_its_channel_alone(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            mine, other = Woken(), Woken()
            async with signals.watch("score:1", mine), signals.watch("score:2", other):
                await asyncio.to_thread(publisher.publish, {"score:1": 7}, 7)
                await mine.until(7)
                await asyncio.to_thread(publisher.publish, {"score:2": 8}, 8)
                await other.until(8)
                assert 8 not in [await mine.next() for _ in range(mine.pending)]

    asyncio.run(scenario())


def test_what_may_have_been_lost_wakes_every_watcher(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            mine, other = Woken(), Woken()
            async with signals.watch("score:1", mine), signals.watch("score:2", other):
                await asyncio.to_thread(publisher.publish, {"score:1": 7, "score:2": 8}, 8)
                await mine.until(7)
                await other.until(8)
                await asyncio.to_thread(publisher.say_lost)
                await mine.until(None)
                await other.until(None)

    asyncio.run(scenario())


def test_while_nothing_is_lost_there_is_nothing_to_mend(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            woken = Woken()
            async with signals.watch("score:1", woken):
                await asyncio.to_thread(publisher.publish, {"score:1": 6}, 6)
                await woken.until(6)
                await asyncio.to_thread(publisher.mend)
                await asyncio.to_thread(publisher.publish, {"score:1": 7}, 7)
                assert await woken.until(7) == [7]

    asyncio.run(scenario())


def test_progress_is_told_with_every_publishing(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            woken = Woken()
            async with signals.watch(PROGRESS, woken):
                await asyncio.to_thread(publisher.publish, {}, 41)
                await asyncio.to_thread(publisher.publish, {"score:1": 42}, 42)
                assert 41 in await woken.until(42)

    asyncio.run(scenario())


def test_all_watchers_of_a_channel_are_woken_and_the_last_to_leave_ends_the_listening(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            first, second = Woken(), Woken()
            async with signals.watch("comments:1", first):
                async with signals.watch("comments:1", second):
                    await asyncio.to_thread(publisher.publish, {"comments:1": 1}, 1)
                    await first.until(1)
                    await second.until(1)
                await asyncio.to_thread(publisher.publish, {"comments:1": 2}, 2)
                await first.until(2)
                assert second.pending == 0
                assert signals.channels == ["comments:1"]  # type: ignore[attr-defined]
            assert signals.channels == []  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_who_leaves_and_comes_again_at_once_is_woken(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            for position in range(1, 30):
                woken = Woken()
                async with signals.watch("posts:1", woken):
                    await asyncio.to_thread(publisher.publish, {"posts:1": position}, position)
                    await woken.until(position)

    asyncio.run(scenario())


def test_a_watcher_that_leaves_while_waking_hinders_nobody(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (signals, publisher):
            left, stays = asyncio.Event(), Woken()
            async with signals.watch("posts:1", lambda _: left.set()):
                leaver = asyncio.create_task(_watch_once(signals, left))
                async with signals.watch("posts:1", stays):
                    await asyncio.to_thread(publisher.publish, {"posts:1": 1}, 1)
                    await stays.until(1)
                    await asyncio.wait_for(leaver, SECONDS)
                    await asyncio.to_thread(publisher.publish, {"posts:1": 2}, 2)
                    await stays.until(2)

    asyncio.run(scenario())


async def _watch_once(signals: Signals, left: asyncio.Event) -> None:
    async with signals.watch("posts:1", lambda _: None):
        await left.wait()


def test_a_process_listens_only_to_what_is_watched_in_it(server: RedisServer) -> None:
    async def scenario() -> None:
        async with over_redis(server) as (signals, _):
            probe = server.client()
            async with signals.watch("score:1", Woken()), signals.watch("score:1", Woken()):
                assert set(probe.pubsub_channels()) == {b"score:1", LOST.encode()}
                assert probe.pubsub_numsub("score:1") == [(b"score:1", 1)]
            woken = Woken()
            async with signals.watch("score:2", woken):  # confirmed after the end of the first
                assert set(probe.pubsub_channels()) == {b"score:2", LOST.encode()}
            probe.close()

    asyncio.run(scenario())


def test_a_thousand_watchers_at_once(server: RedisServer) -> None:
    async def scenario() -> None:
        async with over_redis(server) as (signals, publisher):
            woken = [Woken() for _ in range(1000)]
            inside, go = asyncio.Semaphore(0), asyncio.Event()

            async def watch(number: int) -> None:
                async with signals.watch(f"score:{number}", woken[number]):
                    inside.release()
                    await go.wait()

            watching = [asyncio.create_task(watch(number)) for number in range(1000)]
            for _ in range(1000):
                await asyncio.wait_for(inside.acquire(), SECONDS)
            await asyncio.to_thread(publisher.publish, {f"score:{number}": number for number in range(1000)}, 1000)
            for number in range(1000):
                await woken[number].until(number)
            go.set()
            await asyncio.gather(*watching)

    asyncio.run(scenario())


def test_when_redis_comes_back_every_watcher_is_woken_and_hears_again() -> None:
    async def scenario() -> None:
        with RedisServer() as server:
            async with over_redis(server, retry_seconds=0.05) as (signals, publisher):
                score, posts = Woken(), Woken()
                async with signals.watch("score:1", score), signals.watch("posts:1", posts):
                    server.kill()
                    await score.until(None)
                    await asyncio.to_thread(publisher.publish, {"score:1": 5}, 5)
                    assert publisher.failures == 1
                    server.start()
                    for _ in range(200):  # each failed attempt wakes; after the last one signals arrive again
                        await posts.until(None)
                        if signals.connected:
                            break
                    assert signals.connected
                    late = Woken()
                    async with signals.watch("score:2", late):
                        await asyncio.to_thread(publisher.publish, {"score:1": 6, "score:2": 6}, 6)
                        await score.until(6)
                        await late.until(6)

    asyncio.run(scenario())


def test_who_starts_to_watch_while_redis_is_away_is_woken_when_it_is_back() -> None:
    async def scenario() -> None:
        with RedisServer() as server:
            async with over_redis(server, retry_seconds=0.05) as (signals, publisher):
                first = Woken()
                async with signals.watch("score:0", first):
                    server.kill()
                    await first.until(None)
                    woken = Woken()
                    entering = asyncio.create_task(_enter(signals, "score:1", woken))
                    server.start()
                    leave = await asyncio.wait_for(entering, SECONDS)
                    await woken.until(None)
                    await asyncio.to_thread(publisher.publish, {"score:1": 9}, 9)
                    await woken.until(9)
                    await leave()

    asyncio.run(scenario())


async def _enter(signals: Signals, channel: str, woken: Woken) -> Callable[[], object]:
    watching = signals.watch(channel, woken)
    await watching.__aenter__()
    return lambda: watching.__aexit__(None, None, None)


@contextmanager
def away(publisher: RedisPublisher) -> Iterator[None]:
    """Redis does not answer that publisher, and it alone."""
    client = publisher._client
    publisher._client = redis.Redis(unix_socket_path="/nonexistent/redis.sock", retry=Retry(NoBackoff(), 0))
    yield
    publisher._client = client


def test_signals_that_a_publisher_could_not_send_wake_everybody_with_its_next_success(server: RedisServer) -> None:
    """The hub's own connection stands all the while, so nothing but the publisher knows."""

    async def scenario() -> None:
        async with over_redis(server) as (signals, publisher):
            woken = Woken()
            async with signals.watch("score:1", woken):
                publisher.publish({"score:1": 2}, 2)
                await woken.until(2)
                with away(publisher):
                    publisher.publish({"score:1": 3}, 3)
                    assert publisher.failures == 1
                publisher.publish({}, 4)
                assert await woken.next() is None
                publisher.publish({"score:1": 5}, 5)
                assert await woken.until(5) == [5]

    asyncio.run(scenario())


def test_what_is_lost_while_another_thread_publishes_is_not_taken_for_told(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with over_redis(server) as (signals, publisher):
            woken = Woken()
            async with signals.watch("score:1", woken):
                publisher.publish({"score:1": 1}, 1)
                await woken.until(1)
                execute = redis.client.Pipeline.execute

                def meanwhile(*arguments: Any, **named: Any) -> Any:
                    monkeypatch.undo()
                    with away(publisher):
                        publisher.publish({"score:1": 3}, 3)
                    return execute(*arguments, **named)

                monkeypatch.setattr(redis.client.Pipeline, "execute", meanwhile)
                publisher.publish({"score:1": 2}, 2)
                assert publisher.failures == 1
                assert await woken.until(2) == [2]
                publisher.mend()
                assert await woken.next() is None

    asyncio.run(scenario())


def test_what_was_lost_is_said_although_nothing_happens_any_more(server: RedisServer) -> None:
    async def scenario() -> None:
        async with over_redis(server) as (signals, publisher):
            woken = Woken()
            async with signals.watch("score:1", woken):
                publisher.publish({"score:1": 2}, 2)
                await woken.until(2)
                with away(publisher):
                    publisher.publish({"score:1": 3}, 3)
                    publisher.mend()
                    assert publisher.failures == 2
                publisher.mend()
                assert await woken.next() is None
                publisher.mend()  # all is said by now
                publisher.publish({"score:1": 5}, 5)
                assert await woken.until(5) == [5]

    asyncio.run(scenario())


def test_a_payload_that_is_no_position_means_that_anything_may_have_happened(server: RedisServer) -> None:
    async def scenario() -> None:
        async with over_redis(server) as (signals, _):
            woken, probe = Woken(), server.client()
            async with signals.watch("session-ended:1", woken):
                probe.publish("session-ended:1", b"")
                assert await woken.next() is None
            probe.close()

    asyncio.run(scenario())


def test_a_silent_connection_is_given_up_when_it_does_not_answer() -> None:
    """A Redis that stands still keeps its connections; only asking shows it."""

    async def scenario() -> None:
        with RedisServer() as server:
            async with over_redis(server, retry_seconds=0.05, heartbeat_seconds=0.2) as (signals, publisher):
                woken = Woken()
                async with signals.watch("score:1", woken):
                    await asyncio.to_thread(publisher.publish, {"score:1": 1}, 1)
                    await woken.until(1)
                    with server.stopped():
                        await woken.until(None)

    asyncio.run(scenario())
