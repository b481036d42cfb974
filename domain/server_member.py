"""One account's standing in one server: a member, with roles, or banned."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import account as accounts
from domain import permissions, text
from domain import role as roles_
from domain import server as servers
from domain.account import Account
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.limits import Limits
from domain.permissions import Override, Permission
from domain.refusal import Code, Refusal
from domain.role import OWNER_RANK, Roles
from domain.server import Server


class ServerJoined(Event, frozen=True):
    """The account is a member from now on; ``invite_id`` is ``None`` for whoever opened the server.

    ``membership`` counts the account's memberships there: 1 is its first.
    """

    server_id: Id
    account_id: Id
    invite_id: Id | None
    membership: int


class ServerLeft(Event, frozen=True):
    """The account is no member any more, and has no roles."""

    server_id: Id
    account_id: Id


class MemberKicked(Event, frozen=True):
    """The account is no member any more, and may come back with an invite."""

    subject: ClassVar[str] = "moderator_id"
    server_id: Id
    account_id: Id
    moderator_id: Id
    reason: Personal


class MemberBanned(Event, frozen=True):
    """The account is no member, and cannot be one before ``until``; ``None``: before the ban is taken back.

    ``was_member`` tells whether this ended a membership.
    """

    subject: ClassVar[str] = "moderator_id"
    server_id: Id
    account_id: Id
    moderator_id: Id
    reason: Personal
    until: datetime | None
    was_member: bool


class MemberUnbanned(Event, frozen=True):
    """The ban is taken back."""

    server_id: Id
    account_id: Id
    moderator_id: Id


class RoleGranted(Event, frozen=True):
    """The member holds the role from now on."""

    server_id: Id
    account_id: Id
    role_id: Id
    granter_id: Id


class RoleRevoked(Event, frozen=True):
    """The member does not hold the role any more."""

    server_id: Id
    account_id: Id
    role_id: Id
    revoker_id: Id


class LeaveServer(Command, frozen=True):
    """Be a member no longer. The owner gives the server to somebody else first, or deletes it."""

    ends: ClassVar[bool] = True
    server_id: Id


class KickMember(Command, frozen=True):
    """Put a member with lower roles out; an invite of somebody else lets them in again. Needs ``KICK_MEMBERS``."""

    ends: ClassVar[bool] = True
    server_id: Id
    account_id: Id
    reason: str = ""


class BanMember(Command, frozen=True):
    """Put somebody with lower roles out, and keep them out ``until`` then, or for good. Needs ``BAN_MEMBERS``.

    Who is no member can be banned as well.
    """

    ends: ClassVar[bool] = True
    server_id: Id
    account_id: Id
    reason: str = ""
    until: datetime | None = None


class UnbanMember(Command, frozen=True):
    """Take a ban back. Needs ``BAN_MEMBERS``."""

    server_id: Id
    account_id: Id


class GrantRole(Command, frozen=True):
    """Give a member a role below one's own highest. Needs ``MANAGE_ROLES``."""

    server_id: Id
    account_id: Id
    role_id: Id


class RevokeRole(Command, frozen=True):
    """Take a role below one's own highest from a member. Needs ``MANAGE_ROLES``."""

    ends: ClassVar[bool] = True
    server_id: Id
    account_id: Id
    role_id: Id


class Ban(Struct, frozen=True):
    """A ban; ``until`` is ``None`` where it has no end."""

    until: datetime | None
    reason: str

    def holds(self, at: datetime) -> bool:
        """Whether it does at that time."""
        return self.until is None or at < self.until


class ServerMember(Struct, frozen=True):
    """A standing, as decisions need it. ``roles`` may hold some that are deleted; ``membership`` counts memberships.

    ``put_out``: they were kicked or banned, and neither came back since nor was the ban taken back.
    """

    joined: bool = False
    put_out: bool = False
    membership: int = 0
    roles: frozenset[Id] = frozenset()
    ban: Ban | None = None


START: Final = ServerMember()


def evolve(member: ServerMember, event: Event) -> ServerMember:
    """The standing after the event."""
    match event:
        case ServerJoined(membership=membership):
            return ServerMember(joined=True, membership=membership)
        case ServerLeft() | MemberKicked() | MemberUnbanned():
            return ServerMember(put_out=isinstance(event, MemberKicked), membership=member.membership)
        case MemberBanned(until=until, reason=reason):
            return ServerMember(put_out=True, ban=Ban(until, reason), membership=member.membership)
        case RoleGranted(role_id=role_id):
            return replace(member, roles=member.roles | {role_id})
        case RoleRevoked(role_id=role_id):
            return replace(member, roles=member.roles - {role_id})
        case _:
            return member


