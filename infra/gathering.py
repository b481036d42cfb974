"""One thread that does at once everything that waits: what makes many small requests as cheap as a few large ones."""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from concurrent import futures
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

import structlog

Q = TypeVar("Q")
A = TypeVar("A")

_log = structlog.get_logger(__name__)


class TooManyWaiting(Exception):
    """The queue is at its limit; nothing was done."""


class GathererClosed(Exception):
    """It was closed; nothing was done."""


class _Ticket(Generic[Q, A]):
    """A request, and who waits for its answer: a future of an event loop, or one of threads."""

    __slots__ = ("future", "loop", "request", "size")

    def __init__(
        self, request: Q, size: int, loop: AbstractEventLoop | None, future: "Future[A] | futures.Future[A]"
    ) -> None:
        self.request = request
        self.size = size
        self.loop = loop
        self.future = future


class Gatherer(Generic[Q, A]):
    """Answers requests from any event loop or thread, all that wait at a time in one call of ``answer``.

    ``answer`` gets the requests in the order in which they came and gives one answer for each; an answer that is an
    exception is raised to the one who asked, and one that it raises, to all. ``waiting_max`` bounds the queue;
    ``batch_max`` bounds the sum of the sizes in one call, a single request of any size always goes.
    """

    def __init__(
        self, name: str, answer: Callable[[list[Q]], Sequence[A | Exception]], *, waiting_max: int, batch_max: int
    ) -> None:
        self._name = name
        self._answer = answer
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._queue: SimpleQueue[_Ticket[Q, A] | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False

    async def ask(self, request: Q, size: int = 1) -> A:
        """The answer. Raises ``TooManyWaiting`` or ``GathererClosed`` at once, or what ``answer`` gave."""
        loop = get_running_loop()
        future: Future[A] = loop.create_future()
        self._put(_Ticket(request, size, loop, future))
        return await future

    def ask_sync(self, request: Q, size: int = 1) -> A:
        """The same for a thread that has no event loop."""
        future: futures.Future[A] = futures.Future()
        self._put(_Ticket(request, size, None, future))
        return future.result()

    def close(self) -> None:
        """Take no more; return when everything that waits is answered."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _put(self, ticket: _Ticket[Q, A]) -> None:
        if self._queue.qsize() >= self._waiting_max:
            raise TooManyWaiting(f"{self._waiting_max} requests wait already")
        # The lock makes sure that nothing is put behind the mark with which the thread ends.
        with self._lock:
            if self._closed:
                raise GathererClosed(f"{self._name} is closed")
            if self._thread is None:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._queue.put(ticket)

    def _run(self) -> None:
        ticket = self._queue.get()
        while ticket is not None:
            batch, size = [ticket], ticket.size
            try:
                while (ticket := self._queue.get_nowait()) is not None and size + ticket.size <= self._batch_max:
                    batch.append(ticket)
                    size += ticket.size
            except Empty:
                self._settle(batch)
                ticket = self._queue.get()
            else:
                self._settle(batch)

    def _settle(self, batch: list[_Ticket[Q, A]]) -> None:
        answers: Sequence[A | Exception]
        try:
            answers = self._answer([ticket.request for ticket in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} requests")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - it goes to everybody who asked
            answers = [error] * len(batch)
        by_loop: dict[AbstractEventLoop | None, list[tuple[Any, A | Exception]]] = {}
        for ticket, answer in zip(batch, answers, strict=True):
            by_loop.setdefault(ticket.loop, []).append((ticket.future, answer))
        for loop, settled in by_loop.items():
            if loop is None:
                _deliver(settled)
                continue
            try:
                loop.call_soon_threadsafe(_deliver, settled)
            except RuntimeError:
                _log.warning("answers to a loop that is closed", gatherer=self._name, answers=len(settled))


def _deliver(settled: list[tuple[Any, Any]]) -> None:
    for future, answer in settled:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
