"""Permissions by name, and the numbers that events keep of them."""

from enum import Enum

import strawberry

from domain.permissions import Permission as Allows
from read_api.schema.common import named


@strawberry.enum(description="What somebody may do in a server or in one of its channels.")
class Permission(Enum):
    """What somebody may do; the value is the number that events keep."""

    VIEW_CHANNELS = named(int(Allows.VIEW_CHANNELS), "See channels, and read what is said in them.")
    SEND_MESSAGES = named(int(Allows.SEND_MESSAGES), "Write in text channels.")
    ADD_REACTIONS = named(int(Allows.ADD_REACTIONS), "React to messages.")
    ATTACH_FILES = named(int(Allows.ATTACH_FILES), "Attach files to messages.")
    MENTION_EVERYONE = named(int(Allows.MENTION_EVERYONE), "Mention everyone, and roles.")
    CREATE_INVITES = named(int(Allows.CREATE_INVITES), "Make invites.")
    ANNOUNCE = named(int(Allows.ANNOUNCE), "Write in announcement channels.")
    MANAGE_MESSAGES = named(int(Allows.MANAGE_MESSAGES), "Delete what others wrote; slow mode does not hold.")
    MANAGE_CHANNELS = named(
        int(Allows.MANAGE_CHANNELS), "Create, edit, order and delete channels; say who may what there."
    )
    MANAGE_ROLES = named(int(Allows.MANAGE_ROLES), "Create, edit, order, delete and give roles below one's own.")
    MANAGE_SERVER = named(int(Allows.MANAGE_SERVER), "Edit the server; see and revoke all invites.")
    KICK_MEMBERS = named(int(Allows.KICK_MEMBERS), "Put members out.")
    BAN_MEMBERS = named(int(Allows.BAN_MEMBERS), "Put people out and keep them out.")
    ADMINISTRATOR = named(int(Allows.ADMINISTRATOR), "Everything, in every channel.")


def permissions_of(bits: int) -> list[Permission]:
    """The permissions of a number, in the order in which they are declared."""
    return [permission for permission in Permission if permission.value & bits]


def number_of(permissions: list[Permission]) -> int:
    """The number of these permissions."""
    return sum({permission.value for permission in permissions})
