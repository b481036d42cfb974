"""Who is present in a server, and who types in a channel or conversation, as scenes that are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from domain.event import Id
from infra.presence import Presence, Presences, presence_channel, typing_channel
from infra.queries import conversations
from infra.queries.channel_viewers import viewers_of_channel
from infra.queries.presence import joined_since, last_joined, members_among, overrides_channel, standing_channel
from infra.queries.rows import Connection
from infra.setting import group
from infra.settings import Settings
from infra.signals import Signals
from read_api.live.following import Pool, Scene, Viewer
from read_api.live.scenes import SceneLimits, SceneTopic

People = Mapping[Id, Presence]
"""Who is present and how; nobody who is offline to others is in it."""

MadePresence = Callable[[bool, Sequence[tuple[Id, Presence]]], Any]
"""From whether it begins anew, and people with their states, to a payload."""

MadeTyping = Callable[[Sequence[Id]], Any]
"""From all who type to a payload."""


class PresenceSceneLimits(Struct, frozen=True):
    """Those settings ``presence_…`` that watching needs; see them for units and reasons."""

    coalesce_seconds: float = 0.25
    coalesce_large_seconds: float = 2.0
    large_people_min: int = 1_000
    people_max: int = 20_000
    company_max: int = 500
    page_size: int = 500
    check_seconds: float = 0.5
    refresh_seconds: float = 60.0

    @property
    def scene(self) -> SceneLimits:
        """Those of any scene."""
        return SceneLimits(self.check_seconds, self.refresh_seconds)


def scene_limits(settings: Settings) -> PresenceSceneLimits:
    """The limits, from the settings."""
    return group(settings, "presence", PresenceSceneLimits)


class PresenceScene(Scene):
    """Who is present in one place, for those who are in it."""

    def __init__(self, place_id: Id, presences: Presences, limits: PresenceSceneLimits, made: MadePresence) -> None:
        self.place_id = place_id
        self.presences = presences
        self.limits = limits
        self.made = made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PresenceScene) and other.place_id == self.place_id

    def __hash__(self) -> int:
        return hash(("presence", self.place_id))

    def topic(self, signals: Signals, pool: Pool, _turns: asyncio.Semaphore) -> PresenceTopic:
        """See ``Scene``."""
        return PresenceTopic(self, signals, pool)


class PeopleTopic(SceneTopic[People]):
    """How some people are, and how that is told."""

    def __init__(
        self,
        channel: str,
        standing: Sequence[str],
        signals: Signals,
        pool: Pool,
        limits: PresenceSceneLimits,
        made: MadePresence,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        self._presence_limits = limits
        self._made = made
        self._view = {}
        super().__init__(channel, standing, signals, pool, limits.scene, turns)

    def _payloads(self, before: People | None, after: People, viewer: Viewer) -> Sequence[Any]:
        size = self._presence_limits.page_size
        if before is None:
            people, begins = list(after.items()), True
        else:
            people = [(one, after.get(one, Presence.OFFLINE)) for one in before if after.get(one) != before[one]]
            people += [(one, state) for one, state in after.items() if one not in before]
            begins = False
        pages = range(0, max(len(people), 1 if begins else 0), size)
        return [self._made(begins and at == 0, people[at : at + size]) for at in pages]

    def _pace(self) -> float:
        limits = self._presence_limits
        return limits.coalesce_large_seconds if len(self._view) >= limits.large_people_min else limits.coalesce_seconds


class PresenceTopic(PeopleTopic):
    """Who is present in one place, while that is watched."""

    def __init__(self, scene: PresenceScene, signals: Signals, pool: Pool) -> None:
        self._place_id = place_id = scene.place_id
        self._presences = scene.presences
        self._number = 0
        self._joined = 0
        channel, standing = presence_channel(place_id), [standing_channel(place_id)]
        super().__init__(channel, standing, signals, pool, scene.limits, scene.made)

    async def _read(self, *, whole: bool) -> People:
        place_id = self._place_id
        if not whole:
            changes = await self._presences.changes(place_id, self._number)
            if changes.accounts is not None:
                shown = await self._in_place(await self._presences.shown(changes.accounts))
                self._number = changes.number
                return self._merged(changes.accounts, shown)
        number = await self._presences.last_change(place_id)
        async with self._pool.connection() as connection:
            joined = await last_joined(connection, place_id)
        present = await self._presences.present(place_id)
        # Who joined since his last heartbeat is in no index yet, and is shown all the same.
        shown = await self._presences.shown([account_id for account_id in self._view if account_id not in present])
        everybody = await self._in_place({**present, **shown})
        self._number, self._joined = number, joined
        return dict(list(everybody.items())[: self._presence_limits.people_max])

    async def _after_standing(self) -> People:
        limits = self._presence_limits
        async with self._pool.connection() as connection:
            there = await members_among(connection, self._place_id, self._view)
            joined = await joined_since(connection, self._place_id, self._joined, limits.page_size)
        if len(joined) == limits.page_size:
            self._stood(None)  # there may be more of them
        shown = await self._presences.shown([account_id for account_id, _ in joined])
        self._joined = max((position for _, position in joined), default=self._joined)
        return self._merged([account_id for account_id in self._view if account_id not in there], shown)

    async def _admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer]:
        return await members_among(connection, self._place_id, _known(viewers))

    async def _in_place(self, shown: People) -> People:
        """Those of the people who are in the place: the index in Redis knows of those who left a heartbeat later."""
        if not shown:
            return shown
        async with self._pool.connection() as connection:
            there = await members_among(connection, self._place_id, shown)
        return {account_id: state for account_id, state in shown.items() if account_id in there}

    def _merged(self, changed: Iterable[Id], shown: People) -> People:
        """The view with the states of those, offline where none is given; itself where that changes nothing."""
        merged = {**self._view}
        for account_id in changed:
            if account_id not in shown:
                merged.pop(account_id, None)
        for account_id, state in shown.items():
            if account_id in merged or len(merged) < self._presence_limits.people_max:
                merged[account_id] = state
        return self._view if merged == self._view else merged


class TypingScene(Scene):
    """Who types in one channel or conversation, for those who see it. Nobody is told of himself.

    ``server_id`` is ``None`` for a conversation. In one, two of whom one blocks the other are not told of each other.
    """

    def __init__(
        self, channel_id: Id, server_id: Id | None, presences: Presences, limits: PresenceSceneLimits, made: MadeTyping
    ) -> None:
        self.channel_id = channel_id
        self.server_id = server_id
        self.presences = presences
        self.limits = limits
        self.made = made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypingScene) and other.channel_id == self.channel_id

    def __hash__(self) -> int:
        return hash(("typing", self.channel_id))

    def topic(self, signals: Signals, pool: Pool, _turns: asyncio.Semaphore) -> TypingTopic:
        """See ``Scene``."""
        return TypingTopic(self, signals, pool)


class Typing(Struct, frozen=True):
    """Who types, and who of those who may watch is not told of whom."""

    typists: tuple[Id, ...] = ()
    apart: frozenset[tuple[Id, Id]] = frozenset()

    def seen_by(self, viewer: Viewer) -> list[Id]:
        """Of whom that one is told; ``None``: of all."""
        return [one for one in self.typists if one != viewer and (viewer, one) not in self.apart]


class TypingTopic(SceneTopic[Typing]):
    """Who types in one channel or conversation, while that is watched; who began first comes first."""

    def __init__(self, scene: TypingScene, signals: Signals, pool: Pool) -> None:
        self._channel_id = scene.channel_id
        self._server_id = scene.server_id
        self._presences = scene.presences
        self._coalesce_seconds = scene.limits.coalesce_seconds
        self._made = scene.made
        self._ends_in = scene.limits.refresh_seconds
        self._view = Typing()
        if scene.server_id is None:
            standing = [standing_channel(scene.channel_id)]
        else:
            standing = [standing_channel(scene.server_id), overrides_channel(scene.channel_id)]
        super().__init__(typing_channel(scene.channel_id), standing, signals, pool, scene.limits.scene)

    async def _after_standing(self) -> Typing:
        return await self._read(whole=True)

    async def _read(self, *, whole: bool) -> Typing:
        typists = dict(await self._presences.typists(self._channel_id))
        self._ends_in = min(typists.values(), default=self._limits.refresh_seconds)
        if not typists:
            return Typing()
        async with self._pool.connection() as connection:
            seeing = await self._seeing(connection, typists)
            apart = await self._apart(connection, typists)
        known = [one for one in self._view.typists if one in typists]
        return Typing(
            tuple(one for one in dict.fromkeys([*known, *typists]) if one in seeing),
            frozenset(apart),
        )

    async def _seeing(self, connection: Connection, account_ids: Collection[Id]) -> Collection[Id]:
        if self._server_id is None:
            return await conversations.viewers(connection, self._channel_id, account_ids)
        return await viewers_of_channel(connection, self._channel_id, account_ids)

    async def _apart(self, connection: Connection, account_ids: Collection[Id]) -> Collection[tuple[Id, Id]]:
        if self._server_id is None:
            return await conversations.apart(connection, self._channel_id, account_ids)
        return ()

    async def _admitted(self, connection: Connection, viewers: Collection[Viewer]) -> Collection[Viewer]:
        return await self._seeing(connection, _known(viewers))

    def _is_particular(self, viewer: Viewer, before: Typing | None, after: Typing) -> bool:
        return any(view.seen_by(viewer) != view.seen_by(None) for view in (before or after, after))

    def _payloads(self, before: Typing | None, after: Typing, viewer: Viewer) -> Sequence[Any]:
        others = after.seen_by(viewer)
        if before is not None and others == before.seen_by(viewer):
            return ()
        return (self._made(others),)

    def _pace(self) -> float:
        return min(self._coalesce_seconds, self._ends_in)

    def _rest(self) -> float:
        return self._ends_in


def _known(viewers: Collection[Viewer]) -> list[Id]:
    return [viewer for viewer in viewers if viewer is not None]
