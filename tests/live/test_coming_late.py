"""What becomes of followers when something can be read only now that belongs before what they have."""

import asyncio
import random

import pytest

from infra.signals import MemorySignals, late
from read_api.errors import ApiCode, BadInput
from read_api.live.following import NOW, Follower
from read_api.live.registry import Topics
from tests.live.happenings import CHANNEL, Happenings, Listener, play, settled


@pytest.mark.parametrize("is_value", [False, True])
def test_whoever_is_past_what_came_late_has_to_read_anew(postgres: str, is_value: bool) -> None:
    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, until = Happenings(random.Random(1), is_value=is_value), asyncio.Event()
        source.log += [10, 20]
        past = Listener(0)
        task = asyncio.create_task(past.listen(topics, source, random.Random(1), until))
        await past.live.wait()
        assert past.heard[-1] == 20
        source.log.append(30)
        signals.publish({CHANNEL: late(30)}, None)  # nobody is there yet
        await settled(topics, source)
        assert past.heard[-1] == 30
        assert not past.follower.ended.done()
        source.log = [10, 15, 20, 30]
        signals.publish({CHANNEL: late(15)}, None)
        await settled(topics, source)
        assert past.follower.ended.done() is not is_value, "a value is told as it is, whatever led to it"
        if not is_value:
            with pytest.raises(BadInput) as why:
                past.follower.ended.result()
            assert why.value.code == ApiCode.CURSOR_TOO_OLD
        anew = Listener(10)
        tasks = [task, asyncio.create_task(anew.listen(topics, source, random.Random(2), until))]
        await anew.live.wait()
        assert anew.heard == ([30] if is_value else [15, 20, 30])
        until.set()
        await asyncio.gather(*tasks)

    play(postgres, scene)


def test_whoever_is_catching_up_while_something_comes_late_has_to_read_anew(postgres: str) -> None:
    """What he reads was read before it was there, and where he will stand is not known."""

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, bystander, until = Happenings(random.Random(1), is_value=False), Listener(NOW), asyncio.Event()
        source.log += range(10, 20)
        task = asyncio.create_task(bystander.listen(topics, source, random.Random(1), until))
        await bystander.live.wait()
        reading, go_on = asyncio.Event(), asyncio.Event()

        async def ready() -> None:
            reading.set()
            await go_on.wait()

        async def catch_up() -> None:
            async with topics.following(source, Follower(None, 0, lambda _: None), ready):
                raise AssertionError("it went live")

        arriving = asyncio.create_task(catch_up())
        await reading.wait()
        source.log.append(20)
        signals.publish({CHANNEL: late(20)}, None)
        await settled(topics, source)
        go_on.set()
        with pytest.raises(BadInput):
            await arriving
        assert not bystander.follower.ended.done()
        until.set()
        await task

    play(postgres, scene)


def test_whoever_stands_where_it_came_late_has_to_read_anew(postgres: str) -> None:
    """What was parked counts as reached: a topic that was opened since stands at its position, and does not have it."""

    async def scene(topics: Topics, signals: MemorySignals) -> None:
        source, bystander, until = Happenings(random.Random(1), is_value=False), Listener(NOW), asyncio.Event()
        source.log += [10, 20]
        task = asyncio.create_task(bystander.listen(topics, source, random.Random(1), until))
        await bystander.live.wait()
        signals.publish({CHANNEL: late(20)}, None)
        await settled(topics, source)
        with pytest.raises(BadInput):
            await asyncio.wait_for(bystander.follower.ended, 10)
        until.set()
        await task

    play(postgres, scene)
