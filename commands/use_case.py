"""What a use case is: which streams a command needs, and what it decides from them.

A use case is declared once, beside its decision::

    cases = UseCases()

    def _ballot(command: CastVote, act: Act) -> Id:
        return ballot_id(act.actor_id, command.target_id)

    @cases.on(CastVote, stream=_ballot, subject=lambda c, _: c.target_id, reads=lambda c, _: (c.target_id,))
    async def _(command: CastVote, act: Act, streams: Streams) -> Decision:
        ...

Each command has one stream of its own, known before anything is loaded. Its events are the last of their
append, so whether a command was already carried out, and where the log stood then, is read from that stream.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from commands.ports import MessageIds, Pace
from domain.command import Command
from domain.event import Event, Id
from domain.ids import derived
from domain.limits import Limits
from domain.refusal import Code, Refusal
from schemas.envelope import Recorded, Undecodable

C = TypeVar("C", bound=Command)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

Load = Callable[[Sequence[Id]], Awaitable[Mapping[Id, Sequence[Recorded]]]]


class Act(Struct, frozen=True):
    """One command being carried out: by whom, under which id, and when (UTC)."""

    actor_id: Id
    command_id: Id
    at: datetime
    limits: Limits
    name_key: bytes
    message_ids: MessageIds
    pace: Pace

    def new_id(self, kind: str) -> Id:
        """The id of what this command creates: a retry of the command gives the same one."""
        return derived(kind, self.command_id)


class Decision(Struct, frozen=True):
    """What is to be recorded: ``events`` in the command's own stream, and ``others`` elsewhere, all or nothing.

    No ``events`` means that the command's effect already holds; then there are no ``others`` either.
    """

    events: tuple[Event, ...]
    others: tuple[tuple[Id, tuple[Event, ...]], ...] = ()


class Aggregate(Protocol[S_co]):
    """What a module of ``domain`` with a state has. The modules themselves are passed as this."""

    @property
    def START(self) -> S_co:  # noqa: N802 - a constant of a module
        """The state before anything happened."""
        ...

    @property
    def evolve(self) -> Callable[[Any, Event], S_co]:
        """The state after one more event."""
        ...


class UnreadableStream(Exception):
    """A stream holds an event that cannot be read, so nothing can be decided from it.

    It was written by a newer version, or is damaged; nothing was recorded.
    """


class Streams:
    """The streams of one decision, each loaded once, as they stood then."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._streams: dict[Id, Sequence[Recorded]] = {}

    async def fetch(self, *stream_ids: Id | None) -> None:
        """Load those that are not loaded yet, in one go. Raises ``UnreadableStream``."""
        wanted = {stream_id for stream_id in stream_ids if stream_id is not None} - self._streams.keys()
        found = await self._load(tuple(wanted)) if wanted else {}
        for stream_id in wanted:
            events = found[stream_id]
            if any(type(recorded.event) is Undecodable for recorded in events):
                raise UnreadableStream(f"stream {stream_id} holds an event that cannot be read")
            self._streams[stream_id] = events

    def begin(self, stream_id: Id) -> None:
        """Take a stream for new, without a look: if it is not, what is appended to it conflicts."""
        self._streams.setdefault(stream_id, ())

    def events(self, stream_id: Id) -> Sequence[Recorded]:
        """The events of a loaded stream, oldest first."""
        return self._streams[stream_id]

    def version(self, stream_id: Id) -> int:
        """The version at which a loaded stream stood; 0 if it does not exist."""
        events = self._streams[stream_id]
        return events[-1].version if events else 0

    def others(self, stream_ids: Collection[Id]) -> Iterator[Id]:
        """The streams that are loaded and none of these."""
        return (stream_id for stream_id in self._streams if stream_id not in stream_ids)

    def state(self, aggregate: Aggregate[S], stream_id: Id | None) -> S:
        """The state of a loaded stream; that of an empty one for ``None``, or if it is of another aggregate."""
        state = aggregate.START
        for recorded in self._streams[stream_id] if stream_id is not None else ():
            state = aggregate.evolve(state, recorded.event)
        return state


class UseCase(Struct, frozen=True):
    """How one kind of command is carried out."""

    stream: Callable[[Any, Act], Id]
    subject: Callable[[Any, Act], Id]
    names: Callable[[Any], Id] | None
    reads: Callable[[Any, Act], Sequence[Id | None]]
    changes_max: Callable[[Limits], int]
    decide: Callable[[Any, Act, Streams], Awaitable[Decision]]


Decide = Callable[[C, Act, Streams], Awaitable[Decision]]


def refuse_too_many(events: Sequence[Recorded], actor_id: Id, changes_max: int) -> None:
    """Raises ``TOO_MANY_CHANGES`` when so many of a stream's events are the actor's."""
    if len(events) < changes_max:
        return
    changes = sum(recorded.meta.actor_id == actor_id for recorded in events)
    if changes >= changes_max:
        message = f"You changed this {changes} times already. You can only end or delete it now."
        raise Refusal(Code.TOO_MANY_CHANGES, message)


class UseCases(dict[type[Command], UseCase]):
    """The use cases of one module, by command."""

    def on(
        self,
        *kinds: type[Command],
        stream: Callable[[C, Act], Id],
        subject: Callable[[C, Act], Id] | None = None,
        names: Callable[[Any], Id] | None = None,
        reads: Callable[[C, Act], Sequence[Id | None]] = lambda _command, _act: (),
        changes_max: Callable[[Limits], int] = lambda limits: limits.changes_max,
    ) -> Callable[[Decide[C]], Decide[C]]:
        """Carry out these ``kinds`` of commands.

        ``stream`` is the command's own, ``subject`` what it is about (by default the id of the stream), unless the
        last event that it recorded there ``names`` it, and ``reads`` are the other streams it needs, as far as they are
        known beforehand: they come in one load.
        ``changes_max`` is how many events of one account its stream may hold before it takes no more of his.
        """

        def register(decide: Decide[C]) -> Decide[C]:
            for kind in kinds:
                self[kind] = UseCase(
                    stream=stream,
                    subject=subject or stream,
                    names=names,
                    reads=reads,
                    changes_max=changes_max,
                    decide=decide,
                )
            return decide

        return register
