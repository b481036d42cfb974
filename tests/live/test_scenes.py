"""Watching a scene, under every order of reading, changing, coming and being put out that chance brings."""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from domain.event import Id
from infra import postgres
from infra.signals import MemorySignals, Signals
from read_api.errors import ApiError
from read_api.live.following import NOW, Event, Follower, FollowLimits, Pool, Scene, Viewer
from read_api.live.registry import Topics
from read_api.live.scenes import SCENES_AT_ONCE, SceneLimits, SceneTopic

CHANNEL, STANDING = "scenery", "standing"
PAGE = 2


class Scenery(Scene):
    """Things that stand somewhere: ``things`` is how it is, ``outside`` those who may not watch."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.things: dict[str, int] = {}
        self.outside: set[Viewer] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.read = 0

    def topic(self, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> "SceneryTopic":
        return SceneryTopic(self, signals, pool, turns)

    async def dawdle(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)


class SceneryTopic(SceneTopic[Mapping[str, int]]):
    """It, watched."""

    def __init__(self, scene: Scenery, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> None:
        self._scene = scene
        limits = SceneLimits(check_seconds=0.0, refresh_seconds=60.0)
        super().__init__(CHANNEL, [STANDING], signals, pool, limits, turns)

    async def _read(self, *, whole: bool) -> Mapping[str, int]:
        self._scene.read += 1
        await self._scene.gate.wait()
        await self._scene.dawdle()
        things = dict(self._scene.things)
        await self._scene.dawdle()
        return things

    async def _after_standing(self) -> Mapping[str, int]:
        return await self._read(whole=True)

    async def _admitted(self, _: Any, viewers: Collection[Viewer]) -> Collection[Viewer]:
        await self._scene.dawdle()
        admitted = {viewer for viewer in viewers if viewer not in self._scene.outside}
        await self._scene.dawdle()
        return admitted

    def _payloads(
        self, before: Mapping[str, int] | None, after: Mapping[str, int], viewer: Viewer
    ) -> Sequence[tuple[bool, dict[str, int | None]]]:
        if before is None:
            things: list[tuple[str, int | None]] = list(after.items())
            pages = [dict(things[at : at + PAGE]) for at in range(0, max(1, len(things)), PAGE)]
            return [(number == 0, page) for number, page in enumerate(pages)]
        names = {*before, *after}
        changed = {name: after.get(name) for name in names if before.get(name) != after.get(name)}
        return [(False, changed)] if changed else []


class Watcher:
    """Somebody who watches: ``sees`` is how it looks to him."""

    def __init__(self, viewer: Id) -> None:
        self.sees: dict[str, int] = {}
        self.told = 0
        self.refused = False
        self.live = asyncio.Event()
        self.follower = Follower(viewer, NOW, self.take)

    def take(self, event: Event) -> None:
        begins, changed = event.payload
        self.told += 1
        assert begins == (self.told == 1)
        for name, value in changed.items():
            if value is None:
                del self.sees[name]
            else:
                self.sees[name] = value

    async def watch(self, topics: Topics, scene: Scenery, until: asyncio.Event) -> None:
        try:
            async with topics.following(scene, self.follower, scene.dawdle):
                self.live.set()
                await until.wait()
        except ApiError:
            self.refused = True
            self.live.set()


class Play:
    """One scene, those who come to watch it, and what happens meanwhile."""

    def __init__(self, chance: random.Random, topics: Topics, signals: MemorySignals) -> None:
        self.chance, self.topics, self.signals = chance, topics, signals
        self.scenery = Scenery(chance)
        self.until = asyncio.Event()
        self.watchers: list[Watcher] = []
        self.tasks: list[asyncio.Task[None]] = []

    def comes(self, name: str) -> Watcher:
        watcher = Watcher(Id(name))
        self.watchers.append(watcher)
        self.tasks.append(asyncio.create_task(watcher.watch(self.topics, self.scenery, self.until)))
        return watcher

    def is_put_out(self, watcher: Watcher) -> None:
        self.scenery.outside.add(watcher.follower.viewer)
        self.signals.publish({STANDING: 1}, 1)

    def changes(self, name: str, value: int | None) -> None:
        if value is None:
            self.scenery.things.pop(name, None)
        else:
            self.scenery.things[name] = value
        self.signals.publish({CHANNEL: 1}, 1)

    async def passes(self, turns_max: int) -> None:
        for _ in range(self.chance.randint(0, turns_max)):
            await asyncio.sleep(0)

    async def happens(self) -> None:
        for step in range(80):
            self.changes(self.chance.choice("abcdefg"), None if self.chance.random() < 0.3 else step)
            if self.chance.random() < 0.2:
                self.comes(f"viewer {step}")
            if self.watchers and self.chance.random() < 0.1:
                self.is_put_out(self.chance.choice(self.watchers))
            await self.passes(8)

    def may(self, watcher: Watcher) -> bool:
        return watcher.follower.viewer not in self.scenery.outside

    async def settled(self) -> None:
        """Everybody was let in or refused, and whoever was put out knows."""
        for watcher in self.watchers:
            await watcher.live.wait()
            while not (self.may(watcher) or watcher.refused or watcher.follower.ended.done()):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0)

    async def seen(self) -> None:
        """All who may see how it is."""
        while any(self.may(watcher) and watcher.sees != self.scenery.things for watcher in self.watchers):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(30))
def test_what_was_told_adds_up_to_how_it_is(database: str, seed: int) -> None:
    async def scene() -> None:
        pool = postgres.pool(database)
        await pool.open(wait=True)
        signals = MemorySignals()
        topics = Topics(signals, pool, FollowLimits())
        play = Play(random.Random(seed), topics, signals)
        await play.happens()
        play.scenery.outside.add(Id("uninvited"))
        uninvited, hardly_in = play.comes("uninvited"), play.comes("hardly in")
        await play.passes(12)  # while he is still being shown around
        play.is_put_out(hardly_in)
        async with asyncio.timeout(10):
            await play.settled()
            told = {watcher: watcher.told for watcher in play.watchers if not play.may(watcher)}
            play.changes("last", 1)
            await play.seen()
        assert told == {watcher: watcher.told for watcher in told}, "told after he was put out"
        assert uninvited.told == 0
        assert not any(watcher.refused for watcher in play.watchers if play.may(watcher))
        play.until.set()
        await asyncio.gather(*play.tasks)
        assert signals.channels == []
        assert len(topics) == 0
        await pool.close()

    asyncio.run(scene())


def test_scenes_that_are_all_to_be_read_anew_take_turns(database: str) -> None:
    async def scene() -> None:
        pool = postgres.pool(database)
        await pool.open(wait=True)
        signals = MemorySignals()
        topics = Topics(signals, pool, FollowLimits())
        plays = [Play(random.Random(seed), topics, signals) for seed in range(SCENES_AT_ONCE + 3)]
        watchers = [play.comes("ada") for play in plays]
        for watcher in watchers:
            await watcher.live.wait()
        try:
            async with asyncio.timeout(10):
                await read_in_turn(plays, pool, signals)
        finally:
            for play in plays:
                play.scenery.gate.set()
                play.until.set()
                await asyncio.gather(*play.tasks)
            await pool.close()

    async def read_in_turn(plays: Sequence[Play], pool: Pool, signals: MemorySignals) -> None:
        for play in plays:
            play.scenery.read = 0
            play.scenery.gate.clear()
            play.scenery.things["new"] = 1
        signals.say_lost()
        while sum(play.scenery.read for play in plays) < SCENES_AT_ONCE:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        async with pool.connection():  # by then whoever is not kept waiting has read, too
            pass
        assert sum(play.scenery.read for play in plays) == SCENES_AT_ONCE
        for play in plays:
            play.scenery.gate.set()
        for play in plays:
            await play.seen()

    asyncio.run(scene())
