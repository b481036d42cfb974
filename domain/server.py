"""A chat server: a place of channels that is entered by invitation. What it says of itself, and whose it is."""

from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from domain import permissions, text
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal


class ServerCreated(Event, frozen=True):
    """A server was opened. Its owner is its first member, by an event of the same append."""

    server_id: Id
    owner_id: Id
    name: str
    description: str


class ServerEdited(Event, frozen=True):
    """What the server says of itself, from now on."""

    server_id: Id
    editor_id: Id
    name: str
    description: str


class ServerTransferred(Event, frozen=True):
    """The server is another member's from now on."""

    server_id: Id
    owner_id: Id
    account_id: Id


class ServerDeleted(Event, frozen=True):
    """The server is gone, with everything in it, for good."""

    server_id: Id
    owner_id: Id


class CreateServer(Command, frozen=True):
    """Open a server and own it."""

    name: str
    description: str = ""


class EditServer(Command, frozen=True):
    """Change what a server says of itself. ``None`` leaves a field as it is. Needs ``MANAGE_SERVER``."""

    server_id: Id
    name: str | None = None
    description: str | None = None


class TransferServer(Command, frozen=True):
    """As the owner, give the server to another member."""

    server_id: Id
    account_id: Id


class DeleteServer(Command, frozen=True):
    """As the owner, delete the server with everything in it."""

    ends: ClassVar[bool] = True
    server_id: Id


class Server(Struct, frozen=True):
    """A server, as decisions need it."""

    server_id: Id
    owner_id: Id
    name: str
    description: str


START: Server | None = None


def evolve(server: Server | None, event: Event) -> Server | None:
    """The server after the event; ``None`` once it is deleted."""
    match event:
        case ServerCreated():
            return Server(event.server_id, event.owner_id, event.name, event.description)
        case ServerEdited() if server is not None:
            return replace(server, name=event.name, description=event.description)
        case ServerTransferred(account_id=account_id) if server is not None:
            return replace(server, owner_id=account_id)
        case ServerDeleted():
            return None
        case _:
            return server


def created(command: CreateServer, *, server_id: Id, actor_id: Id, limits: Limits) -> tuple[Event, ...]:
    """A new server."""
    name, description = _name(command.name, limits), _description(command.description, limits)
    return (ServerCreated(server_id=server_id, owner_id=actor_id, name=name, description=description),)


def decide(
    command: EditServer | TransferServer | DeleteServer,
    server: Server | None,
    *,
    actor_id: Id,
    inside: bool,
    may: Permission,
    heir_is_member: bool = False,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the command of somebody who ``may`` so much, and is ``inside`` or not, makes of the server."""
    if server is None or not inside:
        raise not_found()
    server_id = server.server_id
    match command:
        case EditServer():
            if Permission.MANAGE_SERVER not in may:
                raise permissions.denied(Permission.MANAGE_SERVER)
            name = server.name if command.name is None else _name(command.name, limits)
            said = command.description
            description = server.description if said is None else _description(said, limits)
            if (name, description) == (server.name, server.description):
                return ()
            return (ServerEdited(server_id=server_id, editor_id=actor_id, name=name, description=description),)
        case TransferServer():
            if server.owner_id == command.account_id:
                return ()
            _refuse_others(server, actor_id)
            if not heir_is_member:
                message = "Only a member can own the server. Invite them, and let them join first."
                raise Refusal(Code.NOT_A_MEMBER, message, "account_id")
            return (ServerTransferred(server_id=server_id, owner_id=actor_id, account_id=command.account_id),)
        case DeleteServer():
            _refuse_others(server, actor_id)
            return (ServerDeleted(server_id=server_id, owner_id=actor_id),)


def not_found() -> Refusal:
    """The same for a server that does not exist and for one that somebody is not in."""
    message = "There is no such server, or you are not in it. Check the link, or ask for an invite."
    return Refusal(Code.SERVER_NOT_FOUND, message, "server_id")


def _refuse_others(server: Server, actor_id: Id) -> None:
    if server.owner_id != actor_id:
        raise Refusal(Code.PERMISSION_DENIED, "Only the owner of this server can do this. Ask them.")


def _name(name: str, limits: Limits) -> str:
    return text.line(name, "name", length_max=limits.server_name_length_max)


def _description(description: str, limits: Limits) -> str:
    return text.markdown(description, "description", length_max=limits.server_description_length_max, required=False)
