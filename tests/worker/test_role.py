"""A group of a worker's process, and what it says while something is away."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from infra.codec import Codec
from infra.event_log import TopicState
from infra.keyring import Keyring, MemoryKeys
from infra.log_memory import MemoryLog
from schemas.topics import PEOPLE
from streams.worker.faust_app import WorkerApp
from streams.worker.limits import WorkerLimits
from streams.worker.role import GroupWorker, Means
from tests.relay.world import declare

SECONDS_MAX = 30


class Asked(MemoryLog):
    """Has the worker told to stop once it was asked so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times
        self.stop: Callable[[], object] = int

    def topics(self) -> Mapping[str, TopicState]:
        self.left -= 1
        if not self.left:
            self.stop()
        return super().topics()


def said(log: Asked) -> list[Any]:
    """What a group says whose log it is, until it is told to stop."""

    async def trying() -> list[Any]:
        codec = Codec(Keyring(MemoryKeys(), bytes(32)))
        limits = WorkerLimits(retry_seconds_min=0.001, retry_seconds_max=0.002)
        stopping = asyncio.Event()
        log.stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stopping.set)
        group = GroupWorker("people", Means("", "127.0.0.1:1", log, codec), limits)
        with capture_logs() as logs:
            await asyncio.wait_for(group.run(stopping), SECONDS_MAX)
        return logs

    return asyncio.run(trying())


def test_a_log_that_is_away_is_said_without_a_traceback() -> None:
    log = Asked(3)
    log.refuse = True
    (found,) = {(one["event"], one["trouble"], one["exc_info"]) for one in said(log)}
    assert found == ("worker.starts_afresh", "LogUnavailable: nobody answers", False)


def test_topics_that_are_missing_are_said_with_what_to_do() -> None:
    (found,) = {(one["trouble"], one["exc_info"]) for one in said(Asked(2))}
    assert "moot topics apply" in found[0]
    assert not found[1]


def test_a_topic_with_other_partitions_is_said_with_both_counts_and_what_to_do() -> None:
    log = Asked(3)
    declare(log)
    log.create_topic(PEOPLE.name, TopicState(1, 1, {}))
    (found,) = {(one["trouble"], one["exc_info"]) for one in said(log)}
    assert found[0].startswith("TopicsOtherwise: moot.people has 1 partition, declared are 4: ")
    assert "delete" in found[0]
    assert not found[1]


class Leaving(WorkerApp):
    """Takes as long to stop as the test says, and only then comes to its client of Kafka."""

    def __init__(self, group: str) -> None:
        keeper: Any = SimpleNamespace(group=group)
        super().__init__(keeper, "127.0.0.1:1", ["moot.people"], WorkerLimits())
        self.may = asyncio.Event()
        self.left = False

    async def on_stop(self) -> None:
        await self.may.wait()

    async def _stop_children(self) -> None:
        self.left = True


def test_a_client_of_kafka_that_takes_long_to_stop_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.worker.role._STOP_SECONDS_MAX", 0.01)

    async def scene() -> None:
        codec = Codec(Keyring(MemoryKeys(), bytes(32)))
        group = GroupWorker("people", Means("", "127.0.0.1:1", MemoryLog(), codec), WorkerLimits())
        app, stopping = Leaving("people"), asyncio.Event()
        with capture_logs() as logs:
            await group._leave(app)
        assert [one["event"] for one in logs] == ["worker.stop_not_waited_for"]
        assert not app.left
        app.may.set()
        stopping.set()
        await asyncio.wait_for(group.run(stopping), SECONDS_MAX)
        assert app.left

    asyncio.run(scene())
