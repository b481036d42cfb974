"""What waits for one client: in order, bounded, and forgotten with its operation."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from read_api.live.outbox import Outbox


class Wire:
    """A client that takes a frame whenever it is let."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.open = asyncio.Event()
        self.overflowed = 0

    async def send(self, frame: str) -> None:
        await self.open.wait()
        self.taken.append(frame)

    def overflow(self) -> None:
        self.overflowed += 1


def play(scene: Callable[[Outbox, Wire], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        wire = Wire()
        outbox = Outbox(wire.send, wire.overflow, messages_max=4, bytes_max=40)
        sending = asyncio.create_task(outbox.run())
        await scene(outbox, wire)
        sending.cancel()

    asyncio.run(run())


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_frames_leave_in_their_order() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        wire.open.set()
        for number in range(4):
            outbox.push(str(number))
        await turns()
        assert wire.taken == ["0", "1", "2", "3"]

    play(scene)


def test_what_waits_of_an_operation_is_forgotten_with_it() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        mine, other = object(), object()
        outbox.push("first", other)
        await turns()
        for frame, owner in (("a", mine), ("b", other), ("c", mine)):
            outbox.push(frame, owner)
        outbox.forget(mine)
        wire.open.set()
        await turns()
        assert wire.taken == ["first", "b"]

    play(scene)


def test_more_messages_than_allowed_give_the_client_up_once() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        for number in range(9):
            outbox.push(str(number))
        assert wire.overflowed == 1
        assert outbox.closed
        wire.open.set()
        await turns()
        assert wire.taken == []

    play(scene)


def test_more_bytes_than_allowed_too_but_one_large_frame_may_pass() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        outbox.push("x" * 100)
        assert wire.overflowed == 0
        outbox.push("y")
        assert wire.overflowed == 1

    play(scene)


def test_room_is_there_when_the_queue_is_half_empty() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        await asyncio.wait_for(outbox.room(), 1)
        for number in range(3):
            outbox.push(str(number))
        waiting = asyncio.create_task(outbox.room())
        await turns()
        assert outbox.has_room, "one is on its way"
        outbox.push("3")
        waiting = asyncio.create_task(outbox.room())
        await turns()
        assert not waiting.done()
        wire.open.set()
        await asyncio.wait_for(waiting, 1)

    play(scene)


def test_closing_lets_those_go_who_wait_for_room() -> None:
    async def scene(outbox: Outbox, wire: Wire) -> None:
        for number in range(4):
            outbox.push(str(number))
        waiting = asyncio.create_task(outbox.room())
        await asyncio.sleep(0)
        outbox.close()
        await asyncio.wait_for(waiting, 1)
        outbox.push("late")
        assert wire.overflowed == 0

    play(scene)


def test_what_comes_while_nothing_waits_is_sent_at_once_and_never_before_what_does() -> None:
    async def scene() -> None:
        sent: list[str] = []
        open_, passed = True, asyncio.Event()

        async def send(frame: str) -> None:
            await passed.wait()
            sent.append(frame)

        def send_now(frame: str) -> bool:
            if open_:
                sent.append(frame)
            return open_

        outbox = Outbox(send, lambda: None, messages_max=10, bytes_max=1000, send_now=send_now)
        task = asyncio.create_task(outbox.run())
        outbox.push("one")
        assert sent == ["one"]
        open_ = False
        outbox.push("two")
        await asyncio.sleep(0)  # the loop took it, and waits for the socket
        open_ = True
        outbox.push("three")
        outbox.push("four")
        assert sent == ["one"]
        passed.set()
        await turns()
        outbox.push("five")
        assert sent == ["one", "two", "three", "four", "five"]
        task.cancel()

    asyncio.run(scene())
