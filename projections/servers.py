"""What a chat server says of itself, and how many are in it.

Fed by the server's own stream and by those of its members, so ``members`` is a sum and ``position`` a maximum. The row
of a deleted server stays, empty: nobody may be told of it.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.server import ServerCreated, ServerDeleted, ServerEdited, ServerTransferred
from domain.server_member import MemberBanned, MemberKicked, ServerJoined, ServerLeft
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Server(Row, frozen=True, gc=False):
    """A server. ``created_at`` is ``None`` until its first event is folded: nothing to show yet."""

    key_fields: ClassVar[tuple[str, ...]] = ("server_id",)
    server_id: Id
    name: str = ""
    description: str = ""
    owner_id: Id | None = None
    created_at: datetime | None = None
    deleted: bool = False
    members: int = 0
    position: int = 0


servers = Projection(
    "servers",
    version=1,
    row=Server,
    signal=lambda row: (f"standing:{row.server_id}", f"structure:{row.server_id}"),
    local=True,
)


@servers.on(ServerCreated, key=lambda e: e.server_id)
def _(row: Server, e: ServerCreated, at: Recorded) -> Server:
    return replace(
        row,
        name=e.name,
        description=e.description,
        owner_id=e.owner_id,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@servers.on(ServerEdited, key=lambda e: e.server_id)
def _(row: Server, e: ServerEdited, at: Recorded) -> Server:
    return replace(row, name=e.name, description=e.description, position=max(row.position, at.position))


@servers.on(ServerTransferred, key=lambda e: e.server_id)
def _(row: Server, e: ServerTransferred, at: Recorded) -> Server:
    return replace(row, owner_id=e.account_id, position=max(row.position, at.position))


@servers.on(ServerDeleted, key=lambda e: e.server_id)
def _(row: Server, _e: ServerDeleted, at: Recorded) -> Server:
    return replace(row, name="", description="", deleted=True, position=max(row.position, at.position))


def _moved(row: Server, by: int, at: Recorded) -> Server:
    return replace(row, members=row.members + by, position=max(row.position, at.position))


@servers.on(ServerJoined, key=lambda e: e.server_id)
def _(row: Server, _e: ServerJoined, at: Recorded) -> Server:
    return _moved(row, 1, at)


@servers.on(ServerLeft, MemberKicked, key=lambda e: e.server_id)
def _(row: Server, _e: ServerLeft | MemberKicked, at: Recorded) -> Server:
    return _moved(row, -1, at)


@servers.on(MemberBanned, key=lambda e: e.server_id if e.was_member else None)
def _(row: Server, _e: MemberBanned, at: Recorded) -> Server:
    return _moved(row, -1, at)
