"""What waits to be sent to one client: in order, bounded, and slowing nobody else down."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

FRAMES_AT_ONCE = 16
"""Frames sent to one client before others get a turn."""


class Outbox:
    """A bounded queue of text frames and the loop that sends them.

    ``push`` is for what happens whether the client keeps up or not: a client that does not is given up, by
    ``overflowed``. ``room`` is for answers, which can wait until there is room. What is pushed while nothing waits goes
    straight to ``send_now``, if there is one and it takes it: no task has to be woken for it.
    """

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        overflowed: Callable[[], None],
        *,
        messages_max: int,
        bytes_max: int,
        send_now: Callable[[str], bool] | None = None,
    ) -> None:
        self._send = send
        self._send_now = send_now
        self._overflowed = overflowed
        self.messages_max = messages_max
        self._bytes_max = bytes_max
        self._waiting: deque[tuple[object, str]] = deque()
        self._bytes = 0
        self._sending = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.closed = False

    def push(self, frame: str, owner: object = None) -> None:
        """Send it in its turn. A frame that finds the queue full is dropped, with the client."""
        if self.closed:
            return
        if not self._waiting and not self._sending and self._send_now is not None and self._send_now(frame):
            return
        if self._waiting and (len(self._waiting) >= self.messages_max or self._bytes + len(frame) > self._bytes_max):
            self.overflow()
            return
        self._waiting.append((owner, frame))
        self._bytes += len(frame)
        self._filled.set()
        if not self.has_room:
            self._emptied.clear()

    def overflow(self) -> None:
        """Give the client up."""
        if not self.closed:
            self.close()
            self._overflowed()

    def forget(self, owner: object) -> None:
        """Do not send what still waits of that owner."""
        if self._waiting:
            self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not owner)
            self._bytes = sum(len(frame) for _, frame in self._waiting)
            self._freed()

    async def room(self) -> None:
        """Wait until the queue is less than half full, or closed."""
        await self._emptied.wait()

    def close(self) -> None:
        """Take nothing more and forget what waits."""
        self.closed = True
        self._waiting.clear()
        self._emptied.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            sent = 0
            while self._waiting:
                _, frame = self._waiting.popleft()
                self._bytes -= len(frame)
                self._sending = True  # what is pushed meanwhile comes after it
                await self._send(frame)
                self._sending = False
                self._freed()
                sent += 1
                if sent % FRAMES_AT_ONCE == 0:  # sending need not wait, and then lets nobody else have a turn
                    await asyncio.sleep(0)

    @property
    def has_room(self) -> bool:
        """Whether the queue is less than half full."""
        return 2 * len(self._waiting) <= self.messages_max and 2 * self._bytes <= self._bytes_max

    def _freed(self) -> None:
        if self.has_room:
            self._emptied.set()
