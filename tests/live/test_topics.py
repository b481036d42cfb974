"""Following, under every order of reading, happening, coming and going that chance brings."""

import asyncio
import random
from collections.abc import Collection
from typing import Any

import psycopg
import pytest

from infra.postgres import pool
from infra.signals import MemorySignals
from read_api.errors import ApiError
from read_api.live.registry import Topics
from read_api.live.topics import NOW, Event, Follower, FollowLimits, Reading, Source, Viewer

CHANNEL = "happenings"


class Happenings:
    """A source in memory whose reading takes its time. What is in ``log`` is visible."""

    channel = CHANNEL
    guards = ()
    rest_seconds = 0.0

    def __init__(self, chance: random.Random, *, is_value: bool) -> None:
        self.chance = chance
        self.is_value = is_value
        self.log: list[int] = []
        self.outside: set[Viewer] = set()

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


@pytest.mark.parametrize("is_value", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_whoever_comes_whenever_hears_all_since_his_cursor_once_and_in_order(
    postgres: str, seed: int, is_value: bool
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

    play(postgres, scene)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_visible_too_early_is_held_until_all_before_it_is_there(postgres: str, seed: int) -> None:
    chance = random.Random(seed)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source = FromPartitions(chance)
        until, listeners, tasks = asyncio.Event(), [], []
        anchor = Listener(0)
        tasks.append(asyncio.create_task(anchor.listen(topics, source, chance, until)))
        positions = list(range(1, 61))
        partitions = [positions[number::3] for number in range(3)]
        while any(partitions):
            queue = chance.choice([queue for queue in partitions if queue])
            taken = [queue.pop(0) for _ in range(min(chance.randint(1, 4), len(queue)))]
            source.log += [position for position in taken if position % 4]  # the others are no events of this topic
            # A worker says what it did, then learns nothing of the others; the last of them brings the views on.
            if chance.random() < 0.9 and any(position % 4 for position in taken):
                signals.publish({CHANNEL: taken[-1]}, None)
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
            source.reached = min((queue[0] - 1 for queue in partitions if queue), default=60)
            signals.publish({}, None)
            if chance.random() < 0.2:
                listener = Listener(chance.randint(0, source.reached))
                listeners.append(listener)
                tasks.append(asyncio.create_task(listener.listen(topics, source, chance, until)))
            for _ in range(chance.randint(0, 8)):
                await asyncio.sleep(0)
        signals.publish({CHANNEL: 60}, None)
        for listener in (anchor, *listeners):
            await asyncio.wait_for(listener.live.wait(), 10)
        await settled(topics, source)
        for listener in (anchor, *listeners):
            assert listener.heard == [each for each in positions if each % 4 and each > listener.after], seed
        until.set()
        await asyncio.gather(*tasks)
        assert len(topics) == 0

    play(postgres, scene)


def test_what_is_held_is_told_when_the_views_come_further(postgres: str) -> None:
    class Slow(FromPartitions):
        slow, reads, again = True, 0, asyncio.Event()

        async def dawdle(self) -> None:
            await asyncio.sleep(0.05 if self.slow else 0)

        async def read(self, *arguments: Any) -> Reading:
            found = await super().read(*arguments)
            self.reads += 1
            if self.reads == 3:  # the start, the signal, and once more because something is held
                self.again.set()
            return found

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until = Slow(random.Random(1)), asyncio.Event()
        early, late = Listener(0), Listener(0)
        tasks = [asyncio.create_task(early.listen(topics, source, random.Random(1), until))]
        await early.live.wait()
        source.log.append(5)
        signals.publish({CHANNEL: 5}, None)
        await asyncio.wait_for(source.again.wait(), 10)  # and now the topic rests as long as the reading took
        source.slow = False
        assert early.heard == []
        source.reached = 5  # nobody signals the channel again: the row is not new
        tasks.append(asyncio.create_task(late.listen(topics, source, random.Random(2), until)))
        await late.live.wait()
        assert late.heard == [5], "it caught up, and that must not make the topic forget the others"
        await asyncio.sleep(0.3)
        signals.publish({}, None)
        for _ in range(200):
            if early.heard:
                break
            await asyncio.sleep(0.01)
        assert early.heard == [5]
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)


def test_what_is_held_is_told_to_whoever_resumes_though_the_topic_is_past_it(postgres: str) -> None:
    class Ahead(FromPartitions):
        async def start(self, _: Any) -> int:
            return self.newest()

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, heard = Ahead(random.Random(1)), asyncio.Event(), asyncio.Event()
        source.log, source.reached = [80, 100], 90
        bob = Listener(70)
        hear = bob.follower.deliver
        bob.follower.deliver = lambda event: (hear(event), event.position == 100 and heard.set())  # type: ignore[assignment,func-returns-value]
        task = asyncio.create_task(bob.listen(topics, source, random.Random(1), until))
        await bob.live.wait()
        assert bob.heard == [80]
        source.reached = 100
        signals.publish({}, None)
        await asyncio.wait_for(heard.wait(), 10)
        assert bob.heard == [80, 100]
        until.set()
        await task

    play(postgres, scene)


def test_who_is_no_longer_admitted_is_told_and_hears_nothing_more(postgres: str) -> None:
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

    play(postgres, scene)


def test_whoever_goes_while_he_arrives_takes_nothing_from_others(postgres: str) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, left = Happenings(random.Random(1), is_value=False), asyncio.Event(), asyncio.Event()
        crowd = [Listener(0) for _ in range(250)]
        tasks = [asyncio.create_task(one.listen(topics, source, random.Random(1), until)) for one in crowd]
        for one in crowd:
            await one.live.wait()
        newcomer = asyncio.create_task(Listener(NOW).listen(topics, source, random.Random(1), until))

        def leave(event: Event) -> None:
            left.set()
            newcomer.cancel()

        for one in crowd:
            hear = one.follower.deliver
            one.follower.deliver = lambda event, hear=hear: (leave(event), hear(event))  # type: ignore[misc]
        source.log.append(1)  # and nobody signals it: the newcomer has it read
        await asyncio.wait_for(left.wait(), 10)
        await asyncio.wait([newcomer])
        await settled(topics, source)
        assert [one.heard for one in crowd] == [[1]] * 250
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)


