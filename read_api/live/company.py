"""How those are with whom somebody is in conversations, as a scene that he watches.

In a server many watch the same people; here each has his own: of whom one blocks the other neither is told. They are
few, so each of them is listened to, and a change of one costs one reading of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack

from domain.event import Id
from infra.conversation_signals import company_channel
from infra.presence import Presences, presence_channel
from infra.queries import conversations
from infra.queries.rows import Connection
from infra.signals import Signals
from read_api.live.following import Pool, Scene, Viewer
from read_api.live.presence import MadePresence, People, PeopleTopic, PresenceSceneLimits


class CompanyScene(Scene):
    """How those are with whom one account is in conversations, itself among them; or in one of them alone."""

    def __init__(
        self,
        account_id: Id,
        conversation_id: Id | None,
        presences: Presences,
        limits: PresenceSceneLimits,
        made: MadePresence,
    ) -> None:
        self.account_id = account_id
        self.conversation_id = conversation_id
        self.presences = presences
        self.limits = limits
        self.made = made

    @property
    def _key(self) -> tuple[str, Id, Id | None]:
        return ("company", self.account_id, self.conversation_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompanyScene) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def topic(self, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> CompanyTopic:
        """See ``Scene``."""
        return CompanyTopic(self, signals, pool, turns)


class CompanyTopic(PeopleTopic):
    """How they are, while one account watches them on any device."""

    def __init__(self, scene: CompanyScene, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> None:
        self._account_id = account_id = scene.account_id
        self._conversation_id = scene.conversation_id
        self._presences = scene.presences
        self._heard: dict[Id, AsyncExitStack] = {}
        """Who is listened to, and how to stop that."""
        channel, standing = presence_channel(account_id), [company_channel(account_id)]
        super().__init__(channel, standing, signals, pool, scene.limits, scene.made, turns)
        self._stack.push_async_callback(self._hear, ())

    async def _read(self, *, whole: bool) -> People:
        if whole:
            async with self._pool.connection() as connection:
                people = await conversations.company(
                    connection, self._account_id, self._conversation_id, self._presence_limits.company_max
                )
            await self._hear(people)  # before they are read: no change is missed
        return await self._presences.shown(list(self._heard))

    async def _after_standing(self) -> People:
        return await self._read(whole=True)

    async def _admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer]:
        own = {self._account_id}.intersection(viewer for viewer in viewers if viewer is not None)
        if self._conversation_id is None:
            return own
        return await conversations.viewers(connection, self._conversation_id, own)

    async def _hear(self, people: Sequence[Id]) -> None:
        """Listen to these and to nobody else."""
        for one in self._heard.keys() - set(people):
            await self._heard.pop(one).aclose()
        await asyncio.gather(*(self._listen(one) for one in people if one not in self._heard))

    async def _listen(self, account_id: Id) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._signals.watch(presence_channel(account_id), self._changed))
            self._heard[account_id] = stack.pop_all()
