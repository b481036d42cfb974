"""The first week of the demo: everything its people did, through the same commands as anybody's, at past times.

The sizes follow power laws (Zipf's: the weight of the n-th is 1/n to the power of an exponent): few have most
followers, few communities most posts, few posts most comments and votes. Every act carries an idempotency key, so
a week that was interrupted is completed by running it again, and running it once more changes nothing.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Generic, TypeVar

from msgspec import Struct

from commands.handling import Caller, Commands, Outcome
from commands.ports import EventStore
from domain.account import Register
from domain.ballot import CastVote
from domain.command import Command
from domain.comment import SubmitComment
from domain.community import CreateCommunity
from domain.event import Id
from domain.follow import Follow
from domain.ids import derived
from domain.limits import Limits
from domain.membership import JoinCommunity
from domain.post import SubmitPost
from domain.refusal import Refusal
from infra.pace import Unpaced
from infra.snowflakes import PastIds
from streams.demo.chat import Chatter, Hall, found, week_of
from streams.demo.words import PLACES, Place, Speaker

AT_ONCE = 64
"""Commands under way at the same time: what one group commit takes."""
SPAN = timedelta(days=6, hours=20)
"""How far back the week begins. Hot counts posts below seven days of age."""

_T = TypeVar("_T")


class Size(Struct, frozen=True):
    """How much happens in the week."""

    people: int = 160
    posts: int = 260
    comments: int = 1_800
    votes: int = 9_000
    follows: int = 900
    joins: int = 700
    chatters: int = 40
    chats: int = 600
    """What is done in the chat: mostly messages."""


class _Weighted(Generic[_T]):
    """A list whose n-th entry is drawn with the weight 1/n to the power of ``exponent``; it may grow."""

    def __init__(self, chance: random.Random, exponent: float) -> None:
        self._chance = chance
        self._exponent = exponent
        self._entries: list[_T] = []
        self._weights: list[float] = []

    def add(self, entry: _T) -> None:
        self._entries.append(entry)
        self._weights = list(accumulate(1 / n**self._exponent for n in range(1, len(self._entries) + 1)))

    def draw(self) -> _T:
        return self._chance.choices(self._entries, cum_weights=self._weights)[0]


class Written(Struct, frozen=True):
    """A post or comment that is there to be answered and voted on."""

    place: Place
    post_id: Id
    comment_id: Id | None
    at: datetime

    @property
    def target_id(self) -> Id:
        """What a vote is cast on."""
        return self.post_id if self.comment_id is None else self.comment_id


class Week:
    """Plays the week. ``until`` is its end, usually now; ``seed`` decides everything else.

    ``people`` are the accounts it has registered, ``hall`` is their chat server, ``done`` and ``refused`` count acts.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        name_key: bytes,
        limits: Limits,
        until: datetime,
        seed: int = 1,
        size: Size | None = None,
    ) -> None:
        self._store = store
        self._name_key = name_key
        self._message_ids = PastIds()
        self._limits = limits
        self._until = until
        self._size = size or Size()
        self._chance = random.Random(seed)  # noqa: S311 - a play, not a secret
        self._speaker = Speaker(self._chance)
        self._people: _Weighted[Id] = _Weighted(self._chance, 0.8)
        self._places: _Weighted[tuple[Place, Id]] = _Weighted(self._chance, 0.7)
        self._run = derived("demo", str(seed))
        self._acts = 0
        self.people: list[Id] = []
        self.hall: Hall | None = None
        self.done = 0
        self.refused = 0

    @property
    def total(self) -> int:
        """About how many acts the week has, for a progress bar."""
        size = self._size
        return (
            size.people + len(PLACES) + size.posts + size.comments + size.votes + size.follows + size.joins + size.chats
        )

    async def play(self, on_progress: Callable[[int], None] = lambda _: None) -> None:
        """Carry out everything, oldest first. ``on_progress`` gets the number of acts done so far."""
        start = self._until - SPAN
        names = self._speaker.names(self._size.people)
        accounts = await self._together(
            [self._act(None, Register(person, person.replace("_", " ").title()), start) for person in names],
            on_progress,
        )
        self.people = people = [account.subject_id for account in accounts if account]
        for person in people:
            self._people.add(person)
        for place in PLACES:
            founder = self._people.draw()
            created = await self._act(
                founder,
                CreateCommunity(place.name, place.title, place.description, anonymous_allowed=place.anonymous_allowed),
                start + timedelta(minutes=5),
            )
            if created is not None:
                self._places.add((place, created.subject_id))
        early = start + timedelta(minutes=10)
        joins = [(self._chance.choice(people), self._places.draw()[1]) for _ in range(self._size.joins)]
        await self._together([self._act(who, JoinCommunity(where), early) for who, where in joins], on_progress)
        follows = [(self._chance.choice(people), self._people.draw()) for _ in range(self._size.follows)]
        await self._together([self._act(who, Follow(whom), early) for who, whom in follows if who != whom], on_progress)
        await self._talk(people, start + timedelta(minutes=15), on_progress)
        chatters = [(account.subject_id, name) for name, account in zip(names, accounts, strict=True) if account]
        await self._chat(chatters[: self._size.chatters], start + timedelta(minutes=15), on_progress)

    async def _chat(self, members: list[tuple[Id, str]], start: datetime, on_progress: Callable[[int], None]) -> None:
        """The chat of the week, by chances of its own: what comes before it stays as it was without it."""

        async def together(acts: Sequence[Coroutine[Any, Any, Outcome | None]]) -> list[Outcome | None]:
            return await self._together(acts, on_progress)

        self.hall = hall = await found(self._act, together, members, start)
        if hall is not None:
            await week_of(
                Chatter(random.Random(f"{self._run} chat"), hall),  # noqa: S311 - a play, not a secret
                self._act,
                together,
                start=start + timedelta(minutes=5),
                length=self._until - start - timedelta(minutes=10),
                messages=self._size.chats,
                rounds=60,
            )

    async def _talk(self, people: Sequence[Id], start: datetime, on_progress: Callable[[int], None]) -> None:
        """Posts, comments and votes, in rounds: each answers what was there before it."""
        rounds = 60
        size = self._size
        hottest: _Weighted[Written] = _Weighted(self._chance, 0.6)
        voted: set[tuple[Id, Id]] = set()
        posts = await self._post(people, start, start, max(8, size.posts // 10), on_progress)
        for written in posts:
            hottest.add(written)
        length = (self._until - start) / rounds
        for number in range(rounds):
            begin = start + number * length
            acts: list[tuple[Id, Command, datetime, Written]] = []
            for _ in range(size.comments // rounds):
                below = hottest.draw()
                reply = SubmitComment(below.post_id, below.comment_id, self._speaker.reply(below.place))
                acts.append((self._chance.choice(people), reply, begin + self._chance.random() * length, below))
            outcomes = await self._together([self._act(who, what, at) for who, what, at, _ in acts], on_progress)
            for (_, _, at, below), outcome in zip(acts, outcomes, strict=True):
                if outcome is not None:
                    hottest.add(Written(below.place, below.post_id, outcome.subject_id, at))
            for written in await self._post(
                people, begin, begin + length, round(size.posts * 0.9 / rounds), on_progress
            ):
                hottest.add(written)
            ballots = {(self._chance.choice(people), hottest.draw().target_id) for _ in range(size.votes // rounds)}
            votes = [
                (who, CastVote(on, 1 if self._chance.random() < 0.82 else -1)) for who, on in sorted(ballots - voted)
            ]
            voted |= ballots
            await self._together([self._act(who, vote, begin + length) for who, vote in votes], on_progress)

    async def _post(
        self, people: Sequence[Id], begin: datetime, end: datetime, number: int, on_progress: Callable[[int], None]
    ) -> list[Written]:
        acts = []
        for _ in range(number):
            place, community_id = self._places.draw()
            link = self._chance.random() < 0.25
            post = SubmitPost(
                community_id,
                "link" if link else "text",
                self._speaker.title(place),
                "" if link else self._speaker.body(place),
                f"https://example.com/{place.name}/{self._chance.randrange(10**6)}" if link else None,
                place.anonymous_allowed and self._chance.random() < 0.7,
            )
            acts.append((self._people.draw(), post, begin + self._chance.random() * (end - begin), place))
        outcomes = await self._together([self._act(who, what, at) for who, what, at, _ in acts], on_progress)
        return [
            Written(place, outcome.subject_id, None, at)
            for (_, _, at, place), outcome in zip(acts, outcomes, strict=True)
            if outcome is not None
        ]

    async def _together(
        self, acts: Sequence[Coroutine[Any, Any, Outcome | None]], on_progress: Callable[[int], None]
    ) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = []
        for start in range(0, len(acts), AT_ONCE):
            outcomes += await asyncio.gather(*acts[start : start + AT_ONCE])
            on_progress(self.done)
        return outcomes

    def _act(self, who: Id | None, command: Command, at: datetime) -> Coroutine[Any, Any, Outcome | None]:
        """The act, not yet begun, with the next key; its outcome is ``None`` where the rules say no."""
        self._acts += 1
        caller = Caller(who, self._run, f"demo {self._acts}")
        commands = Commands(
            self._store,
            lambda: at,
            self._name_key,
            self._limits,
            message_ids=self._message_ids.at(at),
            pace=Unpaced(),
        )

        async def carry_out() -> Outcome | None:
            try:
                return await commands.execute(command, caller)
            except Refusal:
                self.refused += 1  # somebody voted on what was gone, or joined twice: as in any community
                return None
            finally:
                self.done += 1

        return carry_out()