class Standing(Struct, frozen=True):
    """Somebody in a server: what decisions ask of it. ``server`` is ``None`` for one that does not exist."""

    account_id: Id
    server: Server | None
    roles: Roles
    member: ServerMember

    def may(self, overrides: Mapping[Id, Override] | None = None) -> Permission:
        """What they may in the server or, with the ``overrides`` of one, in a channel. See ``permissions.allowed``."""
        server = self.server
        if server is None:
            return permissions.NONE
        return permissions.allowed(
            everyone_id=server.server_id,
            roles={role_id: role.allows for role_id, role in self.roles.items()},
            held=self.member.roles,
            member_id=self.account_id,
            membership=self.member.membership,
            is_member=self.member.joined,
            is_owner=server.owner_id == self.account_id,
            overrides=overrides,
        )

    @property
    def inside(self) -> bool:
        """Whether there is a server, and they are a member of it."""
        return self.server is not None and self.member.joined

    def refuse_without(self, needed: Permission) -> None:
        """Raises ``SERVER_NOT_FOUND`` when they are not in the server, ``PERMISSION_DENIED`` when they may not."""
        if not self.inside:
            raise servers.not_found()
        if needed not in self.may():
            raise permissions.denied(needed)

    @property
    def rank(self) -> int:
        """The rank of their highest role; the owner's is above all, that of no member below."""
        if self.server is not None and self.server.owner_id == self.account_id:
            return OWNER_RANK
        return roles_.highest(self.roles, self.member.roles) if self.member.joined else -1


def joined(
    member: ServerMember, *, server_id: Id, account_id: Id, invite_id: Id | None, at: datetime
) -> tuple[Event, ...]:
    """Somebody with a good invite, or who opened the server, becomes a member. Raises ``BANNED``."""
    if member.ban is not None and member.ban.holds(at):
        end = "" if member.ban.until is None else f" until {member.ban.until:%Y-%m-%d %H:%M} UTC"
        raise Refusal(Code.BANNED, f"You are banned from this server{end}. Ask its moderators.")
    return (
        ServerJoined(server_id=server_id, account_id=account_id, invite_id=invite_id, membership=member.membership + 1),
    )


def left(command: LeaveServer, standing: Standing) -> tuple[Event, ...]:
    """Somebody leaves. Whoever is not in it is told what he would be told if it did not exist."""
    if not standing.inside:
        raise servers.not_found()
    if standing.rank == OWNER_RANK:
        message = "This server is yours. Give it to another member, or delete it, before you leave."
        raise Refusal(Code.OWNER_STAYS, message)
    return (ServerLeft(server_id=command.server_id, account_id=standing.account_id),)


def put_out(
    command: KickMember | BanMember | UnbanMember,
    actor: Standing,
    other: Standing,
    *,
    account: Account | None,
    at: datetime,
    limits: Limits,
) -> tuple[Event, ...]:
    """Somebody is kicked or banned, or the ban taken back."""
    actor.refuse_without(Permission.KICK_MEMBERS if isinstance(command, KickMember) else Permission.BAN_MEMBERS)
    if account is None:
        raise accounts.not_found()
    member, ids = other.member, {"server_id": command.server_id, "account_id": command.account_id}
    if isinstance(command, UnbanMember):
        return () if member.ban is None else (MemberUnbanned(**ids, moderator_id=actor.account_id),)
    if other.account_id == actor.account_id:
        message = "You cannot put yourself out. Leave the server instead."
        raise Refusal(Code.NOT_YOURSELF, message, "account_id")
    reason = text.markdown(command.reason, "reason", length_max=limits.reason_length_max, required=False)
    if isinstance(command, KickMember):
        if not member.joined:
            return ()
        _refuse_upwards(actor, other)
        return (MemberKicked(**ids, moderator_id=actor.account_id, reason=reason),)
    _refuse_upwards(actor, other)
    if command.until is not None and command.until <= at:
        raise Refusal(Code.INVALID_VALUE, "A ban ends in the future. Choose a later time, or none.", "until")
    if member.ban == Ban(command.until, reason):
        return ()
    return (
        MemberBanned(
            **ids,
            moderator_id=actor.account_id,
            reason=reason,
            until=command.until,
            was_member=member.joined,
        ),
    )


def given_role(command: GrantRole | RevokeRole, actor: Standing, other: Standing) -> tuple[Event, ...]:
    """A member gets or loses a role."""
    actor.refuse_without(Permission.MANAGE_ROLES)
    role = actor.roles.get(command.role_id)
    if role is None or command.role_id == command.server_id:
        raise roles_.not_found()
    if role.rank >= actor.rank:
        raise roles_.too_high()
    if not other.member.joined:
        message = "Only a member can have roles. Invite them, and let them join first."
        raise Refusal(Code.NOT_A_MEMBER, message, "account_id")
    ids = {"server_id": command.server_id, "account_id": command.account_id, "role_id": command.role_id}
    has = command.role_id in other.member.roles
    if isinstance(command, GrantRole):
        for permission in role.allows & ~actor.may():
            raise permissions.denied(permission)  # who gave it to himself would have what he may not give
        return () if has else (RoleGranted(**ids, granter_id=actor.account_id),)
    return (RoleRevoked(**ids, revoker_id=actor.account_id),) if has else ()


def _refuse_upwards(actor: Standing, other: Standing) -> None:
    if other.rank >= actor.rank:
        raise roles_.too_high()
