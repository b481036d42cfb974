"""The invites of each chat server, with how often each was used.

Fed by the invite's own stream and by a stream for each use, so ``uses`` is a sum and ``position`` a maximum.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.invite import InviteCreated, InviteRevoked, InviteUsed
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Invite(Row, frozen=True, gc=False):
    """An invite. ``None``: no end, or no limit of uses; ``server_id`` is ``None`` until its own event is folded."""

    key_fields: ClassVar[tuple[str, ...]] = ("invite_id",)
    invite_id: Id
    server_id: Id | None = None
    creator_id: Id | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    uses_max: int | None = None
    uses: int = 0
    revoked: bool = False
    position: int = 0


invites = Projection("invites", version=1, row=Invite, local=True)


@invites.on(InviteCreated, key=lambda e: e.invite_id)
def _(row: Invite, e: InviteCreated, at: Recorded) -> Invite:
    return replace(
        row,
        server_id=e.server_id,
        creator_id=e.creator_id,
        created_at=at.occurred_at,
        expires_at=e.expires_at,
        uses_max=e.uses_max,
        position=max(row.position, at.position),
    )


@invites.on(InviteUsed, key=lambda e: e.invite_id)
def _(row: Invite, _e: InviteUsed, at: Recorded) -> Invite:
    return replace(row, uses=row.uses + 1, position=max(row.position, at.position))


@invites.on(InviteRevoked, key=lambda e: e.invite_id)
def _(row: Invite, _e: InviteRevoked, at: Recorded) -> Invite:
    return replace(row, revoked=True, position=max(row.position, at.position))
