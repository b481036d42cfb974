"""One mutation for each thing that somebody may do to channels. Each takes one ``input`` and does one command."""

from __future__ import annotations

from typing import cast

import strawberry

import domain.channel
from domain.channel import CreateChannel, DeleteChannel, EditChannel, SeenOverride, SetOverride, WantedOverride
from domain.channel_list import MoveChannel
from domain.command import Command
from domain.event import Id
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, parse_id, subject_id
from read_api.schema.common import Info
from read_api.schema.payloads import ChannelPayload, Input, answer
from read_api.schema.permissions import Permission, number_of
from read_api.schema.server_mutations import ServerInput, server_of
from read_api.schema.servers import ChannelKind


@strawberry.input(description="What a new channel says of a role or a member.")
class OverrideInput:
    """What a channel says of a role or a member."""

    target_id: strawberry.ID = strawberry.field(description="A role of the server, or an account in it.")
    allow: list[Permission] = strawberry.field(
        default_factory=list, description="What is allowed, whatever the server says."
    )
    deny: list[Permission] = strawberry.field(
        default_factory=list, description="What is denied, whatever the server says."
    )


@strawberry.input(description="A new channel, behind all others.")
class CreateChannelInput(ServerInput):
    """A new channel."""

    name: str = strawberry.field(description="What it is called.")
    kind: ChannelKind = strawberry.field(default=ChannelKind.TEXT, description="What it is for.")
    topic: str = strawberry.field(default="", description="What it is about, in Markdown.")
    slow_mode_seconds: int = strawberry.field(
        default=0, description="Seconds between two messages of one person; 0: no slow mode."
    )
    overrides: list[OverrideInput] = strawberry.field(
        default_factory=list,
        description="Whom it treats otherwise than the server does, from its beginning on: what everyone is denied to "
        "see is not seen for a moment by those to whom nothing allows it.",
    )


@strawberry.input(description="A channel.")
class ChannelInput(Input):
    """A channel."""

    channel_id: strawberry.ID = strawberry.field(description="The channel.")


@strawberry.input(description="What changes; what is left out stays as it is.")
class EditChannelInput(ChannelInput):
    """What changes in a channel."""

    name: str | None = strawberry.field(default=None, description="The new name.")
    topic: str | None = strawberry.field(default=None, description="The new topic, in Markdown.")
    slow_mode_seconds: int | None = strawberry.field(default=None, description="The new slow mode; 0: none.")


@strawberry.input(description="Where a channel is put.")
class MoveChannelInput(ServerInput):
    """Where a channel is put."""

    channel_id: strawberry.ID = strawberry.field(description="The channel.")
    after_id: strawberry.ID | None = strawberry.field(
        default=None, description="The channel that it is put directly behind; left out: first of all."
    )


@strawberry.input(description="What you saw that a channel says of a role or a member; nothing at all: nothing.")
class SeenOverrideInput:
    """What a channel said when it was looked at."""

    allow: list[Permission] = strawberry.field(default_factory=list, description="What was allowed.")
    deny: list[Permission] = strawberry.field(default_factory=list, description="What was denied.")


@strawberry.input(description="What a channel says of a role or a member.")
class SetOverrideInput(ChannelInput):
    """What a channel says of a role or a member."""

    target_id: strawberry.ID = strawberry.field(description="A role of the server, or an account in it.")
    allow: list[Permission] = strawberry.field(
        default_factory=list, description="What is allowed, whatever the server says."
    )
    deny: list[Permission] = strawberry.field(
        default_factory=list, description="What is denied, whatever the server says. Nothing at all: as in the server."
    )
    saw: SeenOverrideInput | None = strawberry.field(
        default=None,
        description="What it said when you looked: if that is not so any more you are told OVERRIDE_CHANGED, and "
        "nobody's change is undone. Left out: what you say replaces whatever was said.",
    )


def _seen(given: SeenOverrideInput | None) -> SeenOverride | None:
    return None if given is None else SeenOverride(number_of(given.allow), number_of(given.deny))


def _channel(given: ChannelInput | MoveChannelInput) -> Id:
    return subject_id(given.channel_id, Kind.CHANNEL, "channelId")


def _target(given: SetOverrideInput | OverrideInput, field: str = "targetId") -> Id:
    kind, target_id = parse_id(given.target_id, field)
    if kind not in (Kind.ROLE, Kind.ACCOUNT):
        message = f"This is the id of a {kind.label} where that of a Role or an Account is wanted."
        raise BadInput(ApiCode.ID_OF_ANOTHER_TYPE, message, field)
    return target_id


@strawberry.type(description="Everything that may be done to channels.")
class ChannelMutations:
    """Mutations of channels."""

    @strawberry.mutation(description="Make a channel. Needs MANAGE_CHANNELS.")
    async def create_channel(self, info: Info, input: CreateChannelInput) -> ChannelPayload:
        """``CreateChannel``."""

        def build() -> Command:
            return CreateChannel(
                server_id=server_of(input),
                name=input.name,
                kind=cast("domain.channel.ChannelKind", input.kind.value),
                topic=input.topic,
                slow_mode_seconds=input.slow_mode_seconds,
                overrides=tuple(
                    WantedOverride(_target(one, "overrides"), number_of(one.allow), number_of(one.deny))
                    for one in input.overrides
                ),
            )

        return await answer(info, input, ChannelPayload, build)

    @strawberry.mutation(description="Change a channel. Needs MANAGE_CHANNELS there.")
    async def edit_channel(self, info: Info, input: EditChannelInput) -> ChannelPayload:
        """``EditChannel``."""

        def build() -> Command:
            return EditChannel(
                channel_id=_channel(input),
                name=input.name,
                topic=input.topic,
                slow_mode_seconds=input.slow_mode_seconds,
            )

        return await answer(info, input, ChannelPayload, build)

    @strawberry.mutation(description="Put a channel behind another. Needs MANAGE_CHANNELS.")
    async def move_channel(self, info: Info, input: MoveChannelInput) -> ChannelPayload:
        """``MoveChannel``."""

        def build() -> Command:
            after_id = None if input.after_id is None else subject_id(input.after_id, Kind.CHANNEL, "afterId")
            return MoveChannel(server_id=server_of(input), channel_id=_channel(input), after_id=after_id)

        return await answer(info, input, ChannelPayload, build)

    @strawberry.mutation(description="Delete a channel with what was said in it. Needs MANAGE_CHANNELS there.")
    async def delete_channel(self, info: Info, input: ChannelInput) -> ChannelPayload:
        """``DeleteChannel``."""
        return await answer(info, input, ChannelPayload, lambda: DeleteChannel(channel_id=_channel(input)))

    @strawberry.mutation(
        description="Say what a channel allows and denies a role or a member. Needs MANAGE_CHANNELS there."
    )
    async def set_override(self, info: Info, input: SetOverrideInput) -> ChannelPayload:
        """``SetOverride``."""

        def build() -> Command:
            return SetOverride(
                channel_id=_channel(input),
                target_id=_target(input),
                allow=number_of(input.allow),
                deny=number_of(input.deny),
                saw=_seen(input.saw),
            )

        return await answer(info, input, ChannelPayload, build)
