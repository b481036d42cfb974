"""How fast somebody may write messages, on Redis and in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from commands.ports import Acts, Pace, Written
from domain.event import Id
from domain.ids import derived
from domain.limits import Limits
from domain.refusal import Code, Refusal
from infra.pace import MemoryPace, RedisPace

LIMITS: Final = Limits(messages_burst=3, messages_seconds_each=60)
ONE, OTHER = derived("pace", "one"), derived("pace", "other")
HERE, THERE = derived("pace", "here"), derived("pace", "there")

Opened = Callable[[], Any]


@pytest.fixture(params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Opens a pace whose clock stands still, or hardly moves."""

    @asynccontextmanager
    async def memory() -> AsyncIterator[Pace]:
        yield MemoryPace(lambda: 1_000.0)

    @asynccontextmanager
    async def on_redis() -> AsyncIterator[Pace]:
        client = Redis.from_url(request.getfixturevalue("redis_url"))
        yield RedisPace(client, seconds_max=5)
        await client.aclose()

    return memory if request.param == "memory" else on_redis


class Writer:
    """Takes one message after the other."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.count = 0

    async def __call__(
        self, who: Id, where: Id = HERE, *, pause: int = 0, command: str = "", acts: Acts = "messages"
    ) -> Refusal | None:
        """Why it was held back, if it was. Each is a command of its own unless one is named."""
        self.count += 1
        command_id = derived("pace", "command", command or str(self.count))
        try:
            await self.pace.take(Written(who, where, command_id, acts, pause), LIMITS)
        except Refusal as refusal:
            return refusal
        return None


def played(opened: Opened, scene: Callable[[Writer], Awaitable[None]]) -> None:
    async def play() -> None:
        async with opened() as pace:
            await scene(Writer(pace))

    asyncio.run(play())


def test_so_many_at_once_in_all_channels_together(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        for where in (HERE, THERE, HERE):
            assert await write(ONE, where) is None
        refusal = await write(ONE, THERE)
        assert refusal is not None
        assert refusal.code is Code.TOO_MANY_REQUESTS
        assert refusal.retry_after_seconds in (59, 60)
        assert await write(OTHER) is None

    played(opened, scene)


def test_slow_mode_is_of_one_channel_and_account(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        assert await write(ONE, pause=30) is None
        refusal = await write(ONE, pause=30)
        assert refusal is not None
        assert refusal.code is Code.SLOW_MODE
        assert refusal.retry_after_seconds in (29, 30)
        assert f"{refusal.retry_after_seconds} seconds" in refusal.message
        assert await write(OTHER, pause=30) is None
        assert await write(ONE, THERE, pause=30) is None

    played(opened, scene)


def test_slow_mode_is_as_it_is_by_now(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        assert await write(ONE, pause=21_600) is None
        refusal = await write(ONE, pause=100)
        assert refusal is not None
        assert refusal.retry_after_seconds in (99, 100)
        assert await write(ONE, pause=0) is None

    played(opened, scene)


def test_kinds_of_acts_are_counted_apart(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        for _ in range(3):
            assert await write(ONE) is None
        assert await write(ONE) is not None
        for acts in ("edits", "reactions", "marks"):
            assert await write(ONE, acts=acts) is None

    played(opened, scene)


def test_what_was_counted_is_not_counted_again(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        for _ in range(5):
            assert await write(ONE, pause=30, command="the same") is None
        assert await write(ONE, THERE) is None
        assert await write(ONE, THERE) is None
        assert await write(ONE, THERE) is not None

    played(opened, scene)


def test_what_is_held_back_is_not_counted(opened: Opened) -> None:
    async def scene(write: Writer) -> None:
        assert await write(ONE, pause=30) is None
        for _ in range(5):
            assert await write(ONE, pause=30) is not None
        assert await write(ONE, THERE) is None
        assert await write(ONE, THERE) is None

    played(opened, scene)


def test_it_fills_up_with_time() -> None:
    now = [1_000.0]

    async def scene() -> None:
        write = Writer(MemoryPace(lambda: now[0]))
        for _ in range(3):
            assert await write(ONE, pause=0) is None
        assert await write(ONE) is not None
        now[0] += 60
        assert await write(ONE, pause=10) is None
        now[0] += 60
        assert await write(ONE, pause=10) is None

    asyncio.run(scene())


def test_a_message_that_was_not_recorded_may_be_sent_again_however_late() -> None:
    now = [1_000.0]

    async def scene() -> None:
        write = Writer(MemoryPace(lambda: now[0]))
        assert await write(ONE, pause=600, command="lost") is None
        now[0] += 100
        assert await write(ONE, pause=600) is not None
        assert await write(ONE, pause=600, command="lost") is None

    asyncio.run(scene())


def test_without_redis_nobody_is_held_back() -> None:
    async def scene() -> None:
        client = Redis(unix_socket_path="/nonexistent/redis.sock")
        write = Writer(RedisPace(client, seconds_max=1))
        for _ in range(5):
            assert await write(ONE, pause=30) is None
        await client.aclose()

    asyncio.run(scene())
