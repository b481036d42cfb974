"""People who send commands to several API processes at once, remember every answer, and compare them with the log."""

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import httpx
from msgspec import Struct

from domain.ballot import VoteCast
from domain.comment import CommentSubmitted
from domain.community import CommunityCreated
from domain.event import Id
from domain.ids import derived
from domain.message import MessageSent
from domain.post import PostSubmitted
from read_api.cursors import Sealer, open_position
from read_api.ids import parse_id
from schemas.envelope import Recorded
from tests.api.stack import Client

ANSWER_SECONDS_MAX = 8.0
"""A client that waits longer than this for an answer goes elsewhere."""
PAUSE_SECONDS = 0.02
"""Between two commands of one person in the forum, so that the fleet is busy and not overrun."""
RETRY_SECONDS = 0.2
GIVES_UP = 0.1
"""The share of people who, once without an answer, do not ask again."""
ASKS_AGAIN = 0.1
"""The share of commands that are sent once more although they were acknowledged, as a client does that crashed."""
MORE_SECONDS_MAX = 60.0

MADE = {
    "CastVote": VoteCast,
    "SubmitPost": PostSubmitted,
    "SubmitComment": CommentSubmitted,
    "CreateCommunity": CommunityCreated,
    "SendMessage": MessageSent,
}
"""The event that each command leads to once, if it is carried out."""
MAYBE = {"UNAVAILABLE"}
"""Codes of answers that leave open whether anything happened. Any other top-level error would be a false one here."""
WISHES = {"CastVote": 70, "SubmitPost": 10, "SubmitComment": 15, "CreateCommunity": 5}
"""How often people in the forum want what, in percent."""
VALUES = ("UP", "DOWN", "NONE")


class Wish(Struct, kw_only=True):
    """One command, ``given`` with the client's word for it, and what its sender was told in the end.

    ``key`` is the idempotency key that this word makes.
    """

    kind: str
    key: str
    actor_id: Id
    given: dict[str, Any]
    told: Literal["done", "refused", "nothing"] = "nothing"
    position: str = ""
    asked: int = 0
    late: bool = False
    """Whether its sender had given up, and asked once more in the end."""
    codes: list[str] = []
    """Of the refusal, or of the answers that were neither."""

    @property
    def command_id(self) -> Id:
        """As the events of the command bear it."""
        return derived("command", self.kind, self.actor_id, self.key)


