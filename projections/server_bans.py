"""Who is banned from each chat server. A row exists until the ban is taken back, also when it has ended by then.

All its events are of one stream.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.server_member import MemberBanned, MemberUnbanned, ServerJoined
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ServerBan(Row, frozen=True, gc=False):
    """A ban; ``until`` is ``None`` where it has no end."""

    key_fields: ClassVar[tuple[str, ...]] = ("server_id", "account_id")
    server_id: Id
    account_id: Id
    moderator_id: Id | None = None
    reason: str = ""
    until: datetime | None = None
    banned_at: datetime | None = None
    position: int = 0


server_bans = Projection("server_bans", version=1, row=ServerBan, local=True)


def _key(e: MemberBanned | MemberUnbanned | ServerJoined) -> tuple[Id, Id]:
    return e.server_id, e.account_id


@server_bans.on(MemberBanned, key=_key)
def _(row: ServerBan, e: MemberBanned, at: Recorded) -> ServerBan:
    return replace(
        row,
        moderator_id=e.moderator_id,
        reason=e.reason,
        until=e.until,
        banned_at=at.occurred_at,
        position=at.position,
    )


@server_bans.on(MemberUnbanned, ServerJoined, key=_key)
def _(_row: ServerBan, _e: MemberUnbanned | ServerJoined) -> None:
    return None
