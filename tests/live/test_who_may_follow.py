"""Who may follow: asked when he comes, on each doubt, and what becomes of him who may not."""

import asyncio
import random
from collections.abc import Collection
from typing import Any

import psycopg
import pytest

from infra.cassandra.errors import CassandraUnready
from infra.signals import MemorySignals
from read_api.errors import ApiError
from read_api.live.following import NOW, Reading, Viewer
from read_api.live.registry import Topics
from read_api.live.topics import PATIENT_AT_ONCE
from tests.live.happenings import Guarded, Happenings, Listener, play, settled


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


def test_who_may_follow_is_asked_when_a_guard_doubts_it_or_long_after(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where there are no guards for whatever happens."""

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        for of in (Guarded, Happenings):
            source, until, listener = of(random.Random(1), is_value=False), asyncio.Event(), Listener(0)
            task = asyncio.create_task(listener.listen(topics, source, random.Random(1), until))
            await listener.live.wait()

            async def asked(source: Happenings = source) -> int:
                before = source.admissions
                source.log.append(len(source.log) + 1)
                await settled(topics, source)
                return source.admissions - before - 1  # the bystander is asked about when he comes

            await asked()
            assert [await asked() for _ in range(3)] == ([0, 0, 0] if of is Guarded else [1, 1, 1])
            if of is Guarded:
                source.outside = {"somebody"}
                signals.publish({"standing": 1}, 1)
                await asyncio.sleep(0)
                assert await asked() == 1
                assert await asked() == 0
                monkeypatch.setattr("read_api.live.topics.ADMISSION_SECONDS", 0.0)
                assert await asked() == 1
            assert listener.heard == source.log
            until.set()
            await task

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


def test_who_is_put_out_is_told_so_though_nothing_can_be_read(postgres: str) -> None:
    class Away(Guarded):
        away = False

        async def read(self, *arguments: Any) -> Reading:
            if self.away:
                raise CassandraUnready("away")
            return await super().read(*arguments)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until = Away(random.Random(1), is_value=False), asyncio.Event()
        bob, ada = Listener(0, "bob"), Listener(0, "ada")
        tasks = [asyncio.create_task(one.listen(topics, source, random.Random(1), until)) for one in (bob, ada)]
        for one in (bob, ada):
            await one.live.wait()
        source.away, source.outside = True, {"bob"}
        signals.publish({"standing": 1}, 1)
        with pytest.raises(ApiError, match="nothing here"):
            await asyncio.wait_for(bob.follower.ended, 10)
        assert not ada.follower.ended.done()
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)


def test_what_concerns_a_topic_alone_does_not_wait_for_its_turn(postgres: str) -> None:
    class Own(Guarded):
        guards = ("standing", "membership")
        own_guards = ("membership",)
        rest_seconds = 60.0

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, bob = Own(random.Random(1), is_value=False), asyncio.Event(), Listener(0, "bob")
        task = asyncio.create_task(bob.listen(topics, source, random.Random(1), until))
        await bob.live.wait()
        for _ in range(PATIENT_AT_ONCE):
            await topics._turns.acquire()
        source.outside = {"bob"}
        signals.publish({"membership": 1}, 1)
        with pytest.raises(ApiError, match="nothing here"):
            await asyncio.wait_for(bob.follower.ended, 10)
        until.set()
        await task

    play(postgres, scene)
