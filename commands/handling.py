"""Carrying out commands: load, decide, append; once in effect, however often it is asked.

A command's id comes from who asks, the kind of command and the client's idempotency key, and what it creates
gets its id from that. A retry therefore meets its own events in the command's own stream and gets the first
outcome; it needs no table of receipts. A command whose effect already holds records nothing.

What is decided holds against everything that it was decided from, the streams that were only read included: if one of
them moved on before the append, it is decided again.

Two limits follow. A key that is used again with other content gives the first outcome: the content is not compared.
And a command that recorded nothing left no trace: a retry that comes after the effect was undone takes effect then.
"""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict

from commands import accounts, channels, comments, communities, conversations, messages, posts, servers, votes
from commands.ports import Append, Conflict, EventStore, MessageIds, Pace
from commands.use_case import Act, Decision, Streams, UseCase, refuse_too_many
from domain.account import Register
from domain.command import Command
from domain.event import Event, Id
from domain.ids import derived, uuid_text
from domain.limits import Limits
from domain.name import folded, keyed_id
from domain.refusal import Code, Refusal
from schemas.envelope import Metadata, Recorded

ATTEMPTS_AT_ONCE: Final = 3
"""Attempts after which others who want the same are let by: of two or three each has his turn without a pause."""
PAUSE_SECONDS_MAX: Final = 0.1
"""The longest pause before an attempt; any part of it, so that not all come back at the same moment."""

USE_CASES: Final[dict[type[Command], UseCase]] = {
    **accounts.cases,
    **communities.cases,
    **posts.cases,
    **comments.cases,
    **votes.cases,
    **servers.cases,
    **channels.cases,
    **conversations.cases,
    **messages.cases,
}
"""Every command there is, and how it is carried out."""


class Caller(Struct, frozen=True):
    """Who asks, and in which request.

    ``account_id`` is ``None`` for somebody who is not signed in. ``idempotency_key`` is the client's own word for
    this wish of his, the same in every retry; without one, a retry is another wish.
    """

    account_id: Id | None
    correlation_id: Id
    idempotency_key: str | None = None


class Outcome(Struct, frozen=True):
    """What a command led to.

    ``subject_id`` is what it made, or else what it was about: the account, community, post or message. A view
    that has folded the log up to ``position`` shows the effect.
    """

    subject_id: Id
    position: int


class NotSignedIn(Exception):
    """The command needs somebody who is signed in; nothing was changed."""


class Contended(Exception):
    """Others wrote first to what was decided from, at each of ``Limits.attempts_max`` attempts; nothing was changed.

    The same command may be sent again.
    """


class Commands:
    """Carries out commands over a store of events.

    ``clock`` gives the time as an aware datetime in UTC. ``name_key`` is the secret behind the ids of claims to
    names and of accounts; with another key, names would no longer be unique. ``message_ids`` makes the ids of messages,
    and ``pace`` says how fast somebody may write them.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Callable[[], datetime],
        name_key: bytes,
        limits: Limits | None = None,
        *,
        message_ids: MessageIds,
        pace: Pace,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name_key = name_key
        self._limits = limits or Limits()
        self._message_ids = message_ids
        self._pace = pace

    def account_id(self, name: str, idempotency_key: str) -> Id:
        """The account that ``Register`` of that name makes when it comes with that idempotency key.

        Another name with the same key is another account, so a key that leaked, or is used by two, gives nobody
        somebody else's. The id tells neither: it is a keyed hash.
        """
        return keyed_id(self._name_key, "account", idempotency_key, folded(name))

    async def execute(self, command: Command, caller: Caller) -> Outcome:
        """Carry out the command and say when it is in the log, durably.

        Raises ``Refusal`` when the rules say no, ``NotSignedIn``, ``Contended``, and what the store raises.
        """
        case = USE_CASES[type(command)]
        _refuse_other_types(command)
        act = self._act(command, caller)
        stream_id, subject_id = case.stream(command, act), case.subject(command, act)
        for attempt in range(self._limits.attempts_max):
            await _pause(attempt)
            streams = Streams(self._store.load)
            await streams.fetch(stream_id, *case.reads(command, act))
            own = streams.events(stream_id)
            if (before := _recorded(own, act.command_id)) is not None:
                return Outcome(_named(case, before.event, subject_id), before.position)
            decision = await case.decide(command, act, streams)
            if not decision.events:
                return Outcome(subject_id, own[-1].position if own else 0)
            if not command.ends:  # nor before it is decided that the caller sees what it is about
                refuse_too_many(own, act.actor_id, case.changes_max(self._limits))
            try:
                position = await self._store.append(_appends(stream_id, decision, streams), _metadata(act, caller))
            except Conflict:
                continue  # somebody was first: what they wrote may change the decision
            return Outcome(_named(case, decision.events[-1], subject_id), position)
        raise Contended(f"{type(command).__name__} met other writers {self._limits.attempts_max} times")

    def _act(self, command: Command, caller: Caller) -> Act:
        at, key, kind = self._clock(), caller.idempotency_key, type(command).__name__
        if isinstance(command, Register):
            actor_id = _fresh_id(at) if key is None else self.account_id(command.name, key)
            command_id = derived("command", kind, actor_id)
        elif caller.account_id is None:
            raise NotSignedIn(f"{kind} needs somebody who is signed in")
        else:
            actor_id = caller.account_id
            command_id = _fresh_id(at) if key is None else derived("command", kind, actor_id, key)
        return Act(actor_id, command_id, at, self._limits, self._name_key, self._message_ids, self._pace)


def _refuse_other_types(command: Command) -> None:
    """Raises ``INVALID_VALUE`` when a field holds no value of its type. Takes about a microsecond."""
    try:
        convert(asdict(command), type(command), strict=True)
    except ValidationError as error:
        why, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        message = f"The {field.replace('_', ' ')} is nothing that it can be ({why}). Choose another value."
        raise Refusal(Code.INVALID_VALUE, message, field) from None


def _appends(stream_id: Id, decision: Decision, streams: Streams) -> list[Append]:
    """What is decided, the command's own stream last, and before it a guard for each stream that was only read."""
    events = {other_id: events for other_id, events in decision.others if events} | {stream_id: decision.events}
    guards = [Append(read_id, streams.version(read_id), ()) for read_id in streams.others(events)]
    return guards + [Append(written_id, streams.version(written_id), said) for written_id, said in events.items()]


def _metadata(act: Act, caller: Caller) -> Metadata:
    return Metadata(
        command_id=act.command_id,
        correlation_id=caller.correlation_id,
        causation_id=None,
        actor_id=act.actor_id,
        occurred_at=act.at,
        recorded_at=act.at,  # the store puts its own time here
    )


def _recorded(own: Sequence[Recorded], command_id: Id) -> Recorded | None:
    """The last event of the command in its own stream, if it was carried out. The newest events are the likeliest."""
    for recorded in reversed(own):
        if recorded.meta.command_id == command_id:
            return recorded
    return None


def _named(case: UseCase, event: Event, subject_id: Id) -> Id:
    return subject_id if case.names is None else case.names(event)


def _fresh_id(at: datetime) -> Id:
    """A UUIDv7 (RFC 9562): the time in milliseconds, and randomness."""
    milliseconds = int(at.timestamp() * 1000)
    return uuid_text(milliseconds.to_bytes(6, "big") + os.urandom(10), version=7)


async def _pause(attempt: int) -> None:
    if attempt >= ATTEMPTS_AT_ONCE:
        longest = min(PAUSE_SECONDS_MAX, 0.002 * 2 ** (attempt - ATTEMPTS_AT_ONCE))
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret
