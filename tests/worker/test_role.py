"""A group of a worker's process, and what it says while something is away."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from structlog.testing import capture_logs

from infra.codec import Codec
from infra.event_log import TopicState
from infra.keyring import Keyring, MemoryKeys
from infra.log_memory import MemoryLog
from streams.worker.limits import WorkerLimits
from streams.worker.role import GroupWorker, Means

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
