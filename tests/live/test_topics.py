"""Following, under every order of reading, happening, coming and going that chance brings."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from infra.signals import MemorySignals
from read_api.live.endings import Endings
from read_api.live.following import NOW, Event, FollowLimits, Reading
from read_api.live.registry import Topics
from read_api.live.topics import PATIENT_AT_ONCE, Topic
from tests.live.happenings import CHANNEL, FromPartitions, Happenings, Listener, play, settled


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


def test_most_find_made_what_the_first_has_made(postgres: str) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until, making = Happenings(random.Random(1), is_value=False), asyncio.Event(), asyncio.Event()
        crowd = [Listener(0) for _ in range(50)]
        tasks = [asyncio.create_task(one.listen(topics, source, random.Random(1), until)) for one in crowd]

        def deliver(one: Listener, event: Event) -> None:
            if event.making is None:
                event.making = asyncio.get_running_loop().create_future()
                made.append(event.making)
                making.set()
            one.heard.append(event.position)

        made: list[asyncio.Future[Any]] = []
        for one in crowd:
            await one.live.wait()
            one.follower.deliver = lambda event, one=one: deliver(one, event)  # type: ignore[misc]
        source.log.append(1)
        signals.publish({CHANNEL: 1}, 1)
        await asyncio.wait_for(making.wait(), 10)
        assert sum(len(one.heard) for one in crowd) == 1
        made[0].set_result(None)
        await settled(topics, source)
        assert [one.heard for one in crowd] == [[1]] * 50
        until.set()
        await asyncio.gather(*tasks)

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


class Patient(Happenings):
    """A source that can wait. ``reached`` is set when so many of them are being read that it was ``awaited``."""

    rest_seconds = 0.001
    reading, most, awaited = 0, 0, 0
    gate, reached = asyncio.Event(), asyncio.Event()

    async def read(self, *arguments: Any) -> Reading:
        Patient.reading += 1
        Patient.most = max(Patient.most, Patient.reading)
        if Patient.reading == Patient.awaited:
            Patient.reached.set()
        await Patient.gate.wait()
        Patient.reading -= 1
        return await super().read(*arguments)


def test_what_can_wait_is_read_in_turn_and_at_once_for_whoever_comes(postgres: str) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        Patient.gate, Patient.reached, until = asyncio.Event(), asyncio.Event(), asyncio.Event()
        Patient.gate.set()
        sources = [Patient(random.Random(n), is_value=False) for n in range(PATIENT_AT_ONCE + 1)]
        listeners, all_heard = [Listener(0) for _ in sources], asyncio.Event()
        tasks = [
            asyncio.create_task(one.listen(topics, source, random.Random(1), until))
            for one, source in zip(listeners, sources, strict=True)
        ]

        def hear(one: Listener, event: Event) -> None:
            one.heard.append(event.position)
            if all(each.heard for each in listeners):
                all_heard.set()

        for one in listeners:
            await one.live.wait()
            one.follower.deliver = lambda event, one=one: hear(one, event)  # type: ignore[misc]

        Patient.gate.clear()
        Patient.most, Patient.awaited = 0, PATIENT_AT_ONCE
        Patient.reached.clear()
        for source in sources:
            source.log.append(1)
        signals.publish({CHANNEL: 1}, 1)
        await asyncio.wait_for(Patient.reached.wait(), 10)
        for n in range(10):  # whoever waits for a connection has one by then
            await settled(topics, Happenings(random.Random(n), is_value=False))
        assert Patient.most == PATIENT_AT_ONCE
        Patient.awaited = len(sources)
        Patient.reached.clear()
        newcomers = [asyncio.create_task(settled(topics, source)) for source in sources]
        await asyncio.wait_for(Patient.reached.wait(), 10)
        Patient.gate.set()
        await asyncio.gather(*newcomers)
        await asyncio.wait_for(all_heard.wait(), 10)
        assert [one.heard for one in listeners] == [[1]] * len(sources)
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)


def test_a_turn_is_given_back_whenever_whoever_waits_for_it_leaves() -> None:
    async def scene(turns_of_the_loop: int) -> None:
        turns = asyncio.Semaphore(1)
        pool: Any = None  # nothing is read
        source = Patient(random.Random(1), is_value=False)
        topic = Topic(source, MemorySignals(), pool, FollowLimits(), turns, Endings(pool))
        await turns.acquire()
        waiting = asyncio.create_task(topic._take_turn())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        turns.release()
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            if await waiting:
                turns.release()
        assert not turns.locked(), turns_of_the_loop

    for turns_of_the_loop in range(12):
        asyncio.run(scene(turns_of_the_loop))


def test_what_takes_long_to_make_holds_others_up_once(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first eight together, and for nothing but what was begun for one of them."""
    monkeypatch.setattr("read_api.live.topics.MAKING_SECONDS_MAX", 0.2)

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until = Happenings(random.Random(1), is_value=False), asyncio.Event()
        crowd, waits = [Listener(0) for _ in range(20)], []
        tasks = [asyncio.create_task(one.listen(topics, source, random.Random(1), until)) for one in crowd]

        def deliver(one: Listener, event: Event) -> None:
            event.making = event.making or asyncio.get_running_loop().create_future()  # and it is never done
            one.heard.append(event.position)

        wait = asyncio.wait

        async def counted(*given: Any, **named: Any) -> Any:
            waits.append(named.get("timeout"))
            return await wait(*given, **named)

        for one in crowd:
            await one.live.wait()
            one.follower.deliver = lambda event, one=one: deliver(one, event)  # type: ignore[misc]
        monkeypatch.setattr("read_api.live.topics.asyncio.wait", counted)
        source.log.append(1)
        signals.publish({CHANNEL: 1}, 1)
        await settled(topics, source)
        assert [one.heard for one in crowd] == [[1]] * 20
        assert [timeout for timeout in waits if timeout is not None] == [0.2]
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)
