"""The roles of each chat server. All events of a row are of one stream."""

from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.role import RoleCreated, RoleDeleted, RoleEdited, RoleRanked
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ServerRole(Row, frozen=True, gc=False):
    """A role; that of the highest ``rank`` is the mightiest. That of everyone has the id of the server and rank 0.

    ``permissions`` are the numbers of ``domain.permissions``, added up.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("server_id", "role_id")
    server_id: Id
    role_id: Id
    name: str = ""
    permissions: int = 0
    rank: int = 0
    position: int = 0


server_roles = Projection(
    "server_roles",
    version=1,
    row=ServerRole,
    signal=lambda row: (f"standing:{row.server_id}", f"structure:{row.server_id}"),
    local=True,
)


def _key(e: RoleCreated | RoleEdited | RoleRanked | RoleDeleted) -> tuple[Id, Id]:
    return e.server_id, e.role_id


@server_roles.on(RoleCreated, key=_key)
def _(row: ServerRole, e: RoleCreated, at: Recorded) -> ServerRole:
    return replace(row, name=e.name, permissions=e.permissions, rank=e.rank, position=at.position)


@server_roles.on(RoleEdited, key=_key)
def _(row: ServerRole, e: RoleEdited, at: Recorded) -> ServerRole:
    return replace(row, name=e.name, permissions=e.permissions, position=at.position)


@server_roles.on(RoleRanked, key=_key)
def _(row: ServerRole, e: RoleRanked, at: Recorded) -> ServerRole:
    return replace(row, rank=e.rank, position=at.position)


@server_roles.on(RoleDeleted, key=_key)
def _(_row: ServerRole, _e: RoleDeleted) -> None:
    return None
