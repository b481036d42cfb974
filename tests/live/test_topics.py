"""Following, under every order of reading, happening, coming and going that chance brings."""

import asyncio
import random
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from infra import postgres
from infra.signals import MemorySignals
from read_api.errors import ApiError
from read_api.live.topics import NOW, Event, Follower, FollowLimits, Source, Topics, Viewer

CHANNEL = "happenings"


class Happenings:
    """A source in memory whose reading takes its time. What is in ``log`` is visible."""

    channel = CHANNEL

    def __init__(self, chance: random.Random, *, is_value: bool) -> None:
        self.chance = chance
        self.is_value = is_value
        self.log: list[int] = []
        self.outside: set[Viewer] = set()

    async def start(self, _: Any) -> int:
        await self.dawdle()
        return NOW if self.is_value else self.newest()

    async def read(self, _: Any, after: int, limit: int) -> Sequence[Event]:
        await self.dawdle()
        if self.is_value:
            found = [position for position in [self.newest()] if position > after]
        else:
            found = [position for position in self.log if position > after][:limit]
        await self.dawdle()
        return [Event(position, position) for position in found]

    async def admitted(self, _: Any, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        await self.dawdle()
        return [viewer for viewer in viewers if viewer not in self.outside] if self.outside else None

    def newest(self) -> int:
        return max(self.log, default=0)

    async def dawdle(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)


class Listener:
    """A follower that comes at some time, from some position, and says what it heard."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.heard: list[int] = []
        self.live = asyncio.Event()
        self.follower = Follower(None, after, lambda event: self.heard.append(event.position))

    async def listen(self, topics: Topics, source: Source, chance: random.Random, until: asyncio.Event) -> None:
        async def ready() -> None:
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)

        async with topics.following(source, self.follower, ready):
            self.live.set()
            await until.wait()


def play(database: str, scene: Any) -> None:
    async def run() -> None:
        pool = postgres.pool(database)
        await pool.open(wait=True)
        signals = MemorySignals()
        try:
            await scene(Topics(signals, pool, FollowLimits(page=3, backfill_max=1000)), signals)
            assert signals.channels == []
        finally:
            await pool.close()

    asyncio.run(run())


async def settled(topics: Topics, source: Source) -> None:
    """Everything that has happened is read and delivered to those who are live."""

    async def ready() -> None:
        pass

    async with topics.following(source, Follower(None, NOW, lambda _: None), ready):
        pass


@pytest.mark.parametrize("is_value", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_whoever_comes_whenever_hears_all_since_his_cursor_once_and_in_order(
    database: str, seed: int, is_value: bool
) -> None:
    chance = random.Random(seed)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source = Happenings(chance, is_value=is_value)
        until, listeners, tasks = asyncio.Event(), [], []
        anchor = Listener(0)  # somebody follows all the while, so that the topic is one
        tasks.append(asyncio.create_task(anchor.listen(topics, source, chance, until)))
        position = 0
        for _ in range(60):
            for _ in range(chance.randint(0, 2)):
                position += chance.randint(1, 3)
                source.log.append(position)
            if chance.random() < 0.7:
                signals.publish({CHANNEL: position}, position)
            if chance.random() < 0.3:
                listener = Listener(chance.randint(0, position))
                listeners.append(listener)
                tasks.append(asyncio.create_task(listener.listen(topics, source, chance, until)))
            for _ in range(chance.randint(0, 8)):
                await asyncio.sleep(0)
        signals.publish({CHANNEL: position}, position)
        for listener in (anchor, *listeners):
            await asyncio.wait_for(listener.live.wait(), 10)
        await settled(topics, source)
        for listener in (anchor, *listeners):
            expected = [each for each in source.log if each > listener.after]
            if is_value:
                assert listener.heard == sorted(set(listener.heard)), "twice, or an older after a newer"
                assert listener.heard[-1:] == expected[-1:]
                assert set(listener.heard) <= set(expected)
            else:
                assert listener.heard == expected, (listener.after, seed)
        until.set()
        await asyncio.gather(*tasks)
        assert len(topics) == 0

    play(database, scene)


def test_who_is_no_longer_admitted_is_told_and_hears_nothing_more(database: str) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source = Happenings(random.Random(1), is_value=False)
        until, listener = asyncio.Event(), Listener(0)
        task = asyncio.create_task(listener.listen(topics, source, random.Random(1), until))
        await listener.live.wait()
        source.log.append(1)
        await settled(topics, source)
        assert listener.heard == [1]
        source.outside = {None}
        source.log.append(2)
        await settled(topics, source)
        assert listener.heard == [1]
        with pytest.raises(ApiError, match="nothing here"):
            await listener.follower.ended
        until.set()
        await task

    play(database, scene)


def test_a_source_that_fails_ends_its_followers_and_leaves_no_topic(database: str) -> None:
    class Failing(Happenings):
        async def read(self, *_: Any) -> Sequence[Event]:
            raise ValueError("of no use")

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source = Failing(random.Random(1), is_value=True)
        with pytest.raises(ValueError, match="of no use"):
            await Listener(NOW).listen(topics, source, random.Random(1), asyncio.Event())
        assert len(topics) == 0

    play(database, scene)
