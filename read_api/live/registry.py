"""The topics that are followed in this process: one for all who follow the same, open as long as anybody does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.signals import Signals
from infra.telemetry import metrics
from read_api.live.endings import Endings
from read_api.live.following import Followed, Follower, FollowLimits, Pool, Ready, Scene, Source
from read_api.live.scenes import SCENES_AT_ONCE
from read_api.live.topics import PATIENT_AT_ONCE, Topic


class _Shared:
    """A topic, who uses it, and when it is open."""

    __slots__ = ("opening", "topic", "users")

    def __init__(self, topic: Followed, opening: "asyncio.Task[None]") -> None:
        self.topic = topic
        self.opening = opening
        self.users = 0


class Topics:
    """The topics that are followed in this process."""

    def __init__(self, signals: Signals, pool: Pool, limits: FollowLimits) -> None:
        self._signals = signals
        self._pool = pool
        self.limits = limits
        self._turns = asyncio.Semaphore(PATIENT_AT_ONCE)
        self._endings = Endings(pool)
        self._scene_turns = asyncio.Semaphore(SCENES_AT_ONCE)
        self._shared: dict[Source | Scene, _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def _topic(self, source: Source | Scene) -> Followed:
        if isinstance(source, Scene):
            return source.topic(self._signals, self._pool, self._scene_turns)
        return Topic(source, self._signals, self._pool, self.limits, self._turns, self._endings)

    @asynccontextmanager
    async def following(self, source: Source | Scene, follower: Follower, ready: Ready) -> AsyncIterator[None]:
        """Deliver the events of a source, or what a scene shows, to a follower, until the block is left.

        Inside it what was missed has been delivered. Raises what ``follow`` does.
        """
        shared = self._shared.get(source)
        if shared is None:
            topic = self._topic(source)
            shared = self._shared[source] = _Shared(topic, asyncio.create_task(topic.open()))
            metrics.TOPICS.inc()
        shared.users += 1
        try:
            await asyncio.shield(shared.opening)
            await shared.topic.follow(follower, ready)
            yield
        finally:
            shared.topic.leave(follower)
            shared.users -= 1
            if shared.users == 0:
                del self._shared[source]
                metrics.TOPICS.dec()
                await asyncio.shield(_closed(shared))


async def _closed(shared: _Shared) -> None:
    await asyncio.wait([shared.opening])
    if not shared.opening.cancelled() and shared.opening.exception() is None:
        await shared.topic.close()
