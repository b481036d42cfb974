"""One mutation for each thing that somebody may do in a server, but for channels. Each takes one ``input``."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from domain.command import Command
from domain.event import Id
from domain.invite import CreateInvite, JoinServer, RevokeInvite, id_of
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole
from domain.server import CreateServer, DeleteServer, EditServer, TransferServer
from domain.server_member import BanMember, GrantRole, KickMember, LeaveServer, RevokeRole, UnbanMember
from read_api.ids import Kind, subject_id
from read_api.schema.common import Info
from read_api.schema.payloads import (
    Input,
    InvitePayload,
    JoinServerPayload,
    RolePayload,
    ServerPayload,
    answer,
)
from read_api.schema.permissions import Permission, number_of

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


def server_of(given: ServerInput) -> Id:
    """The server that an input names."""
    return subject_id(given.server_id, Kind.SERVER, "serverId")


def _account(given: ServerMemberInput) -> Id:
    return subject_id(given.account_id, Kind.ACCOUNT, "accountId")


def _role(given: RoleInput | MemberRoleInput) -> Id:
    return subject_id(given.role_id, Kind.ROLE, "roleId")


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
            return EditServer(server_id=server_of(input), name=input.name, description=input.description)

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Give your server to another member.")
    async def transfer_server(self, info: Info, input: ServerMemberInput) -> ServerPayload:
        """``TransferServer``."""

        def build() -> Command:
            return TransferServer(server_id=server_of(input), account_id=_account(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Delete your server with everything in it, for good.")
    async def delete_server(self, info: Info, input: ServerInput) -> ServerPayload:
        """``DeleteServer``."""
        return await answer(info, input, ServerPayload, lambda: DeleteServer(server_id=server_of(input)))

    @strawberry.mutation(description="Join a server with the code of an invite.")
    async def join_server(self, info: Info, input: InviteInput) -> JoinServerPayload:
        """``JoinServer``."""
        return await answer(info, input, JoinServerPayload, lambda: JoinServer(code=input.code))

    @strawberry.mutation(description="Be in a server no more. Its owner gives it to somebody else first.")
    async def leave_server(self, info: Info, input: ServerInput) -> ServerPayload:
        """``LeaveServer``."""
        return await answer(info, input, ServerPayload, lambda: LeaveServer(server_id=server_of(input)))

    @strawberry.mutation(
        description="Put a member out; an invite of somebody else lets them in again. Until then their own let nobody "
        "in. Needs KICK_MEMBERS."
    )
    async def kick_server_member(self, info: Info, input: KickMemberInput) -> ServerPayload:
        """``KickMember``."""

        def build() -> Command:
            return KickMember(server_id=server_of(input), account_id=_account(input), reason=input.reason)

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(
        description="Put somebody out and keep them out; until that is taken back their invites let nobody in. Needs "
        "BAN_MEMBERS."
    )
    async def ban_server_member(self, info: Info, input: BanMemberInput) -> ServerPayload:
        """``BanMember``."""

        def build() -> Command:
            return BanMember(
                server_id=server_of(input), account_id=_account(input), reason=input.reason, until=_until(input.until)
            )

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Take a ban back. Needs BAN_MEMBERS.")
    async def unban_server_member(self, info: Info, input: ServerMemberInput) -> ServerPayload:
        """``UnbanMember``."""

        def build() -> Command:
            return UnbanMember(server_id=server_of(input), account_id=_account(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Make a role. Needs MANAGE_ROLES.")
    async def create_role(self, info: Info, input: CreateRoleInput) -> RolePayload:
        """``CreateRole``."""

        def build() -> Command:
            return CreateRole(server_id=server_of(input), name=input.name, permissions=number_of(input.permissions))

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Change what a role is called or allows. Needs MANAGE_ROLES.")
    async def edit_role(self, info: Info, input: EditRoleInput) -> RolePayload:
        """``EditRole``."""

        def build() -> Command:
            return EditRole(
                server_id=server_of(input),
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
            return MoveRole(server_id=server_of(input), role_id=_role(input), above_id=above_id)

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Take a role away from the server and from all who hold it. Needs MANAGE_ROLES.")
    async def delete_role(self, info: Info, input: RoleInput) -> RolePayload:
        """``DeleteRole``."""

        def build() -> Command:
            return DeleteRole(server_id=server_of(input), role_id=_role(input))

        return await answer(info, input, RolePayload, build)

    @strawberry.mutation(description="Give a member a role. Needs MANAGE_ROLES.")
    async def grant_role(self, info: Info, input: MemberRoleInput) -> ServerPayload:
        """``GrantRole``."""

        def build() -> Command:
            return GrantRole(server_id=server_of(input), account_id=_account(input), role_id=_role(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Take a role from a member. Needs MANAGE_ROLES.")
    async def revoke_role(self, info: Info, input: MemberRoleInput) -> ServerPayload:
        """``RevokeRole``."""

        def build() -> Command:
            return RevokeRole(server_id=server_of(input), account_id=_account(input), role_id=_role(input))

        return await answer(info, input, ServerPayload, build)

    @strawberry.mutation(description="Make an invite. Needs CREATE_INVITES.")
    async def create_invite(self, info: Info, input: CreateInviteInput) -> InvitePayload:
        """``CreateInvite``."""

        def build() -> Command:
            return CreateInvite(
                server_id=server_of(input), expires_seconds=input.expires_seconds, uses_max=input.uses_max
            )

        return await answer(info, input, InvitePayload, build)

    @strawberry.mutation(description="Have an invite let nobody in any more; yours, or any with MANAGE_SERVER.")
    async def revoke_invite(self, info: Info, input: InviteInput) -> InvitePayload:
        """``RevokeInvite``."""
        return await answer(info, input, InvitePayload, lambda: RevokeInvite(invite_id=id_of(input.code)))
