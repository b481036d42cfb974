"""The roles of one server: what each allows, and their order. One stream, for the order is one invariant.

The role of everyone has the id of the server and rank 0; it is never deleted nor moved. The higher the rank of another,
the mightier it is: who manages roles, kicks or bans does so to those below his own highest.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import ordering, permissions, text
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal

EVERYONE_NAME: Final = "everyone"
OWNER_RANK: Final = 1 << 62
"""Above every role."""


class RoleCreated(Event, frozen=True):
    """A role is there from now on. ``permissions`` are the numbers of those that it allows, added up.

    ``rank`` orders the roles, the mightiest last; see ``domain.ordering``.
    """

    server_id: Id
    role_id: Id
    creator_id: Id
    name: str
    permissions: int
    rank: int


class RoleEdited(Event, frozen=True):
    """What a role is called and allows, from now on."""

    server_id: Id
    role_id: Id
    editor_id: Id
    name: str
    permissions: int


class RoleRanked(Event, frozen=True):
    """A role has another rank, as it was moved or others around it were."""

    server_id: Id
    role_id: Id
    rank: int


class RoleDeleted(Event, frozen=True):
    """The role is gone; who held it holds it no more."""

    server_id: Id
    role_id: Id
    deleter_id: Id


class CreateRole(Command, frozen=True):
    """Make a role, the lowest of all. ``permissions`` are those of ``Permission``, added up. Needs ``MANAGE_ROLES``."""

    server_id: Id
    name: str
    permissions: int = 0


class EditRole(Command, frozen=True):
    """Change what a role is called or allows; also that of everyone, but for its name. Needs ``MANAGE_ROLES``."""

    server_id: Id
    role_id: Id
    name: str | None = None
    permissions: int | None = None


class MoveRole(Command, frozen=True):
    """Put a role directly above another one; that of everyone makes it the lowest. Needs ``MANAGE_ROLES``."""

    server_id: Id
    role_id: Id
    above_id: Id


class DeleteRole(Command, frozen=True):
    """Take a role away from the server and from all who hold it. Needs ``MANAGE_ROLES``."""

    ends: ClassVar[bool] = True
    server_id: Id
    role_id: Id


class Role(Struct, frozen=True):
    """A role, as decisions need it."""

    name: str
    allows: Permission
    rank: int


Roles = Mapping[Id, Role]
"""All roles of a server by their ids, that of everyone among them; empty for no server."""

START: Final[Roles] = MappingProxyType({})


def evolve(roles: Roles, event: Event) -> Roles:
    """The roles after the event."""
    match event:
        case RoleCreated(role_id=role_id):
            return {**roles, role_id: Role(event.name, Permission(event.permissions), event.rank)}
        case RoleEdited(role_id=role_id):
            edited = replace(roles[role_id], name=event.name, allows=Permission(event.permissions))
            return {**roles, role_id: edited}
        case RoleRanked(role_id=role_id):
            return {**roles, role_id: replace(roles[role_id], rank=event.rank)}
        case RoleDeleted(role_id=gone_id):
            return {role_id: role for role_id, role in roles.items() if role_id != gone_id}
        case _:
            return roles


def founded(server_id: Id, founder_id: Id) -> tuple[Event, ...]:
    """The role of everyone in a new server."""
    return (
        RoleCreated(
            server_id=server_id,
            role_id=server_id,
            creator_id=founder_id,
            name=EVERYONE_NAME,
            permissions=int(permissions.EVERYONE),
            rank=0,
        ),
    )


def highest(roles: Roles, held: Iterable[Id]) -> int:
    """The rank of the highest of the roles held; 0 if they are none."""
    return max((roles[role_id].rank for role_id in held if role_id in roles), default=0)


def decide(
    command: CreateRole | EditRole | MoveRole | DeleteRole,
    roles: Roles,
    *,
    actor_id: Id,
    role_id: Id,
    may: Permission,
    rank: int,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the command makes of the roles. Who asks manages roles, and their highest one has that ``rank``.

    ``may`` is what they may in all; ``role_id`` the role that it is about, or makes.
    """
    if isinstance(command, CreateRole):
        if not rank:
            raise too_high()
        return _created(command, roles, role_id=role_id, actor_id=actor_id, may=may, limits=limits)
    role = roles.get(role_id)
    if role is None:
        raise not_found()
    if role.rank >= rank:
        raise too_high()
    match command:
        case EditRole():
            return _edited(command, role, actor_id=actor_id, may=may, limits=limits)
        case MoveRole():
            return _moved(command, roles, rank)
        case DeleteRole():
            _refuse_everyone(command)
            return (RoleDeleted(server_id=command.server_id, role_id=role_id, deleter_id=actor_id),)


