"""Many requests answered at once: in order, bounded, and nobody waits for ever."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Flag

import pytest

from infra.gathering import Gatherer, GathererClosed, TooManyWaiting
from tests.conformance.event_store import run


class Doubling:
    """Doubles numbers, a batch at a time, once it may go on; keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = Flag()
        self.go_on = Flag()

    def __call__(self, requests: list[int]) -> Sequence[int | Exception]:
        self.batches.append(requests)
        self.started.set()
        self.go_on.wait()
        return [ValueError(str(number)) if number < 0 else 2 * number for number in requests]


def test_all_that_waits_is_answered_together_in_order_and_within_the_limit() -> None:
    doubling = Doubling()
    gatherer: Gatherer[int, int] = Gatherer("doubling", doubling, waiting_max=100, batch_max=10)

    async def ask() -> list[int | BaseException]:
        first = asyncio.create_task(gatherer.ask(0))
        await asyncio.to_thread(doubling.started.wait)
        rest = [asyncio.create_task(gatherer.ask(number, size=2)) for number in range(1, 12)]
        large = asyncio.create_task(gatherer.ask(12, size=50))
        await asyncio.sleep(0)
        doubling.go_on.set()
        return await asyncio.gather(first, *rest, large)

    assert run(ask()) == [2 * number for number in range(13)]
    assert doubling.batches == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11], [12]]
    gatherer.close()


def test_an_error_goes_to_the_one_who_asked_and_a_failure_to_all() -> None:
    doubling = Doubling()
    doubling.go_on.set()
    gatherer: Gatherer[int, int] = Gatherer("doubling", doubling, waiting_max=100, batch_max=10)
    with pytest.raises(ValueError, match="-1"):
        run(gatherer.ask(-1))
    assert gatherer.ask_sync(4) == 8
    gatherer.close()

    def broken(requests: list[int]) -> list[int | Exception]:
        if requests == [0]:
            return []
        raise ZeroDivisionError

    failing: Gatherer[int, int] = Gatherer("failing", broken, waiting_max=100, batch_max=10)
    with pytest.raises(RuntimeError, match="0 answers to 1 requests"):
        failing.ask_sync(0)
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(failing.ask_sync, number) for number in range(1, 5)]
        assert [type(answer.exception()) for answer in answers] == [ZeroDivisionError] * 4
    failing.close()


def test_more_than_may_wait_are_refused_at_once() -> None:
    doubling = Doubling()
    gatherer: Gatherer[int, int] = Gatherer("doubling", doubling, waiting_max=2, batch_max=10)

    async def ask() -> list[int | BaseException]:
        first = asyncio.create_task(gatherer.ask(0))
        await asyncio.to_thread(doubling.started.wait)
        rest = [asyncio.create_task(gatherer.ask(number)) for number in range(1, 5)]
        await asyncio.sleep(0)
        doubling.go_on.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    *answered, third, fourth = run(ask())
    assert answered == [0, 2, 4]
    assert isinstance(third, TooManyWaiting)
    assert isinstance(fourth, TooManyWaiting)
    gatherer.close()


def test_an_asker_who_gave_up_disturbs_nobody() -> None:
    doubling = Doubling()
    gatherer: Gatherer[int, int] = Gatherer("doubling", doubling, waiting_max=100, batch_max=10)

    async def ask() -> list[int]:
        first = asyncio.create_task(gatherer.ask(1))
        await asyncio.to_thread(doubling.started.wait)
        gone, stays = asyncio.create_task(gatherer.ask(2)), asyncio.create_task(gatherer.ask(3))
        await asyncio.sleep(0)
        gone.cancel()
        doubling.go_on.set()
        return await asyncio.gather(first, stays)

    async def leave() -> None:
        asyncio.get_running_loop().create_task(gatherer.ask(3))
        await asyncio.sleep(0)

    assert run(ask()) == [2, 6]
    assert doubling.batches == [[1], [2, 3]]
    doubling.go_on.clear()
    run(leave())
    doubling.go_on.set()
    assert gatherer.ask_sync(5) == 10
    gatherer.close()


def test_closed_is_closed() -> None:
    doubling = Doubling()
    gatherer: Gatherer[int, int] = Gatherer("doubling", doubling, waiting_max=100, batch_max=10)
    gatherer.close()
    gatherer.close()
    with pytest.raises(GathererClosed):
        gatherer.ask_sync(1)
