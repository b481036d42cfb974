"""Chat servers, for those who are in them: roles, channels, members, invites and bans."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from domain.event import Id
from domain.invite import code_of
from domain.permissions import Permission as Allows
from infra.queries import servers as server_queries
from infra.queries.servers import Inside, Placed
from projections.channel_overrides import ChannelOverride as OverrideRow
from projections.invites import Invite as InviteRow
from projections.server_members import ServerMember as MemberRow
from projections.server_roles import ServerRole
from projections.servers import Server as ServerRow
from read_api.ids import Kind, global_id
from read_api.markdown import to_html
from read_api.schema.accounts import Account
from read_api.schema.common import (
    After,
    Before,
    Connection,
    First,
    Info,
    Last,
    Node,
    connection,
    counted,
    named,
    paging,
)
from read_api.schema.messages import HISTORY, Around, Message, Unread, history, unread_in
from read_api.schema.permissions import Permission, permissions_of
from read_api.schema.presence_states import PresenceState
from read_api.schema.server_bans import ServerBan, ServerKick


@strawberry.enum(description="What a channel is for.")
class ChannelKind(Enum):
    """What a channel is for."""

    TEXT = named("text", "Everybody talks: written in with SEND_MESSAGES.")
    ANNOUNCEMENT = named("announcement", "A few tell everybody: written in with ANNOUNCE.")


@strawberry.type(description="A role: what it allows whoever holds it.")
class Role(Node):
    """A role of a server."""

    row: strawberry.Private[ServerRole]

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.ROLE, self.row.role_id))

    @strawberry.field(description="What it is called.")
    def name(self) -> str:
        """Its name."""
        return self.row.name

    @strawberry.field(description="What it allows in the server.")
    def permissions(self) -> list[Permission]:
        """What it allows."""
        return permissions_of(self.row.permissions)

    @strawberry.field(description="Whether it is the role that every member has, below all others.")
    def everyone(self) -> bool:
        """Whether it is the role of everyone."""
        return self.row.role_id == self.row.server_id


@strawberry.type(description="Somebody in a server.")
class ServerMember:
    """Somebody in a server."""

    row: strawberry.Private[MemberRow]
    inside: strawberry.Private[Inside]

    @strawberry.field(description="Who it is; null if the account is not known yet.")
    def account(self, info: Info) -> Account | None:
        """Who it is."""
        return info.context.loaders.accounts.get(self.row.account_id)

    @strawberry.field(description="The roles held besides that of everyone, the mightiest first.")
    def roles(self) -> list[Role]:
        """The roles held."""
        held = set(self.row.role_ids)
        return [Role(row=role) for role in self.inside.roles if role.role_id in held]

    @strawberry.field(description="How they are now, as others see them; null while that cannot be told.")
    def presence(self, info: Info) -> PresenceState | None:
        """How they are now."""
        return info.context.loaders.presences.get(self.row.account_id)

    @strawberry.field(description="When they joined.")
    def joined_at(self) -> datetime | None:
        """When they joined."""
        return self.row.joined_at


@strawberry.type(description="Whom a channel treats otherwise than its server does.")
class ChannelOverride:
    """What a channel says of a role or a member."""

    row: strawberry.Private[OverrideRow]
    inside: strawberry.Private[Inside]

    @strawberry.field(description="Whom it is about, to be passed as `targetId`.")
    def target_id(self) -> strawberry.ID:
        """The global id of the role or the account."""
        kind = Kind.ACCOUNT if self.row.membership else Kind.ROLE
        return strawberry.ID(global_id(kind, self.row.target_id))

    @strawberry.field(description="The role; null if it is about a member, or about one that is deleted.")
    def role(self) -> Role | None:
        """The role, if it is one."""
        return next((Role(row=role) for role in self.inside.roles if role.role_id == self.row.target_id), None)

    @strawberry.field(description="The member; null if it is about a role.")
    def account(self, info: Info) -> Account | None:
        """The account, if it is one."""
        if not self.row.membership:
            return None
        return info.context.loaders.accounts.get(self.row.target_id)

    @strawberry.field(description="What is allowed, whatever the server says.")
    def allow(self) -> list[Permission]:
        """What is allowed."""
        return permissions_of(self.row.allow)

    @strawberry.field(description="What is denied, whatever the server says.")
    def deny(self) -> list[Permission]:
        """What is denied."""
        return permissions_of(self.row.deny)


@strawberry.type(description="A place in a server where people write.")
class Channel(Node):
    """A channel that the viewer may see."""

    placed: strawberry.Private[Placed]
    inside: strawberry.Private[Inside]

    @property
    def channel_id(self) -> Id:
        """Its stream id."""
        return self.placed.channel.channel_id

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.CHANNEL, self.placed.channel.channel_id))

    @strawberry.field(description="The server that it is in.")
    def server(self) -> Server:
        """Its server."""
        return Server(inside=self.inside)

    @strawberry.field(description="What it is for.")
    def kind(self) -> ChannelKind:
        """What it is for."""
        return ChannelKind(self.placed.channel.kind)

    @strawberry.field(description="What it is called.")
    def name(self) -> str:
        """Its name."""
        return self.placed.channel.name

    @strawberry.field(description="What it is about, in Markdown.")
    def topic(self) -> str:
        """What it is about."""
        return self.placed.channel.topic

    @strawberry.field(description="The topic as HTML that is safe to put into a page.")
    async def topic_html(self) -> str:
        """What it is about, as safe HTML."""
        return await to_html(self.placed.channel.topic)

    @strawberry.field(description="Seconds between two messages of one person; 0 if there is no slow mode.")
    def slow_mode_seconds(self) -> int:
        """Seconds between two messages of one person."""
        return self.placed.channel.slow_mode_seconds

    @strawberry.field(description="When it was made.")
    def created_at(self) -> datetime | None:
        """When it was made."""
        return self.placed.channel.created_at

    @strawberry.field(description="What you may do in it.")
    def viewer_permissions(self) -> list[Permission]:
        """What the viewer may do in it."""
        return permissions_of(self.inside.standing.may(self.placed.said))

    @strawberry.field(description=HISTORY)
    async def messages(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        around: Around = None,
    ) -> Connection[Message]:
        """Its messages."""
        return await history(info, self.channel_id, first, after, last, before, around)

    @strawberry.field(description="What you have not read in it.")
    async def unread(self, info: Info) -> Unread:
        """What the viewer has not read in it."""
        return await unread_in(info, self.channel_id)

    @strawberry.field(description="Which roles and members it treats otherwise than the server does.")
    def overrides(self) -> list[ChannelOverride]:
        """Whom it treats otherwise."""
        return [ChannelOverride(row=row, inside=self.inside) for row in self.placed.overrides]


@strawberry.type(
    description="An invite: whoever has its code may join the server. While who made it is kicked or banned it lets "
    "nobody in."
)
class Invite:
    """An invite, and the server that it leads to."""

    row: strawberry.Private[InviteRow]
    leads_to: strawberry.Private[ServerRow]

    @strawberry.field(description="What to give to whom you invite, and to pass to `joinServer`.")
    def code(self) -> str:
        """The code."""
        return code_of(self.row.invite_id)

    @strawberry.field(description="The name of the server that it leads to.")
    def server_name(self) -> str:
        """The server's name."""
        return self.leads_to.name

    @strawberry.field(description="What that server says of itself, in Markdown.")
    def server_description(self) -> str:
        """What the server says of itself."""
        return self.leads_to.description

    @strawberry.field(description="How many are in that server.")
    def member_count(self) -> int:
        """How many are in it."""
        return counted(self.leads_to.members)

    @strawberry.field(description="Who made it.")
    def creator(self, info: Info) -> Account | None:
        """Who made it."""
        return None if self.row.creator_id is None else info.context.loaders.accounts.get(self.row.creator_id)

    @strawberry.field(description="When it was made.")
    def created_at(self) -> datetime | None:
        """When it was made."""
        return self.row.created_at

    @strawberry.field(description="When it ends; null if it does not.")
    def expires_at(self) -> datetime | None:
        """When it ends."""
        return self.row.expires_at

    @strawberry.field(description="How many may join with it; null if that is not limited.")
    def uses_max(self) -> int | None:
        """How many may join with it."""
        return self.row.uses_max

    @strawberry.field(description="How many joined with it.")
    def uses(self) -> int:
        """How many joined with it."""
        return counted(self.row.uses)

    @strawberry.field(description="Whether somebody revoked it.")
    def revoked(self) -> bool:
        """Whether it was revoked."""
        return self.row.revoked


