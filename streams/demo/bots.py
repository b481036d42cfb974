"""A few bots that post, comment, vote and chat as people of the demo, so that there is something to watch."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from commands.handling import Caller, Commands, Contended
from commands.ports import StoreUnavailable
from domain.ballot import CastVote
from domain.command import Command
from domain.comment import SubmitComment
from domain.event import Id
from domain.ids import derived
from domain.post import SubmitPost
from domain.refusal import Refusal
from streams.demo.chat import Chatter, Hall
from streams.demo.words import PLACES, Speaker

BOTS = 4
"""Bots at work at the same time; one more chats."""
PAUSE_SECONDS = 2.0
"""How long a bot rests between two acts, on average."""
RECENT_POSTS = 40
"""The newest posts, in whichever public community, that bots look at; anybody's, also the newcomer's who watches."""

_log = structlog.get_logger(__name__)


class Bots:
    """People of the demo at work. They act only in the names of accounts that the demo itself registered."""

    def __init__(
        self,
        commands: Commands,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        people: list[Id],
        *,
        hall: Hall | None = None,
        seed: int = 2,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._commands = commands
        self._pool = pool
        self._people = people
        self._chance = random.Random(seed)  # noqa: S311 - a play, not a secret
        self._speaker = Speaker(self._chance)
        self._chatter = None if hall is None else Chatter(self._chance, hall)
        self._pause_seconds = pause_seconds
        self.acts = 0

    async def run(self, on_act: Callable[[str], None] = lambda _: None) -> None:
        """Work until cancelled. ``on_act`` hears the name of each command that was carried out."""
        async with asyncio.TaskGroup() as bots:
            for _ in range(BOTS):
                bots.create_task(self._work(on_act, self._post_or_vote))
            if self._chatter is not None:
                bots.create_task(self._work(on_act, self._chat))

    async def _work(self, on_act: Callable[[str], None], act: Callable[[], Awaitable[Command | None]]) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._pause_seconds))
            try:
                command = await act()
                if command is None:
                    continue
            except Refusal as refusal:
                _log.debug("bots.refused", code=refusal.code)
            except (StoreUnavailable, psycopg.OperationalError, Contended) as error:
                _log.info("bots.waiting", reason=str(error))
            else:
                self.acts += 1
                on_act(type(command).__name__)

    async def _post_or_vote(self) -> Command | None:
        command = await self._next()
        if command is not None:
            await self._commands.execute(command, self._caller(self._chance.choice(self._people)))
        return command

    async def _chat(self) -> Command | None:
        assert self._chatter is not None
        who, name, room, command = self._chatter.next()
        outcome = await self._commands.execute(command, self._caller(who))
        self._chatter.heard(who, name, room, command, outcome)
        return command

    def _caller(self, who: Id) -> Caller:
        return Caller(who, derived("bot", str(self._chance.random())))

    async def _next(self) -> Command | None:
        """Mostly a vote, sometimes a comment, now and then a post."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT f.post_id, c.community_id, c.name FROM views.feed f"
                " JOIN views.communities c ON c.community_id = f.community_id"
                " WHERE c.visibility = 'public' AND NOT f.deleted AND f.submitted_at IS NOT NULL"
                " ORDER BY f.submitted_at DESC, f.post_id LIMIT %s",
                (RECENT_POSTS,),
            )
            posts = await cursor.fetchall()
            if not posts:
                return None
            post_id, community_id, community = posts[min(int(self._chance.expovariate(0.15)), len(posts) - 1)]
            cursor = await connection.execute(
                "SELECT comment_id FROM views.comments WHERE post_id = %s AND NOT deleted AND submitted_at IS NOT NULL"
                " ORDER BY position DESC LIMIT 20",
                (post_id,),
            )
            comments = [row[0] for row in await cursor.fetchall()]
        place = next((place for place in PLACES if place.name == community), self._chance.choice(PLACES))
        dice = self._chance.random()
        if dice < 0.03:
            return SubmitPost(community_id, "text", self._speaker.title(place), self._speaker.body(place))
        if dice < 0.3:
            parent = self._chance.choice(comments) if comments and self._chance.random() < 0.6 else None
            return SubmitComment(post_id, parent, self._speaker.reply(place))
        target = self._chance.choice(comments) if comments and self._chance.random() < 0.4 else post_id
        return CastVote(target, 1 if self._chance.random() < 0.8 else -1)
