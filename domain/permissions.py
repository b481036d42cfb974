"""What somebody may do in a server and in each of its channels: one pure function for commands, queries and pushes.

The rules are those that people know from Discord (https://docs.discord.com/developers/topics/permissions):

1. Who is no member may nothing. The owner may everything, and so may who holds a role with ``ADMINISTRATOR``.
2. In the server one may what the role of everyone allows, and what any role that one holds allows.
3. In a channel, overrides change that in this order: what everyone's denies, then what it allows; what those of one's
   roles deny, all together, then what they allow; what one's own denies, then what it allows.
4. Who may not see a channel may nothing there.
"""

from collections.abc import Iterable, Mapping
from enum import IntFlag
from functools import reduce
from operator import or_
from typing import Final

from msgspec import Struct

from domain.event import Id
from domain.refusal import Code, Refusal


class Permission(IntFlag):
    """Every permission by name. Events keep the numbers, so a number is given once and never changes."""

    VIEW_CHANNELS = 1 << 0
    """See channels, and read what is said in them."""
    SEND_MESSAGES = 1 << 1
    """Write in text channels."""
    ADD_REACTIONS = 1 << 2
    ATTACH_FILES = 1 << 3
    MENTION_EVERYONE = 1 << 4
    """Mention everyone, and roles."""
    CREATE_INVITES = 1 << 5
    ANNOUNCE = 1 << 6
    """Write in announcement channels."""
    MANAGE_MESSAGES = 1 << 7
    """Delete what others wrote; slow mode does not hold."""
    MANAGE_CHANNELS = 1 << 8
    """Create, edit, order and delete channels, and say who may what in them."""
    MANAGE_ROLES = 1 << 9
    """Create, edit, order, delete, grant and revoke roles below one's own highest."""
    MANAGE_SERVER = 1 << 10
    """Edit what the server says of itself; see and revoke all invites."""
    KICK_MEMBERS = 1 << 11
    BAN_MEMBERS = 1 << 12
    ADMINISTRATOR = 1 << 13
    """Everything, in every channel."""


NONE: Final = Permission(0)
ALL: Final = reduce(or_, Permission)
EVERYONE: Final = (
    Permission.VIEW_CHANNELS
    | Permission.SEND_MESSAGES
    | Permission.ADD_REACTIONS
    | Permission.ATTACH_FILES
    | Permission.CREATE_INVITES
)
"""What the role of everyone allows in a new server."""
OF_CHANNELS: Final = (
    Permission.VIEW_CHANNELS
    | Permission.SEND_MESSAGES
    | Permission.ADD_REACTIONS
    | Permission.ATTACH_FILES
    | Permission.MENTION_EVERYONE
    | Permission.ANNOUNCE
    | Permission.MANAGE_MESSAGES
    | Permission.MANAGE_CHANNELS
)
"""Those that a channel can override; the others are the server's."""


class Override(Struct, frozen=True):
    """What a channel denies and allows one role or one member, whatever holds in the server. Nothing is in both.

    ``membership`` says which of a member's memberships it is about, as they are counted; 0 for a role.
    """

    allow: Permission = NONE
    deny: Permission = NONE
    membership: int = 0


NO_OVERRIDES: Final[Mapping[Id, Override]] = {}


def allowed(
    *,
    everyone_id: Id,
    roles: Mapping[Id, Permission],
    held: Iterable[Id],
    member_id: Id,
    membership: int,
    is_member: bool,
    is_owner: bool,
    overrides: Mapping[Id, Override] | None = None,
) -> Permission:
    """What a member may, in the server or, with the ``overrides`` of one, in a channel.

    ``roles`` are all roles of the server with what each allows, that of everyone (``everyone_id``) among them;
    ``held`` those that were granted to the member, of which some may be deleted meanwhile. ``overrides`` are by the id
    of a role or account. What one allowed to somebody who left or was put out since is allowed no more when he comes
    back, as ``membership`` is another; what it denied is denied still.
    """
    if not is_member:
        return NONE
    own = [role_id for role_id in held if role_id in roles and role_id != everyone_id]
    in_server = _united(roles.get(role_id, NONE) for role_id in (everyone_id, *own))
    if is_owner or Permission.ADMINISTRATOR in in_server:
        return ALL
    if overrides is None:
        return in_server
    found = in_server
    found = _overridden(found, [overrides.get(everyone_id)])
    found = _overridden(found, [overrides.get(role_id) for role_id in own])
    mine = overrides.get(member_id)
    if mine is not None and mine.membership != membership:
        mine = Override(deny=mine.deny)
    found = _overridden(found, [mine])
    return found if Permission.VIEW_CHANNELS in found else NONE


def _overridden(found: Permission, overrides: Iterable[Override | None]) -> Permission:
    said = [override for override in overrides if override is not None]
    denied = _united(override.deny for override in said)
    given = _united(override.allow for override in said)
    return found & ~denied | given


def _united(permissions: Iterable[Permission]) -> Permission:
    return reduce(or_, permissions, NONE)


def checked(bits: int, field: str, *, among: Permission = ALL) -> Permission:
    """The permissions of a number that a client gave. Raises ``INVALID_VALUE`` when it holds others than those."""
    if bits < 0 or bits & ~int(among):
        names = ", ".join(permission.name or "" for permission in among)
        raise Refusal(Code.INVALID_VALUE, f"Choose from these permissions: {names}.", field)
    return Permission(bits)


def denied(permission: Permission) -> Refusal:
    """The refusal of what needs that permission."""
    name = permission.name or ""
    message = f"You need the permission {name} for this. Ask somebody who manages the server's roles."
    return Refusal(Code.PERMISSION_DENIED, message)
