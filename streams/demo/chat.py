"""The chat server of the demo: who is in it, what was said there in the week, and what its bots go on saying."""

import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, field

from commands.handling import Outcome
from domain.channel import CreateChannel
from domain.command import Command
from domain.event import Id
from domain.invite import CreateInvite, JoinServer, code_of
from domain.message import EditMessage, SendMessage
from domain.permissions import Permission
from domain.reaction import AddReaction
from domain.role import CreateRole
from domain.server import CreateServer
from domain.server_member import GrantRole
from streams.demo.words import PLACES, Place, Speaker

SERVER: Final = "Commons"
"""What the chat server is called."""
GENERAL: Final = "general"
"""Its first channel; the others are called as the communities are."""
_TOPICS: Final = 3
_KEEPERS: Final = 3
_RECENT: Final = 12
"""Of the newest messages of a channel one is answered or reacted to."""
_EMOJI: Final = ("👍", "😄", "🎉", "❤️", "👀", "🌱")

Act = Callable[[Id | None, Command, datetime], Coroutine[Any, Any, Outcome | None]]
Together = Callable[[Sequence[Coroutine[Any, Any, Outcome | None]]], Coroutine[Any, Any, list[Outcome | None]]]


class Said(Struct, frozen=True):
    """A message that is there to be answered."""

    message_id: Id
    author_id: Id
    author: str


class Room(Struct):
    """A channel with what people talk about there, and what was said last. ``place`` is ``None``: about everything."""

    channel_id: Id
    place: Place | None
    said: list[Said] = field(default_factory=list)


class Hall(Struct):
    """The chat server as it stands. ``members`` are ids and names; ``invite`` is a code that does not expire."""

    invite: str
    members: list[tuple[Id, str]]
    rooms: list[Room]


class Chatter:
    """Thinks of what is done next in the chat: mostly something said, sometimes a reaction, now and then an edit."""

    def __init__(self, chance: random.Random, hall: Hall) -> None:
        self._chance = chance
        self._speaker = Speaker(chance)
        self.hall = hall

    def next(self) -> tuple[Id, str, Room, Command]:
        """Who, in which channel, does what."""
        room = self._chance.choices(self.hall.rooms, weights=range(len(self.hall.rooms), 0, -1))[0]
        # Few say most.
        who, name = self.hall.members[min(int(self._chance.expovariate(0.1)), len(self.hall.members) - 1)]
        recent = room.said[-_RECENT:]
        dice = self._chance.random()
        if recent and dice < 0.25:
            return who, name, room, AddReaction(self._chance.choice(recent).message_id, self._chance.choice(_EMOJI))
        mine = [said for said in recent if said.author_id == who]
        if mine and dice < 0.3:
            return who, name, room, EditMessage(mine[-1].message_id, self._text(room))
        others = [said for said in recent if said.author_id != who]
        if others and dice < 0.5:
            answered = self._chance.choice(others).message_id
            return who, name, room, SendMessage(room.channel_id, self._text(room), answered)
        if others and dice < 0.6:
            named = self._chance.choice(others).author
            return who, name, room, SendMessage(room.channel_id, f"@{named} {self._text(room)}")
        return who, name, room, SendMessage(room.channel_id, self._text(room))

    def heard(self, who: Id, name: str, room: Room, command: Command, outcome: Outcome) -> None:
        """Keep in mind what was said."""
        if isinstance(command, SendMessage):
            room.said.append(Said(outcome.subject_id, who, name))
            del room.said[:-_RECENT]

    def _text(self, room: Room) -> str:
        return self._speaker.reply(room.place or self._chance.choice(PLACES))


async def found(act: Act, together: Together, members: list[tuple[Id, str]], at: datetime) -> Hall | None:
    """Open the server: its channels, roles and an invite, by which the others join. ``None`` where the rules say no."""
    owner, _ = members[0]
    server = await act(owner, CreateServer(SERVER, "Where the people of the demo chat. Come in!"), at)
    if server is None:
        return None
    invite = await act(owner, CreateInvite(server.subject_id, expires_seconds=None), at)
    keepers = await act(
        owner, CreateRole(server.subject_id, "Keepers", int(Permission.MANAGE_MESSAGES | Permission.KICK_MEMBERS)), at
    )
    rooms: list[Room] = []
    for place in (None, *PLACES[:_TOPICS]):
        name, topic = (place.name, place.description) if place else (GENERAL, "Everything else. Say hello!")
        channel = await act(owner, CreateChannel(server.subject_id, name, topic=topic), at)
        if channel is not None:
            rooms.append(Room(channel.subject_id, place))
    await act(owner, CreateChannel(server.subject_id, "news", "announcement", "From the keepers."), at)
    if invite is None or keepers is None or not rooms:
        return None
    code = code_of(invite.subject_id)
    await together([act(who, JoinServer(code), at) for who, _ in members[1:]])
    await together(
        [act(owner, GrantRole(server.subject_id, who, keepers.subject_id), at) for who, _ in members[1 : _KEEPERS + 1]]
    )
    return Hall(code, members, rooms)


async def week_of(
    chatter: Chatter, act: Act, together: Together, *, start: datetime, length: timedelta, messages: int, rounds: int
) -> None:
    """What was said from ``start`` on, about so many acts, in rounds: each answers what was there before it."""
    for number in range(rounds):
        each = messages // rounds
        pause = length / rounds / (each + 1)
        acts = [(chatter.next(), start + number * (length / rounds) + (n + 1) * pause) for n in range(each)]
        outcomes = await together([act(who, command, at) for (who, _, _, command), at in acts])
        for ((who, name, room, command), _), outcome in zip(acts, outcomes, strict=True):
            if outcome is not None:
                chatter.heard(who, name, room, command, outcome)
