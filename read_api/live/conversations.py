"""Somebody's conversations, as a scene that he watches: which there are, and in which something has changed for him."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from domain.event import Id
from infra.conversation_signals import company_channel, conversations_channel
from infra.queries.conversations import Stamp, stamps, still_in
from infra.queries.rows import Connection
from infra.setting import group
from infra.settings import Settings
from infra.signals import Signals
from read_api.live.following import Pool, Scene, Viewer
from read_api.live.scenes import SceneLimits, SceneTopic

Standing = Mapping[Id, Stamp]
"""The conversations that he is in, the last joined first, each with how it is."""

MadeConversations = Callable[[bool, Sequence[Id], Sequence[Id]], Any]
"""From whether it begins anew, conversations that are new or changed, and those that he is not in any more, to a
payload."""


class ConversationSceneLimits(Struct, frozen=True):
    """The settings ``conversations_…``; see them for units and reasons."""

    coalesce_seconds: float = 0.25
    told_max: int = 1_000
    page_size: int = 50
    check_seconds: float = 0.5
    refresh_seconds: float = 300.0


def conversation_limits(settings: Settings) -> ConversationSceneLimits:
    """The limits, from the settings."""
    return group(settings, "conversations", ConversationSceneLimits)


class ConversationsScene(Scene):
    """The conversations of one account, for its own eyes."""

    def __init__(self, account_id: Id, limits: ConversationSceneLimits, made: MadeConversations) -> None:
        self.account_id = account_id
        self.limits = limits
        self.made = made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConversationsScene) and other.account_id == self.account_id

    def __hash__(self) -> int:
        return hash(("conversations", self.account_id))

    def topic(self, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> ConversationsTopic:
        """See ``Scene``."""
        return ConversationsTopic(self, signals, pool, turns)


class ConversationsTopic(SceneTopic[Standing]):
    """The conversations of one account, while it watches them on any device.

    What is unread is not read here, but by whoever is told that it may be something else: of these conversations alone.
    """

    def __init__(self, scene: ConversationsScene, signals: Signals, pool: Pool, turns: asyncio.Semaphore) -> None:
        self._account_id = account_id = scene.account_id
        self._scene_limits = scene.limits
        self._made = scene.made
        self._view = {}
        scene_limits = SceneLimits(scene.limits.check_seconds, scene.limits.refresh_seconds)
        others = [company_channel(account_id), f"reads:{account_id}"]
        super().__init__(conversations_channel(account_id), others, signals, pool, scene_limits, turns)

    async def _read(self, *, whole: bool) -> Standing:
        async with self._pool.connection() as connection:
            found = await stamps(connection, self._account_id, self._scene_limits.told_max)
            missing = [one for one in self._view if one not in found]
            # Those of them that he is in are only more than are told of, after others that he came to.
            kept = await still_in(connection, self._account_id, missing) if missing else ()
        return {**found, **{one: self._view[one] for one in missing if one in kept}}

    async def _after_standing(self) -> Standing:
        return await self._read(whole=True)

    async def _admitted(self, _: Connection, viewers: Collection[Viewer]) -> Collection[Viewer]:
        return [viewer for viewer in viewers if viewer == self._account_id]

    def _payloads(self, before: Standing | None, after: Standing, viewer: Viewer) -> Sequence[Any]:
        size, begins, known = self._scene_limits.page_size, before is None, before or {}
        told = [one for one, stamp in after.items() if known.get(one) != stamp]
        gone = [one for one in known if one not in after]
        pages = range(0, max(len(told), 1 if begins or gone else 0), size)
        return [self._made(begins and at == 0, told[at : at + size], gone if at == 0 else ()) for at in pages]

    def _pace(self) -> float:
        return self._scene_limits.coalesce_seconds