class Person(Thread, ABC):
    """Sends one command after the other, each to any of the processes; without an answer, again to another one."""

    def __init__(self, crowd: "Crowd", who: Client, seed: int) -> None:
        super().__init__(name=f"person {seed}", daemon=True)
        self.wishes: list[Wish] = []
        self.failed: Exception | None = None
        self.actor_id = parse_id(who.id)[1]
        self.random = random.Random(seed)
        self._crowd = crowd
        headers = {"Authorization": who.http.headers["Authorization"]}
        self._ways = [
            httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS_MAX, trust_env=False, verify=False)
            for url in crowd.urls
        ]

    @abstractmethod
    def wish(self) -> Wish:
        """What is wanted next."""

    def unsure(self, wish: Wish) -> None:
        """Whether that was done is not known, or it was refused."""

    def run(self) -> None:
        """Until the crowd is told to stop."""
        try:
            while not self._crowd.stopping.wait(self._crowd.pause_seconds):
                wish = self.wish()
                self.wishes.append(wish)
                self._send(wish)
                self._crowd.heard(wish)
            if self._crowd.asks_again:
                self._ask_again()
        except Exception as error:  # noqa: BLE001 - raised where the crowd is stopped
            self.failed = error
            self._crowd.heard(None)
        finally:
            for way in self._ways:
                way.close()

    def _ask_again(self) -> None:
        """Once everything is well: whoever was not told asks once more, with the same key, and then is told."""
        for wish in self.wishes:
            for way in self._ways:
                if wish.told == "nothing":
                    wish.asked, wish.late = wish.asked + 1, True
                    self._ask(wish, way)
            assert wish.told != "nothing", f"nothing is away, and yet: {wish}"

    def _send(self, wish: Wish) -> None:
        turn = self.random.randrange(len(self._ways))
        gives_up = self.random.random() < GIVES_UP
        while True:
            wish.asked += 1
            self._ask(wish, self._ways[(turn + wish.asked) % len(self._ways)])
            if wish.told != "nothing":
                break
            self._crowd.missed()
            if gives_up or self._crowd.stopping.is_set():
                break
            self._crowd.stopping.wait(RETRY_SECONDS)
        if wish.told == "done" and self.random.random() < ASKS_AGAIN:
            position = wish.position
            self._ask(wish, self._ways[(turn + wish.asked + 1) % len(self._ways)])
            assert (wish.told, wish.position) == ("done", position), f"another reply to the same command: {wish}"
        if wish.told != "done":
            self.unsure(wish)

    def _ask(self, wish: Wish, way: httpx.Client) -> None:
        field = wish.kind[0].lower() + wish.kind[1:]
        query = (
            f"mutation($input: {wish.kind}Input!) {{ made: {field}(input: $input) {{ position errors {{ code }} }} }}"
        )
        try:
            answer = way.post(
                "/graphql",
                json={"query": query, "variables": {"input": wish.given}},
            ).json()
        except (httpx.TransportError, ValueError):
            return
        made = (answer.get("data") or {}).get("made")
        if made is None:
            wish.codes += [error["extensions"]["code"] for error in answer["errors"]]
        elif made["errors"]:
            wish.told, wish.codes = "refused", wish.codes + [error["code"] for error in made["errors"]]
        else:
            wish.told, wish.position = "done", made["position"]


class Crowd(ABC):
    """Several people at work. A context manager: on leaving it they have stopped, each with his last answer.

    With ``asks_again`` whoever is without one by then asks once more, with the same key; all must be well by then.
    """

    def __init__(
        self, urls: Sequence[str], people: Sequence[Client], *, asks_again: bool = False, pause_seconds: float = 0.0
    ) -> None:
        self.urls, self.asks_again, self.pause_seconds = urls, asks_again, pause_seconds
        self.stopping = Event()
        self.unanswered = 0
        """How often somebody was not told whether a command was carried out."""
        self._done = 0
        self._more = Condition()
        self._people = [self.person(who, seed) for seed, who in enumerate(people)]

    @abstractmethod
    def person(self, who: Client, seed: int) -> Person:
        """One of them."""

    @property
    def wishes(self) -> list[Wish]:
        """All of them so far."""
        return [wish for person in self._people for wish in person.wishes]

    def heard(self, wish: Wish | None) -> None:
        """Somebody has his answer, or can go on no more."""
        with self._more:
            self._done += wish is not None and wish.told == "done"
            self._more.notify_all()

    def missed(self) -> None:
        """Somebody was not told whether his command was carried out."""
        with self._more:
            self.unanswered += 1
            self._more.notify_all()

    def gets_on(self, commands: int, seconds: float = MORE_SECONDS_MAX) -> None:
        """Wait until so many more commands were acknowledged."""
        with self._more:
            wanted = self._done + commands
            assert self._more.wait_for(lambda: self._done >= wanted or self._failed(), seconds), (self._done, wanted)
        assert not self._failed(), self._failed()

    def suffers(self, seconds: float = MORE_SECONDS_MAX) -> None:
        """Wait until somebody more was left without an answer."""
        before = self.unanswered
        with self._more:
            assert self._more.wait_for(lambda: self.unanswered > before or self._failed(), seconds)
        assert not self._failed(), self._failed()

    def _failed(self) -> list[Exception]:
        return [person.failed for person in self._people if person.failed is not None]

    def __enter__(self) -> Self:
        for person in self._people:
            person.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for person in self._people:
            person.join(2 * ANSWER_SECONDS_MAX)
            assert not person.is_alive(), person.name
        if kind is None and self._failed():
            raise self._failed()[0]

    def assert_kept(self, log: Sequence[Recorded], after: int, sealer: Sealer) -> None:
        """What was told is what is in the log after that position; and nothing is there that nobody asked for."""
        events: dict[Id, list[Recorded]] = defaultdict(list)
        for recorded in log[after:]:
            events[recorded.meta.command_id].append(recorded)
        wishes = {wish.command_id: wish for wish in self.wishes}
        assert events.keys() <= wishes.keys(), "something happened that nobody asked for"
        for command_id, wish in wishes.items():
            found = events[command_id]
            made = [recorded.position for recorded in found if type(recorded.event) is MADE[wish.kind]]
            assert set(wish.codes) <= MAYBE or wish.told == "refused", f"a false error: {wish}"
            match wish.told:
                case "done":
                    assert len(made) == 1, f"acknowledged, and in the log {len(made)} times: {wish}"
                    assert open_position(sealer, wish.position) == found[-1].position, f"another position: {wish}"
                case "refused" if wish.asked == 1:
                    assert not found, f"refused, and in the log all the same: {wish}"
                case _:
                    assert len(made) <= 1, f"once asked for, and in the log {len(made)} times: {wish}"
                    assert not (found and "NAME_TAKEN" in wish.codes), f"refused for its own sake: {wish}"
        for person in self._people:
            places = [
                open_position(sealer, wish.position) for wish in person.wishes if wish.told == "done" and not wish.late
            ]
            assert places == sorted(set(places)), "one who waits for each answer finds another order in the log"
        assert any(wish.told == "done" for wish in self.wishes)


