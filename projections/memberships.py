"""One account's standing in one community: invited, member, moderator. A row exists while it has any.

All events of a row are of one stream, so their order holds everywhere.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.event import Id
from domain.membership import InvitationDeclined, MemberInvited, MemberJoined, MemberLeft, ModeratorAppointed
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Membership(Row, frozen=True, gc=False):
    """A standing. ``joined_at`` is when the account last became a member, and ``position`` that event's: 0 before.

    So lists in order of ``position`` stay in the order of joining, whatever else happens to those in them.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("community_id", "account_id")
    community_id: Id
    account_id: Id
    invited: bool = False
    joined: bool = False
    moderator: bool = False
    joined_at: datetime | None = None
    position: int = 0


memberships = Projection("memberships", version=2, row=Membership, local=True)


def _key(e: MemberInvited | MemberJoined | MemberLeft | InvitationDeclined | ModeratorAppointed) -> tuple[Id, Id]:
    return e.community_id, e.account_id


@memberships.on(MemberInvited, key=_key)
def _(row: Membership, _e: MemberInvited) -> Membership:
    return replace(row, invited=True)


@memberships.on(MemberJoined, key=_key)
def _(row: Membership, _e: MemberJoined, at: Recorded) -> Membership:
    return replace(row, joined=True, joined_at=at.occurred_at, position=at.position)


@memberships.on(ModeratorAppointed, key=_key)
def _(row: Membership, _e: ModeratorAppointed) -> Membership:
    return replace(row, moderator=True)


@memberships.on(MemberLeft, key=_key)
def _(_row: Membership, _e: MemberLeft) -> None:
    return None


@memberships.on(InvitationDeclined, key=_key)
def _(_row: Membership, _e: InvitationDeclined) -> None:
    return None
