"""Presence and typing: who is there, and who is about to say something. Neither is an event, and both end unaided.

A client has it easy: it sends ``heartbeat`` every ``nextHeartbeatSeconds`` with a name of its own choice for the
device, watches ``presenceChanged``, and begins anew after a lost connection: there is nothing to resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import strawberry

from domain.channel import writing
from domain.event import Id
from domain.message import Place, writable
from domain.refusal import Code, Refusal
from infra.presence import Presence
from infra.queries import presence as presence_queries
from read_api.errors import ApiCode, BadInput
from read_api.execution import UNAVAILABLE
from read_api.ids import Kind, global_id, place_id, subject_id
from read_api.live.company import CompanyScene
from read_api.live.following import NOW, Scene, gone
from read_api.live.presence import PresenceScene, TypingScene, scene_limits
from read_api.live.streams import Stream, watching
from read_api.schema.accounts import Account
from read_api.schema.common import Info
from read_api.schema.payloads import Input, Payload, refused, word
from read_api.schema.presence_states import PresenceChoice, PresenceState, choice_of

DEVICE_LENGTH_MAX = 64
"""Characters of the name that a client gives a device: a UUID, or a few words."""

P = TypeVar("P", bound=Payload)


@strawberry.input(description="One of your devices.")
class DeviceInput(Input):
    """One of the viewer's devices."""

    device: str = strawberry.field(
        description="Any name by which you tell this device, or this window, from your others: at most "
        f"{DEVICE_LENGTH_MAX} characters."
    )


@strawberry.input(description="How you want to be shown.")
class SetPresenceInput(DeviceInput):
    """How the viewer wants to be shown."""

    state: PresenceChoice = strawberry.field(description="How you want to be shown from now on.")


@strawberry.input(description="A device that is there.")
class HeartbeatInput(DeviceInput):
    """A device that is there."""

    presence: PresenceChoice | None = strawberry.field(
        default=None,
        description="The `presence` that you were answered last: it holds again should the server have lost what it "
        "knew of you, so that who was invisible stays so. Else it is not looked at.",
    )


@strawberry.input(description="Where you type.")
class TypingInput(Input):
    """Where the viewer types."""

    channel_id: strawberry.ID = strawberry.field(description="The channel or conversation.")


@strawberry.type(description="How you are now.")
class PresencePayload(Payload):
    """How the viewer is now."""

    presence: PresenceChoice | None = strawberry.field(
        default=None, description="What holds for you, of all your devices; null if none is there, or it was refused."
    )
    next_heartbeat_seconds: float = strawberry.field(
        default=0.0, description="Send the next `heartbeat` of this device in so many seconds, or it counts as gone."
    )


@strawberry.type(description="Whether it was told that you type.")
class TypingPayload(Payload):
    """Whether it was told that the viewer types."""

    repeat_seconds: float = strawberry.field(
        default=0.0, description="While you still type, say so again in so many seconds."
    )


@strawberry.type(description="How somebody is.")
class PersonPresence:
    """How somebody is."""

    account: strawberry.Private[Id]
    state: PresenceState = strawberry.field(description="How they are now.")

    @strawberry.field(description="Whose presence it is, as a global id.")
    def account_id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.ACCOUNT, self.account))

    @strawberry.field(name="account", description="Who it is; null if the account is not known yet.")
    def who(self, info: Info) -> Account | None:
        """Who it is."""
        return info.context.loaders.accounts.get(self.account)


@strawberry.type(description="Who is present, or what has changed of that.")
class PresenceChanged:
    """Who is present, or what has changed of that."""

    begins: bool = strawberry.field(
        description="Whether you are told anew: forget what you knew. Many people come in several messages, of which "
        "the first begins; who is in none is offline."
    )
    people: list[PersonPresence] = strawberry.field(description="Whose presence it is, and how they are now.")


@strawberry.type(description="Who types.")
class TypingChanged:
    """Who types."""

    typists: strawberry.Private[Sequence[Id]]

    @strawberry.field(description="All who type now, you left out; who began first comes first.")
    async def accounts(self, info: Info) -> list[Account]:
        """All who type now."""
        found = await info.context.loaders.accounts.load_many(self.typists)
        return [account for account in found if account is not None]