class Forum(Crowd):
    """People who vote, comment, post and found communities."""

    def __init__(
        self,
        urls: Sequence[str],
        people: Sequence[Client],
        *,
        community: str,
        posts: Sequence[str],
        locked: str,
        asks_again: bool = False,
    ) -> None:
        self.community, self.posts, self.locked = community, posts, locked
        self.name = f"n{uuid4().hex[:8]}"
        self.names = count()
        super().__init__(urls, people, asks_again=asks_again, pause_seconds=PAUSE_SECONDS)

    def person(self, who: Client, seed: int) -> Person:
        """See ``Crowd``."""
        return Poster(self, who, seed)

    def assert_kept(self, log: Sequence[Recorded], after: int, sealer: Sealer) -> None:
        """See ``Crowd``."""
        super().assert_kept(log, after, sealer)
        assert any(wish.told == "refused" for wish in self.wishes)


class Poster(Person):
    """One of them."""

    def __init__(self, forum: Forum, who: Client, seed: int) -> None:
        super().__init__(forum, who, seed)
        self._forum = forum
        self._votes: dict[str, str] = {}
        self._posts = list(forum.posts)

    def wish(self) -> Wish:
        """See ``Person``."""
        kind = self.random.choices(list(WISHES), list(WISHES.values()))[0]
        key, forum = str(uuid4()), self._forum
        match kind:
            case "CastVote" if self._posts:
                target = self.random.choice(self._posts)
                # Another value than before each time, or there would be nothing to record.
                value = self.random.choice([one for one in VALUES if one != self._votes.get(target, "NONE")])
                self._votes[target] = value
                given = {"targetId": target, "value": value}
            case "SubmitPost":
                given = {"communityId": forum.community, "title": key}
            case "CreateCommunity":
                # Two people each want the same name, so that one of them is refused: but never for his own sake.
                given = {"name": f"{forum.name}_{next(forum.names) // 2}"}
            case _:
                kind = "SubmitComment"
                # Some go below a post that is locked, and are refused.
                given = {"postId": self.random.choice([*forum.posts, forum.locked]), "body": key}
        return Wish(kind=kind, key=key, actor_id=self.actor_id, given=given | {"idempotencyKey": key})

    def unsure(self, wish: Wish) -> None:
        """See ``Person``. Whether a vote counts is not known, so what would be another value is not, either."""
        if wish.kind == "CastVote":
            self._posts.remove(wish.given["targetId"])