def test_who_was_to_be_looked_at_is_looked_at_though_a_newcomers_reading_failed(postgres: str) -> None:
    class Failing(Guarded):
        gate, reading, failed = asyncio.Event(), asyncio.Event(), False

        async def read(self, *arguments: Any) -> Reading:
            self.reading.set()
            await self.gate.wait()
            return await super().read(*arguments)

        async def admitted(self, connection: Any, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
            if "bob" in self.outside and "bob" in viewers and not self.failed:
                self.failed = True
                raise psycopg.OperationalError("away")
            return await super().admitted(connection, viewers)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, bob = Failing(random.Random(1), is_value=False), asyncio.Event(), Listener(0, "bob")
        source.gate.set()
        task = asyncio.create_task(bob.listen(topics, source, random.Random(1), until))
        await bob.live.wait()
        source.gate.clear()
        source.reading.clear()
        newcomer = asyncio.create_task(Listener(NOW, "ada").listen(topics, source, random.Random(1), until))
        await asyncio.wait_for(source.reading.wait(), 10)
        source.outside = {"bob"}
        signals.publish({"standing": 1}, 1)
        source.gate.set()
        with pytest.raises(ApiError, match="nothing here"):
            await asyncio.wait_for(bob.follower.ended, 10)
        assert source.failed
        until.set()
        await asyncio.gather(task, newcomer, return_exceptions=True)

    play(postgres, scene)


@pytest.mark.parametrize(("after", "is_value"), [(0, False), (NOW, False), (NOW, True)])
def test_who_may_not_follow_is_delivered_nothing_and_does_not_go_live(
    postgres: str, after: int, is_value: bool
) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, bob = Guarded(random.Random(1), is_value=is_value), asyncio.Event(), Listener(after, "bob")
        source.log += [1, 2, 3]
        source.outside = {"bob"}
        with pytest.raises(ApiError, match="nothing here"):
            await asyncio.wait_for(bob.listen(topics, source, random.Random(1), until), 10)
        assert not bob.live.is_set()
        assert bob.heard == []

    play(postgres, scene)


def test_who_loses_the_right_to_follow_while_he_catches_up_hears_nothing_more(postgres: str) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, bob = Guarded(random.Random(1), is_value=False), Listener(0, "bob")
        source.log += [1, 2, 3, 4]

        async def ready() -> None:
            source.outside = {"bob"}
            source.log.append(5)
            signals.publish({"standing": 1}, 1)
            with pytest.raises(ApiError, match="nothing here"):
                await asyncio.wait_for(asyncio.shield(bob.follower.ended), 10)

        with pytest.raises(ApiError, match="nothing here"):
            async with topics.following(source, bob.follower, ready):
                pytest.fail("he went live")
        assert bob.heard == [1, 2, 3], "a page that was ready before"

    play(postgres, scene)


def test_who_is_doubted_does_not_go_live_before_he_was_looked_at(postgres: str) -> None:
    class Kicking(Guarded):
        signals: MemorySignals
        arriving, asked = False, asyncio.Event()

        async def read(self, *arguments: Any) -> Reading:
            found = await super().read(*arguments)
            if self.arriving and not self.outside:  # he was let in, and what he missed is being read
                self.outside = {"bob"}
                self.signals.publish({"standing": 1}, 1)
                await self.asked.wait()
            return found

        async def admitted(self, connection: Any, viewers: Collection[Viewer]) -> Collection[Viewer] | None:
            if self.outside and "ada" in viewers:
                self.asked.set()
                raise psycopg.OperationalError("away")  # so it is long until the topic has looked at everybody
            return await super().admitted(connection, viewers)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, ada = Kicking(random.Random(1), is_value=False), asyncio.Event(), Listener(0, "ada")
        source.signals = signals
        task = asyncio.create_task(ada.listen(topics, source, random.Random(1), until))
        await ada.live.wait()
        source.arriving, bob = True, Listener(0, "bob")
        with pytest.raises(ApiError, match="nothing here"):
            await asyncio.wait_for(bob.listen(topics, source, random.Random(1), until), 10)
        assert not bob.live.is_set()
        until.set()
        await task

    play(postgres, scene)


def test_a_source_that_fails_ends_its_followers_and_leaves_no_topic(postgres: str) -> None:
    class Failing(Happenings):
        async def read(self, *_: Any) -> Reading:
            raise ValueError("of no use")

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source = Failing(random.Random(1), is_value=True)
        with pytest.raises(ValueError, match="of no use"):
            await Listener(NOW).listen(topics, source, random.Random(1), asyncio.Event())
        assert len(topics) == 0

    play(postgres, scene)