@strawberry.type(description="What says that somebody is there, or types.")
class PresenceMutations:
    """What says that somebody is there, or types."""

    @strawberry.mutation(
        description="Say how you want to be shown. It holds until you say otherwise on any device, and as long as this "
        "one is there; then what you said last on one of the others holds. It is a heartbeat, too."
    )
    async def set_presence(self, info: Info, input: SetPresenceInput) -> PresencePayload:
        """``Presences.set``."""

        async def work(account_id: Id) -> PresencePayload:
            device, places = _device(input), await _places(info, account_id)
            state = Presence(input.state.value)
            return _present(info, await info.context.moot.presences.set(account_id, device, state, places))

        return await _done(info, input, PresencePayload, work)

    @strawberry.mutation(
        description="Say that this device is there. One that is new is as you are elsewhere, or were last; but who "
        "comes is not idle."
    )
    async def heartbeat(self, info: Info, input: HeartbeatInput) -> PresencePayload:
        """``Presences.beat``."""

        async def work(account_id: Id) -> PresencePayload:
            device, places = _device(input), await _places(info, account_id)
            answered = Presence.ONLINE if input.presence is None else Presence(input.presence.value)
            return _present(info, await info.context.moot.presences.beat(account_id, device, places, answered))

        return await _done(info, input, PresencePayload, work)

    @strawberry.mutation(
        description="Say that this device is there no more. Without it, that is noticed in half a minute."
    )
    async def go_offline(self, info: Info, input: DeviceInput) -> PresencePayload:
        """``Presences.leave``."""

        async def work(account_id: Id) -> PresencePayload:
            return _present(info, await info.context.moot.presences.leave(account_id, _device(input)))

        return await _done(info, input, PresencePayload, work)

    @strawberry.mutation(
        description="Say that you type in a channel or conversation. Needs what writing there needs. While you are "
        "invisible, nobody is told."
    )
    async def start_typing(self, info: Info, input: TypingInput) -> TypingPayload:
        """``Presences.start_typing``."""

        async def work(account_id: Id) -> TypingPayload:
            kind, channel_id = place_id(input.channel_id, "channelId")
            writable(await _place(info, kind, channel_id))
            await info.context.moot.presences.start_typing(account_id, channel_id)
            seconds = info.context.moot.settings.typing_repeat_seconds
            return TypingPayload(errors=[], position=None, client_mutation_id=None, repeat_seconds=seconds)

        return await _done(info, input, TypingPayload, work)

    @strawberry.mutation(description="Say that you type no more. Without it, that is assumed after a few seconds.")
    async def stop_typing(self, info: Info, input: TypingInput) -> TypingPayload:
        """``Presences.stop_typing``."""

        async def work(account_id: Id) -> TypingPayload:
            _, channel_id = place_id(input.channel_id, "channelId")
            await info.context.moot.presences.stop_typing(account_id, channel_id)
            return TypingPayload(errors=[], position=None, client_mutation_id=None)

        return await _done(info, input, TypingPayload, work)