@strawberry.type(description="A place of channels that is entered by invitation. Only who is in it sees it.")
class Server(Node):
    """A chat server that the viewer is in."""

    inside: strawberry.Private[Inside]

    @property
    def server_id(self) -> Id:
        """Its stream id."""
        return self.inside.server.server_id

    def may(self, permission: Allows) -> bool:
        """Whether the viewer has that permission in the server."""
        return permission in self.inside.standing.may()

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.SERVER, self.server_id))

    @strawberry.field(description="What it is called.")
    def name(self) -> str:
        """Its name."""
        return self.inside.server.name

    @strawberry.field(description="What it is about, in Markdown.")
    def description(self) -> str:
        """What it is about."""
        return self.inside.server.description

    @strawberry.field(description="The description as HTML that is safe to put into a page.")
    async def description_html(self) -> str:
        """What it is about, as safe HTML."""
        return await to_html(self.inside.server.description)

    @strawberry.field(description="When it was opened.")
    def created_at(self) -> datetime | None:
        """When it was opened."""
        return self.inside.server.created_at

    @strawberry.field(description="How many are in it.")
    def member_count(self) -> int:
        """How many are in it."""
        return counted(self.inside.server.members)

    @strawberry.field(description="Whose it is.")
    def owner(self, info: Info) -> Account | None:
        """Whose it is."""
        owner_id = self.inside.server.owner_id
        return None if owner_id is None else info.context.loaders.accounts.get(owner_id)

    @strawberry.field(description="Its roles, the mightiest first, and last that of everyone.")
    def roles(self) -> list[Role]:
        """Its roles."""
        return [Role(row=role) for role in self.inside.roles]

    @strawberry.field(description="The channels that you may see, in their order.")
    async def channels(self, info: Info) -> list[Channel]:
        """The channels that the viewer may see."""
        return list(await info.context.loaders.channels_of.load(self.server_id))

    @strawberry.field(description="You in it.")
    def viewer_membership(self) -> ServerMember:
        """The viewer in it."""
        return ServerMember(row=self.inside.member, inside=self.inside)

    @strawberry.field(description="What you may do in it.")
    def viewer_permissions(self) -> list[Permission]:
        """What the viewer may do in it."""
        return permissions_of(self.inside.standing.may())

    @strawberry.field(description="Who is in it, last joined first.")
    async def members(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[ServerMember]:
        """Who is in it."""
        context, scope = info.context, f"members of server {self.server_id}"
        asked = paging(context, scope, int, first, after, last, before)
        found = await context.loaders.read(server_queries.members, self.server_id, asked.slice)

        def made(one: server_queries.Seated) -> tuple[ServerMember, int]:
            context.loaders.account(one.profile)
            return ServerMember(row=one.member, inside=self.inside), one.member.position

        return connection(context, scope, found.map(made))

    @strawberry.field(description="Who is banned, the newest ban first; null without BAN_MEMBERS.")
    async def bans(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[ServerBan] | None:
        """Who is banned."""
        context, scope = info.context, f"bans of server {self.server_id}"
        asked = paging(context, scope, int, first, after, last, before)
        if not self.may(Allows.BAN_MEMBERS):
            return None
        found = await context.loaders.read(server_queries.bans, self.server_id, asked.slice)
        return connection(context, scope, found.map(lambda row: (ServerBan(row=row), row.position)))

    @strawberry.field(
        description="Who was kicked and is not back, the last kick first; null without KICK_MEMBERS. Who was banned "
        "since is among `bans` instead."
    )
    async def kicks(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[ServerKick] | None:
        """Who was kicked."""
        context, scope = info.context, f"kicks of server {self.server_id}"
        asked = paging(context, scope, int, first, after, last, before)
        if not self.may(Allows.KICK_MEMBERS):
            return None
        found = await context.loaders.read(server_queries.bans, self.server_id, asked.slice, kicked=True)
        return connection(context, scope, found.map(lambda row: (ServerKick(row=row), row.position)))

    @strawberry.field(description="The invites that lead here, the newest first; only yours without MANAGE_SERVER.")
    async def invites(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Invite]:
        """The invites that lead here."""
        context, scope = info.context, f"invites of server {self.server_id}"
        asked = paging(context, scope, int, first, after, last, before)
        creator_id = None if self.may(Allows.MANAGE_SERVER) else context.viewer_id
        found = await context.loaders.read(server_queries.invites, self.server_id, creator_id, asked.slice)
        leads_to = self.inside.server
        return connection(context, scope, found.map(lambda row: (Invite(row=row, leads_to=leads_to), row.position)))
