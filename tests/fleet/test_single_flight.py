"""Those who ask the same at the same time share a read, which is never older than their question."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from infra.single_flight import SingleFlight


class Source:
    """Reads that end when they are told to."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.gates: list[asyncio.Event] = []
        self.version = 0
        self.fails = False

    async def read(self, key: str) -> str:
        gate = asyncio.Event()
        self.reads.append(key)
        self.gates.append(gate)
        seen = self.version
        await gate.wait()
        if self.fails:
            raise OSError("away")
        return f"{key} at {seen}"


async def asked(*questions: Coroutine[Any, Any, str]) -> list["asyncio.Task[str]"]:
    """Tasks that have come as far as they can."""
    tasks = [asyncio.create_task(question) for question in questions]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


def test_a_crowd_costs_two_reads_and_sees_what_was_there_when_it_asked() -> None:
    async def scene() -> None:
        source = Source()
        flights = SingleFlight(source.read)
        first = await asked(flights.ask("a"))
        source.version = 1
        crowd = await asked(*(flights.ask("a") for _ in range(100)))
        other = await asked(flights.ask("b"))
        assert source.reads == ["a", "b"]
        source.gates[0].set()
        assert await first[0] == "a at 0"
        await asked()
        assert source.reads == ["a", "b", "a"]
        source.version = 2
        late = await asked(flights.ask("a"))
        source.gates[2].set()
        assert {await one for one in crowd} == {"a at 1"}
        await asked()
        assert source.reads == ["a", "b", "a", "a"]
        source.gates[1].set()
        source.gates[3].set()
        assert (await late[0], await other[0]) == ("a at 2", "b at 1")
        assert flights._running == {}
        assert flights._waiting == {}

    asyncio.run(scene())


def test_an_error_is_that_of_all_who_share_it_and_of_nobody_later() -> None:
    async def scene() -> None:
        source = Source()
        flights = SingleFlight(source.read)
        first = await asked(flights.ask("a"))
        crowd = await asked(flights.ask("a"), flights.ask("a"))
        source.fails = True
        source.gates[0].set()
        await asked()
        source.gates[1].set()
        for one in (*first, *crowd):
            with pytest.raises(OSError, match="away"):
                await one
        source.fails = False
        later = await asked(flights.ask("a"))
        source.gates[2].set()
        assert await later[0] == "a at 0"
        assert flights._running == {}

    asyncio.run(scene())


def test_who_leaves_takes_the_answer_from_nobody() -> None:
    async def scene() -> None:
        source = Source()
        flights = SingleFlight(source.read)
        first = await asked(flights.ask("a"))
        crowd = await asked(flights.ask("a"), flights.ask("a"))
        first[0].cancel()
        crowd[0].cancel()
        await asked()
        source.gates[0].set()
        await asked()
        source.gates[1].set()
        assert await crowd[1] == "a at 0"
        await asked()
        assert flights._running == {}

    asyncio.run(scene())
