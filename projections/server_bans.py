"""Who was put out of each chat server: banned, or kicked.

The row of a ban exists until it is taken back, also when it has ended by then; that of a kick until they are back.
All its events are of one stream.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.server_member import MemberBanned, MemberKicked, MemberUnbanned, ServerJoined
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ServerBan(Row, frozen=True, gc=False):
    """A ban, whose ``until`` is ``None`` where it has no end; or, if ``kicked``, a kick."""

    key_fields: ClassVar[tuple[str, ...]] = ("server_id", "account_id")
    server_id: Id
    account_id: Id
    kicked: bool = False
    moderator_id: Id | None = None
    reason: str = ""
    until: datetime | None = None
    since: datetime | None = None
    position: int = 0


server_bans = Projection("server_bans", version=2, row=ServerBan, local=True)


def _key(e: MemberBanned | MemberKicked | MemberUnbanned | ServerJoined) -> tuple[Id, Id]:
    return e.server_id, e.account_id


@server_bans.on(MemberBanned, MemberKicked, key=_key)
def _(row: ServerBan, e: MemberBanned | MemberKicked, at: Recorded) -> ServerBan:
    return replace(
        row,
        kicked=isinstance(e, MemberKicked),
        moderator_id=e.moderator_id,
        reason=e.reason,
        until=None if isinstance(e, MemberKicked) else e.until,
        since=at.occurred_at,
        position=at.position,
    )


@server_bans.on(MemberUnbanned, ServerJoined, key=_key)
def _(_row: ServerBan, _e: MemberUnbanned | ServerJoined) -> None:
    return None
