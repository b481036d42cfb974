"""A source in memory that takes its time, those who follow it, and a stage for them."""

import asyncio
import random
from collections.abc import Collection
from typing import Any

from infra.postgres import pool
from infra.signals import MemorySignals
from read_api.live.following import NOW, Event, Follower, FollowLimits, Reading, Source, Viewer
from read_api.live.registry import Topics

CHANNEL = "happenings"


class Happenings:
    """A source in memory whose reading takes its time. What is in ``log`` is visible."""

    channel = CHANNEL
    guards: tuple[str, ...] = ()
    own_guards: tuple[str, ...] = ()
    rest_seconds = 0.0
    ends_with = None

    def __init__(self, chance: random.Random, *, is_value: bool) -> None:
        self.chance = chance
        self.is_value = is_value
        self.log: list[int] = []
        self.outside: set[Viewer] = set()
        self.admissions = 0

    async def start(self, _: Any) -> int:
        await self.dawdle()
        return NOW if self.is_value else self.newest()

    async def read(self, _: Any, after: int, limit: int) -> Reading:
        await self.dawdle()
        if self.is_value:
            found = [position for position in [self.newest()] if position > after]
        else:
            found = [position for position in self.log if position > after][:limit]
        await self.dawdle()
        return Reading([Event(position, position) for position in found])

    async def admitted(self, _: Any, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
        self.admissions += 1
        await self.dawdle()
        return [viewer for viewer in viewers if viewer not in self.outside] if self.outside else None

    def newest(self) -> int:
        return max(self.log, default=0)

    async def dawdle(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)


class FromPartitions(Happenings):
    """A source whose rows become visible in another order than that of the log. ``reached``: all up to it are there."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance, is_value=False)
        self.reached = 0

    async def start(self, _: Any) -> int:
        await self.dawdle()
        return self.reached

    async def read(self, _: Any, after: int, limit: int) -> Reading:
        await self.dawdle()
        found, reached = sorted(position for position in self.log if position > after)[:limit], self.reached
        await self.dawdle()
        told = [Event(position, position) for position in found if position <= reached]
        return Reading(told, held=len(told) < len(found))


class Guarded(Happenings):
    """A source that signals when somebody may have lost the right to follow it."""

    guards = ("standing",)


class Listener:
    """A follower that comes at some time, from some position, and says what it heard."""

    def __init__(self, after: int, viewer: Viewer = None) -> None:
        self.after = after
        self.heard: list[int] = []
        self.live = asyncio.Event()
        self.follower = Follower(viewer, after, lambda event: self.heard.append(event.position))

    async def listen(self, topics: Topics, source: Source, chance: random.Random, until: asyncio.Event) -> None:
        async def ready() -> None:
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)

        async with topics.following(source, self.follower, ready):
            self.live.set()
            await until.wait()


def play(postgres: str, scene: Any) -> None:
    async def run() -> None:
        pooled = pool(postgres)
        await pooled.open(wait=True)
        signals = MemorySignals()
        try:
            await scene(Topics(signals, pooled, FollowLimits(page=3, backfill_max=1000)), signals)
            assert signals.channels == []
        finally:
            await pooled.close()

    asyncio.run(run())


async def settled(topics: Topics, source: Source) -> None:
    """Everything that has happened is read and delivered to those who are live."""

    async def ready() -> None:
        pass

    async with topics.following(source, Follower("bystander", NOW, lambda _: None), ready):
        pass
