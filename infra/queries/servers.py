"""Chat servers: what they are, who is in them, their roles, channels, invites and bans.

Only who is in a server sees it. What he may there is told by ``Inside.standing``: the same pure function that decides
for commands.

Of a server that was deleted the views keep what was in it: no fold could take so many rows away at once. Each query
here asks by primary key whether there still is the server, so nobody is told of any of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from domain.event import Id
from domain.permissions import Override, Permission
from domain.role import Role
from domain.server import Server as ServerState
from domain.server_member import ServerMember as MemberState
from domain.server_member import Standing
from infra.queries.rows import Connection, Page, Slice, by_position, columns, fetch, sliced
from projections.channel_overrides import ChannelOverride
from projections.channels import Channel
from projections.invites import Invite
from projections.profiles import Profile
from projections.server_bans import ServerBan
from projections.server_members import ServerMember
from projections.server_roles import ServerRole
from projections.servers import Server

_SERVER, _MEMBER, _PROFILE = columns(Server, "s"), columns(ServerMember, "m"), columns(Profile, "p")
_EXISTS = "s.created_at IS NOT NULL AND NOT s.deleted"
_LIVES = f"EXISTS (SELECT FROM views.servers s WHERE s.server_id = {{of}}.server_id AND {_EXISTS})"
_SNAPSHOT = b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Inside(Struct, frozen=True, dict=True):
    """A server as somebody sees it who is in it: its row, its roles, the mightiest first, and his own membership."""

    server: Server
    roles: Sequence[ServerRole]
    member: ServerMember

    @cached_property
    def targets(self) -> frozenset[Id]:
        """The ids by which he is mentioned: his own, those of the roles that he holds now, and that of everyone."""
        roles = {role.role_id for role in self.roles}.intersection(self.member.role_ids)
        return frozenset((self.member.account_id, self.server.server_id, *roles))

    @cached_property
    def standing(self) -> Standing:
        """What he is there, as decisions know it."""
        row = self.server
        return Standing(
            self.member.account_id,
            ServerState(row.server_id, row.owner_id or row.server_id, row.name, row.description),
            {role.role_id: Role(role.name, Permission(role.permissions), role.rank) for role in self.roles},
            MemberState(joined=True, membership=self.member.membership, roles=frozenset(self.member.role_ids)),
        )


class Placed(Struct, frozen=True):
    """A channel, and whom it treats otherwise than its server does."""

    channel: Channel
    overrides: Sequence[ChannelOverride]

    @property
    def said(self) -> Mapping[Id, Override]:
        """The overrides as decisions know them."""
        return {
            one.target_id: Override(Permission(one.allow), Permission(one.deny), one.membership)
            for one in self.overrides
        }

    def seen_by(self, inside: Inside) -> bool:
        """Whether somebody who is in its server sees it."""
        return Permission.VIEW_CHANNELS in inside.standing.may(self.said)


class Seated(Struct, frozen=True):
    """Somebody in the list of members, with the cursor of the item."""

    profile: Profile
    member: ServerMember


class Invited(Struct, frozen=True):
    """What an invite leads to, as it is told to whoever has its code."""

    invite: Invite
    server: Server


@asynccontextmanager
async def one_moment(connection: Connection) -> AsyncIterator[None]:
    """All that is read in the block is as of one moment: roles and overrides of two could show what neither does."""
    async with connection.transaction():
        await connection.execute(_SNAPSHOT)
        yield


async def is_there(connection: Connection, server_id: Id) -> bool:
    """Whether the server was made and is not deleted. Primary key."""
    sql = f"SELECT EXISTS (SELECT FROM views.servers s WHERE s.server_id = %(id)s::uuid AND {_EXISTS})"
    ((found,),) = await fetch(connection, sql, {"id": server_id}, lambda *row: row)
    return bool(found)


async def inside(connection: Connection, viewer_id: Id, server_ids: Sequence[Id]) -> list[Inside]:
    """Those of the servers that the viewer is in. Primary keys; two statements."""
    sql = f"""SELECT {_SERVER}, {_MEMBER} FROM views.servers s JOIN views.server_members m USING (server_id)
        WHERE s.server_id = ANY(%(ids)s::uuid[]) AND m.account_id = %(viewer)s::uuid AND {_EXISTS}"""
    found = await fetch(connection, sql, {"viewer": viewer_id, "ids": list(server_ids)}, _both)
    return await _with_roles(connection, found)


async def mine(connection: Connection, viewer_id: Id, where: Slice) -> Page[Inside]:
    """The servers that the viewer is in, last joined first. Index (account_id, position)."""
    condition, order, parameters = by_position(where, "m.position")
    sql = f"""SELECT {_SERVER}, {_MEMBER} FROM views.server_members m JOIN views.servers s USING (server_id)
        WHERE m.account_id = %(viewer)s::uuid AND {_EXISTS} AND {condition} {order}"""
    async with one_moment(connection):
        page = sliced(await fetch(connection, sql, {"viewer": viewer_id, **parameters}, _both), where)
        return Page(await _with_roles(connection, page.items), page.has_next, page.has_previous)


def _both(*values: object) -> tuple[Server, ServerMember]:
    width = len(Server.__struct_fields__)
    return Server(*values[:width]), ServerMember(*values[width:])  # type: ignore[arg-type]


async def _with_roles(connection: Connection, found: Sequence[tuple[Server, ServerMember]]) -> list[Inside]:
    roles = await roles_of(connection, [server.server_id for server, _ in found])
    return [Inside(server, roles.get(server.server_id, []), member) for server, member in found]


async def roles_of(connection: Connection, server_ids: Sequence[Id]) -> dict[Id, list[ServerRole]]:
    """The roles of the servers, the mightiest first. Primary key."""
    sql = f"""SELECT {columns(ServerRole, "r")} FROM views.server_roles r
        WHERE r.server_id = ANY(%(ids)s::uuid[]) ORDER BY r.rank DESC"""
    by_server: dict[Id, list[ServerRole]] = {}
    for role in await fetch(connection, sql, {"ids": list(server_ids)}, ServerRole):
        by_server.setdefault(role.server_id, []).append(role)
    return by_server


async def servers_of_roles(connection: Connection, role_ids: Sequence[Id]) -> dict[Id, Id]:
    """The server of each of the roles that exist. Index (role_id)."""
    sql = f"""SELECT r.role_id, r.server_id FROM views.server_roles r
        WHERE r.role_id = ANY(%(ids)s::uuid[]) AND {_LIVES.format(of="r")}"""
    return dict(await fetch(connection, sql, {"ids": list(role_ids)}, lambda role, server: (role, server)))


async def channels(connection: Connection, channel_ids: Sequence[Id]) -> list[Placed]:
    """Those of the channels that exist, whoever may see them. Primary keys; two statements."""
    sql = f"""SELECT {columns(Channel, "c")} FROM views.channels c
        WHERE c.channel_id = ANY(%(ids)s::uuid[]) AND c.created_at IS NOT NULL AND NOT c.deleted
        AND {_LIVES.format(of="c")}"""
    return await _with_overrides(connection, await fetch(connection, sql, {"ids": list(channel_ids)}, Channel))


async def channels_of(connection: Connection, server_ids: Sequence[Id]) -> dict[Id, list[Placed]]:
    """All channels of the servers in their order, whoever may see them. Index (server_id, place); two statements."""
    sql = f"""SELECT {columns(Channel, "c")} FROM views.channels c
        WHERE c.server_id = ANY(%(ids)s::uuid[]) AND c.created_at IS NOT NULL AND NOT c.deleted
        AND {_LIVES.format(of="c")}
        ORDER BY c.server_id, c.place, c.channel_id"""
    by_server: dict[Id, list[Placed]] = {}
    for placed in await _with_overrides(connection, await fetch(connection, sql, {"ids": list(server_ids)}, Channel)):
        if placed.channel.server_id is not None:
            by_server.setdefault(placed.channel.server_id, []).append(placed)
    return by_server


async def _with_overrides(connection: Connection, found: Sequence[Channel]) -> list[Placed]:
    sql = f"""SELECT {columns(ChannelOverride, "o")} FROM views.channel_overrides o
        WHERE o.channel_id = ANY(%(ids)s::uuid[]) ORDER BY o.channel_id, o.target_id"""
    by_channel: dict[Id, list[ChannelOverride]] = {}
    for one in await fetch(connection, sql, {"ids": [channel.channel_id for channel in found]}, ChannelOverride):
        by_channel.setdefault(one.channel_id, []).append(one)
    return [Placed(channel, by_channel.get(channel.channel_id, [])) for channel in found]


async def members(connection: Connection, server_id: Id, where: Slice) -> Page[Seated]:
    """Who is in the server, last joined first. Index (server_id, position)."""
    condition, order, parameters = by_position(where, "m.position")
    sql = f"""SELECT {_MEMBER}, {_PROFILE} FROM views.server_members m JOIN views.profiles p USING (account_id)
        WHERE m.server_id = %(server)s::uuid AND p.created_at IS NOT NULL AND {_LIVES.format(of="m")}
        AND {condition} {order}"""
    return sliced(await fetch(connection, sql, {"server": server_id, **parameters}, _seated), where)


def _seated(*values: object) -> Seated:
    width = len(ServerMember.__struct_fields__)
    return Seated(Profile(*values[width:]), ServerMember(*values[:width]))  # type: ignore[arg-type]


async def bans(connection: Connection, server_id: Id, where: Slice, *, kicked: bool = False) -> Page[ServerBan]:
    """Who is banned from the server, or was kicked and is not back, the newest first. Index.

    Bans that have ended are among them until they are taken back.
    """
    condition, order, parameters = by_position(where, "b.position")
    sql = f"""SELECT {columns(ServerBan, "b")} FROM views.server_bans b
        WHERE b.server_id = %(server)s::uuid AND b.kicked = %(kicked)s AND {_LIVES.format(of="b")}
        AND {condition} {order}"""
    given = {"server": server_id, "kicked": kicked, **parameters}
    return sliced(await fetch(connection, sql, given, ServerBan), where)


async def invites(connection: Connection, server_id: Id, creator_id: Id | None, where: Slice) -> Page[Invite]:
    """The invites that lead to the server, or those of them that one account made, the newest first. Indexes."""
    condition, order, parameters = by_position(where, "i.position")
    made = "" if creator_id is None else "AND i.creator_id = %(creator)s::uuid"
    sql = f"""SELECT {columns(Invite, "i")} FROM views.invites i
        WHERE i.server_id = %(server)s::uuid {made} AND {_LIVES.format(of="i")} AND {condition} {order}"""
    given = {"server": server_id, "creator": creator_id, **parameters}
    return sliced(await fetch(connection, sql, given, Invite), where)


async def invited(
    connection: Connection, viewer_id: Id | None, invite_ids: Sequence[Id], at: datetime
) -> list[Invited]:
    """Those of the invites that let the viewer in at that time, with the server that each leads to. Primary keys.

    As ``domain.invite.used`` has it, none does whose creator is put out.
    """
    sql = f"""SELECT {columns(Invite, "i")}, {_SERVER} FROM views.invites i JOIN views.servers s USING (server_id)
        WHERE i.invite_id = ANY(%(ids)s::uuid[]) AND NOT i.revoked AND {_EXISTS}
        AND (i.expires_at IS NULL OR i.expires_at > %(at)s) AND (i.uses_max IS NULL OR i.uses < i.uses_max)
        AND NOT EXISTS (SELECT FROM views.server_bans b WHERE b.server_id = s.server_id
            AND b.account_id = %(viewer)s::uuid AND NOT b.kicked AND (b.until IS NULL OR b.until > %(at)s))
        AND NOT EXISTS (SELECT FROM views.server_bans b
            WHERE b.server_id = s.server_id AND b.account_id = i.creator_id)"""
    return await fetch(connection, sql, {"viewer": viewer_id, "ids": list(invite_ids), "at": at}, _invited)


def _invited(*values: object) -> Invited:
    width = len(Invite.__struct_fields__)
    return Invited(Invite(*values[:width]), Server(*values[width:]))  # type: ignore[arg-type]


async def server_of_invite(connection: Connection, invite_id: Id) -> Id | None:
    """Where an invite leads, good or not. Primary key."""
    sql = f"""SELECT i.server_id FROM views.invites i
        WHERE i.invite_id = %(id)s::uuid AND {_LIVES.format(of="i")}"""
    found = await fetch(connection, sql, {"id": invite_id}, lambda server_id: server_id)
    return found[0] if found else None
