"""Who is in each chat server, with which roles. A row exists while somebody is in it.

All its events are of one stream.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.ids import packed, unpacked
from domain.server_member import MemberBanned, MemberKicked, RoleGranted, RoleRevoked, ServerJoined, ServerLeft
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ServerMember(Row, frozen=True, gc=False):
    """A member. ``position`` is that of the joining, so lists in its order stay as they are.

    ``membership`` counts the account's memberships there. ``roles`` are the ids of the roles held, sixteen bytes each,
    ascending; some may be deleted meanwhile.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("server_id", "account_id")
    server_id: Id
    account_id: Id
    roles: bytes = b""
    joined_at: datetime | None = None
    membership: int = 0
    position: int = 0

    @property
    def role_ids(self) -> tuple[Id, ...]:
        """The roles held."""
        return unpacked(self.roles)


server_members = Projection(
    "server_members",
    version=1,
    row=ServerMember,
    signal=lambda row: (f"standing:{row.server_id}", f"membership:{row.account_id}"),
    local=True,
)


def _key(e: ServerJoined | ServerLeft | MemberKicked | MemberBanned | RoleGranted | RoleRevoked) -> tuple[Id, Id]:
    return e.server_id, e.account_id


@server_members.on(ServerJoined, key=_key)
def _(row: ServerMember, e: ServerJoined, at: Recorded) -> ServerMember:
    return replace(row, joined_at=at.occurred_at, membership=e.membership, position=at.position)


@server_members.on(RoleGranted, key=_key)
def _(row: ServerMember, e: RoleGranted) -> ServerMember:
    return replace(row, roles=packed({*row.role_ids, e.role_id}))


@server_members.on(RoleRevoked, key=_key)
def _(row: ServerMember, e: RoleRevoked) -> ServerMember:
    return replace(row, roles=packed({*row.role_ids} - {e.role_id}))


@server_members.on(ServerLeft, MemberKicked, MemberBanned, key=_key)
def _(_row: ServerMember, _e: ServerLeft | MemberKicked | MemberBanned) -> None:
    return None
