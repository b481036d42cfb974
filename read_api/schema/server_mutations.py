"""One mutation for each thing that somebody may do in a chat server. Each takes one ``input`` and does one command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import strawberry

import domain.channel
from domain.channel import CreateChannel, DeleteChannel, EditChannel, SetOverride
from domain.channel_list import MoveChannel
from domain.command import Command
from domain.event import Id
from domain.invite import CreateInvite, JoinServer, RevokeInvite, id_of
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole
from domain.server import CreateServer, DeleteServer, EditServer, TransferServer
from domain.server_member import BanMember, GrantRole, KickMember, LeaveServer, RevokeRole, UnbanMember
from read_api.errors import ApiCode, BadInput
from read_api.ids import Kind, parse_id, subject_id
from read_api.schema.common import Info
from read_api.schema.payloads import (
    ChannelPayload,
    Input,
    InvitePayload,
    JoinServerPayload,
    RolePayload,
    ServerPayload,
    answer,
)
from read_api.schema.permissions import Permission, number_of
from read_api.schema.servers import ChannelKind

WEEK_SECONDS = 7 * 86_400


@strawberry.input(description="A new server; it is yours.")
class CreateServerInput(Input):
    """A new server."""

    name: str = strawberry.field(description="What it is called; others may be called the same.")
    description: str = strawberry.field(default="", description="What it is about, in Markdown.")


@strawberry.input(description="A server.")
class ServerInput(Input):
    """A server."""

    server_id: strawberry.ID = strawberry.field(description="The server; you are in it.")


@strawberry.input(description="What changes; what is left out stays as it is.")
class EditServerInput(ServerInput):
    """What changes in a server."""

    name: str | None = strawberry.field(default=None, description="The new name.")
    description: str | None = strawberry.field(default=None, description="The new description, in Markdown.")


@strawberry.input(description="A server, and an account.")
class ServerMemberInput(ServerInput):
    """A server and an account."""

    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="Who is put out of a server.")
class KickMemberInput(ServerMemberInput):
    """Who is put out."""

    reason: str = strawberry.field(default="", description="Why, in Markdown.")


@strawberry.input(description="Who is put out of a server and kept out.")
class BanMemberInput(KickMemberInput):
    """Who is put out and kept out."""

    until: datetime | None = strawberry.field(default=None, description="When that ends by itself; left out: never.")


@strawberry.input(description="A role, and who gets or loses it.")
class MemberRoleInput(ServerMemberInput):
    """A role and a member."""

    role_id: strawberry.ID = strawberry.field(description="The role; it is below your own highest.")


@strawberry.input(description="A new role, below all others.")
class CreateRoleInput(ServerInput):
    """A new role."""

    name: str = strawberry.field(description="What it is called.")
    permissions: list[Permission] = strawberry.field(
        default_factory=list, description="What it allows; only what you may do yourself."
    )


@strawberry.input(description="A role of a server.")
class RoleInput(ServerInput):
    """A role."""

    role_id: strawberry.ID = strawberry.field(description="The role; it is below your own highest.")


@strawberry.input(description="What changes; what is left out stays as it is.")
class EditRoleInput(RoleInput):
    """What changes in a role."""

    name: str | None = strawberry.field(default=None, description="The new name.")
    permissions: list[Permission] | None = strawberry.field(
        default=None, description="All that it allows from now on; you change only what you may do yourself."
    )


@strawberry.input(description="Where a role is put.")
class MoveRoleInput(RoleInput):
    """Where a role is put."""

    above_id: strawberry.ID = strawberry.field(
        description="The role that it is put directly above: it is below your own highest. That of everyone: lowest."
    )


@strawberry.input(description="A new invite.")
class CreateInviteInput(ServerInput):
    """A new invite."""

    expires_seconds: int | None = strawberry.field(
        default=WEEK_SECONDS, description="How long it holds, in seconds; null: for ever. A week if left out."
    )
    uses_max: int | None = strawberry.field(default=None, description="How many may join with it; null: everybody.")


@strawberry.input(description="An invite.")
class InviteInput(Input):
    """An invite."""

    code: str = strawberry.field(description="Its code.")


@strawberry.input(description="A new channel, behind all others.")
class CreateChannelInput(ServerInput):
    """A new channel."""

    name: str = strawberry.field(description="What it is called.")
    kind: ChannelKind = strawberry.field(default=ChannelKind.TEXT, description="What it is for.")
    topic: str = strawberry.field(default="", description="What it is about, in Markdown.")
    slow_mode_seconds: int = strawberry.field(
        default=0, description="Seconds between two messages of one person; 0: no slow mode."
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


def _server(given: ServerInput) -> Id:
    return subject_id(given.server_id, Kind.SERVER, "serverId")


def _account(given: ServerMemberInput) -> Id:
    return subject_id(given.account_id, Kind.ACCOUNT, "accountId")


def _role(given: RoleInput | MemberRoleInput) -> Id:
    return subject_id(given.role_id, Kind.ROLE, "roleId")


def _channel(given: ChannelInput | MoveChannelInput) -> Id:
    return subject_id(given.channel_id, Kind.CHANNEL, "channelId")


def _target(given: SetOverrideInput) -> Id:
    kind, target_id = parse_id(given.target_id, "targetId")
    if kind not in (Kind.ROLE, Kind.ACCOUNT):
        message = f"This is the id of a {kind.label} where that of a Role or an Account is wanted."
        raise BadInput(ApiCode.ID_OF_ANOTHER_TYPE, message, "targetId")
    return target_id


def _until(given: datetime | None) -> datetime | None:
    """The time with its zone; without one it is UTC."""
    return given if given is None or given.tzinfo is not None else given.replace(tzinfo=UTC)


@strawberry.type(description="Everything that may be done to servers, their roles, members and invites.")
class ServerMutations:
    """Mutations of servers."""

    @strawberry.mutation(description="Open a server. It is yours.")
    async def create_server(self, info: Info, input: CreateServerInput) -> ServerPayload:
        """``CreateServer``."""
        return await answer(
            info, input, ServerPayload, lambda: CreateServer(name=input.name, description=input.description)
        )

    @strawberry.mutation(description="Change what a server says of itself. Needs MANAGE_SERVER.")
    async def edit_server(self, info: Info, input: EditServerInput) -> ServerPayload:
        """``EditServer``."""

        def build() -> Command:
            return EditServer(server_id=_server(input), name=input.name, description=input.description)

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Give your server to another member.")
    async def transfer_server(self, info: Info, input: ServerMemberInput) -> ServerPayload:
        """``TransferServer``."""

        def build() -> Command:
            return TransferServer(server_id=_server(input), account_id=_account(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Delete your server with everything in it, for good.")
    async def delete_server(self, info: Info, input: ServerInput) -> ServerPayload:
        """``DeleteServer``."""
        return await answer(info, input, ServerPayload, lambda: DeleteServer(server_id=_server(input)))

    @strawberry.mutation(description="Join a server with the code of an invite.")
    async def join_server(self, info: Info, input: InviteInput) -> JoinServerPayload:
        """``JoinServer``."""
        return await answer(info, input, JoinServerPayload, lambda: JoinServer(code=input.code))

    @strawberry.mutation(description="Be in a server no more. Its owner gives it to somebody else first.")
    async def leave_server(self, info: Info, input: ServerInput) -> ServerPayload:
        """``LeaveServer``."""
        return await answer(info, input, ServerPayload, lambda: LeaveServer(server_id=_server(input)))

    @strawberry.mutation(description="Put a member out; an invite lets them in again. Needs KICK_MEMBERS.")
    async def kick_server_member(self, info: Info, input: KickMemberInput) -> ServerPayload:
        """``KickMember``."""

        def build() -> Command:
            return KickMember(server_id=_server(input), account_id=_account(input), reason=input.reason)

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Put somebody out and keep them out. Needs BAN_MEMBERS.")
    async def ban_server_member(self, info: Info, input: BanMemberInput) -> ServerPayload:
        """``BanMember``."""

        def build() -> Command:
            return BanMember(
                server_id=_server(input), account_id=_account(input), reason=input.reason, until=_until(input.until)
            )

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Take a ban back. Needs BAN_MEMBERS.")
    async def unban_server_member(self, info: Info, input: ServerMemberInput) -> ServerPayload:
        """``UnbanMember``."""

        def build() -> Command:
            return UnbanMember(server_id=_server(input), account_id=_account(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Make a role. Needs MANAGE_ROLES.")
    async def create_role(self, info: Info, input: CreateRoleInput) -> RolePayload:
        """``CreateRole``."""

        def build() -> Command:
            return CreateRole(server_id=_server(input), name=input.name, permissions=number_of(input.permissions))

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Change what a role is called or allows. Needs MANAGE_ROLES.")
    async def edit_role(self, info: Info, input: EditRoleInput) -> RolePayload:
        """``EditRole``."""

        def build() -> Command:
            return EditRole(
                server_id=_server(input),
                role_id=_role(input),
                name=input.name,
                permissions=None if input.permissions is None else number_of(input.permissions),
            )

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Put a role above another. Needs MANAGE_ROLES.")
    async def move_role(self, info: Info, input: MoveRoleInput) -> RolePayload:
        """``MoveRole``."""

        def build() -> Command:
            above_id = subject_id(input.above_id, Kind.ROLE, "aboveId")
            return MoveRole(server_id=_server(input), role_id=_role(input), above_id=above_id)

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Take a role away from the server and from all who hold it. Needs MANAGE_ROLES.")
    async def delete_role(self, info: Info, input: RoleInput) -> RolePayload:
        """``DeleteRole``."""

        def build() -> Command:
            return DeleteRole(server_id=_server(input), role_id=_role(input))

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Give a member a role. Needs MANAGE_ROLES.")
    async def grant_role(self, info: Info, input: MemberRoleInput) -> ServerPayload:
        """``GrantRole``."""

        def build() -> Command:
            return GrantRole(server_id=_server(input), account_id=_account(input), role_id=_role(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Take a role from a member. Needs MANAGE_ROLES.")
    async def revoke_role(self, info: Info, input: MemberRoleInput) -> ServerPayload:
        """``RevokeRole``."""

        def build() -> Command:
            return RevokeRole(server_id=_server(input), account_id=_account(input), role_id=_role(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Make an invite. Needs CREATE_INVITES.")
    async def create_invite(self, info: Info, input: CreateInviteInput) -> InvitePayload:
        """``CreateInvite``."""

        def build() -> Command:
            return CreateInvite(
                server_id=_server(input), expires_seconds=input.expires_seconds, uses_max=input.uses_max
            )

        return await answer(info, input, InvitePayload, build)

    @strawberry.mutation(description="Have an invite let nobody in any more; yours, or any with MANAGE_SERVER.")
    async def revoke_invite(self, info: Info, input: InviteInput) -> InvitePayload:
        """``RevokeInvite``."""
        return await answer(info, input, InvitePayload, lambda: RevokeInvite(invite_id=id_of(input.code)))


@strawberry.type(description="Everything that may be done to channels.")
class ChannelMutations:
    """Mutations of channels."""

    @strawberry.mutation(description="Make a channel. Needs MANAGE_CHANNELS.")
    async def create_channel(self, info: Info, input: CreateChannelInput) -> ChannelPayload:
        """``CreateChannel``."""

        def build() -> Command:
            return CreateChannel(
                server_id=_server(input),
                name=input.name,
                kind=cast("domain.channel.ChannelKind", input.kind.value),
                topic=input.topic,
                slow_mode_seconds=input.slow_mode_seconds,
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
            return MoveChannel(server_id=_server(input), channel_id=_channel(input), after_id=after_id)

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
            )

        return await answer(info, input, ChannelPayload, build)