def not_found(field: str = "role_id") -> Refusal:
    """The server has no such role."""
    return Refusal(Code.ROLE_NOT_FOUND, "This server has no such role. Choose one of its roles.", field)


def too_high() -> Refusal:
    """What somebody wants to do is for those above him."""
    message = "This is for somebody with a higher role than yours. Ask them."
    return Refusal(Code.ROLE_TOO_HIGH, message)


def _created(
    command: CreateRole, roles: Roles, *, role_id: Id, actor_id: Id, may: Permission, limits: Limits
) -> tuple[Event, ...]:
    if len(roles) > limits.roles_max:
        message = f"A server has at most {limits.roles_max} roles. Delete one first."
        raise Refusal(Code.TOO_MANY_ROLES, message)
    changed = dict(ordering.put(_ranks(roles), role_id, None))
    made = RoleCreated(
        server_id=command.server_id,
        role_id=role_id,
        creator_id=actor_id,
        name=_name(command.name, limits),
        permissions=int(_granted(command.permissions, may, before=permissions.NONE)),
        rank=changed.pop(role_id),
    )
    return (*_ranked(command.server_id, changed), made)


def _moved(command: MoveRole, roles: Roles, rank: int) -> tuple[Event, ...]:
    _refuse_everyone(command)
    if command.above_id not in roles:
        raise not_found("above_id")
    behind = None if command.above_id == command.server_id else command.above_id
    if roles[command.above_id].rank >= rank:
        raise too_high()
    return _ranked(command.server_id, ordering.put(_ranks(roles), command.role_id, behind))


def _edited(command: EditRole, role: Role, *, actor_id: Id, may: Permission, limits: Limits) -> tuple[Event, ...]:
    name, allows = role.name, role.allows
    if command.name is not None:
        _refuse_everyone(command)
        name = _name(command.name, limits)
    if command.permissions is not None:
        allows = _granted(command.permissions, may, before=role.allows)
    if (name, allows) == (role.name, role.allows):
        return ()
    return (
        RoleEdited(
            server_id=command.server_id,
            role_id=command.role_id,
            editor_id=actor_id,
            name=name,
            permissions=int(allows),
        ),
    )


def _granted(bits: int, may: Permission, *, before: Permission) -> Permission:
    """What a role is to allow, where nobody changes what he may not do himself."""
    after = permissions.checked(bits, "permissions")
    for permission in after ^ before:
        if permission not in may:
            raise permissions.denied(permission)
    return after


def _ranks(roles: Roles) -> Mapping[Id, int]:
    """The ranks of all but the role of everyone."""
    return {role_id: role.rank for role_id, role in roles.items() if role.rank}


def _ranked(server_id: Id, ranks: Mapping[Id, int]) -> tuple[Event, ...]:
    return tuple(RoleRanked(server_id=server_id, role_id=role_id, rank=rank) for role_id, rank in ranks.items())


def _refuse_everyone(command: EditRole | MoveRole | DeleteRole) -> None:
    if command.role_id == command.server_id:
        message = "The role of everyone keeps its name and its place. Choose another role."
        raise Refusal(Code.INVALID_VALUE, message, "role_id")


def _name(name: str, limits: Limits) -> str:
    return text.line(name, "name", length_max=limits.role_name_length_max)