@strawberry.type(description="Who is there, and who types, as it changes.")
class PresenceSubscriptions:
    """Who is there, and who types, as it changes."""

    @strawberry.subscription(
        description="Who is present in a server, or in a conversation, that you are in; or, given neither, among all "
        "with whom you are in conversations (of very many, not the oldest): first everybody, then what changes. You "
        "are among them as others see you. In conversations you are told of nobody whom you block, or who blocks you. "
        "There is no cursor: after a lost connection you are told everybody anew."
    )
    async def presence_changed(
        self,
        info: Info,
        server_id: Annotated[strawberry.ID | None, strawberry.argument(description="Of the server.")] = None,
        conversation_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Of the conversation; without `serverId`.")
        ] = None,
    ) -> AsyncIterable[PresenceChanged]:
        """Who is present in a server, in a conversation, or in all of the viewer's conversations."""
        context = watching(info.context)
        viewer = context.require_viewer()
        presences, limits = context.moot.presences, scene_limits(context.moot.settings)
        scene: Scene
        if server_id is None:
            talk = None if conversation_id is None else subject_id(conversation_id, Kind.CONVERSATION, "conversationId")
            scene = CompanyScene(viewer, talk, presences, limits, _presence_changed)
        elif conversation_id is None:
            scene = PresenceScene(subject_id(server_id, Kind.SERVER, "serverId"), presences, limits, _presence_changed)
        else:
            message = "Give a server, a conversation, or neither, not both."
            raise BadInput(ApiCode.BAD_REQUEST, message, "conversationId")
        stream: Stream[PresenceChanged] = Stream(context.topics, scene, viewer, NOW)
        return stream

    @strawberry.subscription(
        description="Who types in a channel or conversation that you see: first how it is, then whenever it changes, "
        "also by somebody just stopping. You are not told of yourself, nor in a conversation of whom you block or who "
        "blocks you."
    )
    async def typing_changed(
        self,
        info: Info,
        channel_id: Annotated[strawberry.ID, strawberry.argument(description="Of the channel or conversation.")],
    ) -> AsyncIterable[TypingChanged]:
        """Who types in a channel or conversation."""
        context = watching(info.context)
        context.require_viewer()
        place = await _place(info, *place_id(channel_id, "channelId"))
        if place is None:
            raise gone()
        limits = scene_limits(context.moot.settings)
        scene = TypingScene(place.channel_id, place.server_id, context.moot.presences, limits, _typing_changed)
        stream: Stream[TypingChanged] = Stream(context.topics, scene, context.viewer_id, NOW)
        return stream


def _presence_changed(begins: bool, people: Sequence[tuple[Id, Presence]]) -> PresenceChanged:
    return PresenceChanged(
        begins=begins, people=[PersonPresence(account=one, state=PresenceState(state.value)) for one, state in people]
    )


def _typing_changed(typists: Sequence[Id]) -> TypingChanged:
    return TypingChanged(typists=typists)


def _device(given: DeviceInput) -> str:
    return word(given.device, "device", "The name of a device", DEVICE_LENGTH_MAX, Code.INVALID_VALUE)


async def _places(info: Info, account_id: Id) -> Sequence[Id] | None:
    """Where the account is seen; ``None`` while PostgreSQL does not say: then Redis goes by what it was told before."""
    context = info.context
    try:
        async with asyncio.timeout(context.moot.settings.presence_places_seconds_max):
            found: dict[Id, list[Id]] = await context.loaders.read(presence_queries.places_of, [account_id])
    except (*UNAVAILABLE, TimeoutError):
        return None
    return found[account_id]


async def _place(info: Info, kind: Kind, channel_id: Id) -> Place | None:
    """That channel or conversation, as the viewer stands there; ``None`` if he does not see it."""
    loaders = info.context.loaders
    if kind is Kind.CONVERSATION:
        talk = await loaders.conversations.load(channel_id)
        if talk is None:
            return None
        return Place(channel_id, None, talk.joined.party.may(), blocks=talk.joined.party.blocks)
    channel = await loaders.channels.load(channel_id)
    if channel is None:
        return None
    row, standing = channel.placed.channel, channel.inside.standing
    return Place(channel_id, row.server_id, standing.may(channel.placed.said), writing=writing(row.kind))


def _present(info: Info, holds: Presence) -> PresencePayload:
    return PresencePayload(
        errors=[],
        position=None,
        client_mutation_id=None,
        presence=choice_of(holds),
        next_heartbeat_seconds=info.context.moot.settings.presence_heartbeat_seconds,
    )


async def _done(info: Info, given: Input, payload: type[P], work: Callable[[Id], Awaitable[P]]) -> P:
    """Do it for the viewer. Whatever is refused is a user error; that Redis is away is one of the request."""
    try:
        done = await work(_viewer(info))
    except (Refusal, BadInput) as error:
        return payload(errors=[refused(error)], position=None, client_mutation_id=given.client_mutation_id)
    done.client_mutation_id = given.client_mutation_id
    return done


def _viewer(info: Info) -> Id:
    if info.context.viewer_id is None:
        raise BadInput(ApiCode.UNAUTHENTICATED, "Sign in first, then do this again.")
    return info.context.viewer_id
