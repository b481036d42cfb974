"""Many who ask the same at the same time are answered by one read."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


class SingleFlight(Generic[K, A]):
    """Answers by ``read``, of each key one at a time. For one event loop.

    Whoever comes while a read is under way shares the next one with all who come meanwhile, and not this one: it may
    have seen less than what he has been told of. So of a key no more than two reads are ever waited for, and an answer
    is never older than the question. What ``read`` raises all who share it get; who leaves takes it from nobody.
    """

    def __init__(self, read: Callable[[K], Awaitable[A]]) -> None:
        self._read = read
        self._running: dict[K, asyncio.Task[A]] = {}
        self._waiting: dict[K, asyncio.Task[A]] = {}

    async def ask(self, key: K) -> A:
        """The answer to this key."""
        if (waiting := self._waiting.get(key)) is not None:
            return await asyncio.shield(waiting)
        running = self._running.get(key)
        task = asyncio.create_task(self._run(key, running))
        if running is None:
            self._running[key] = task
        else:
            self._waiting[key] = task
        task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def _run(self, key: K, before: "asyncio.Task[A] | None") -> A:
        if before is not None:
            await asyncio.wait([before])
            self._running[key] = self._waiting.pop(key)
        try:
            return await self._read(key)
        finally:
            if key not in self._waiting:
                del self._running[key]


def _seen(task: "asyncio.Task[A]") -> None:
    """Have nobody told that an error was never looked at: those who asked may all have left."""
    if not task.cancelled():
        task.exception()
