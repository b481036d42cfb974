"""Whom each channel treats otherwise than its server does. All events of a row are of one stream."""

from typing import ClassVar

from msgspec.structs import replace

from domain.channel import OverrideSet
from domain.event import Id
from projections.core import Projection, Row
from schemas.envelope import Recorded


class ChannelOverride(Row, frozen=True, gc=False):
    """What the channel allows and denies a role or an account: numbers of ``domain.permissions``, added up.

    ``membership`` says for which of an account's memberships something is allowed; 0 for a role.
    """

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "target_id")
    channel_id: Id
    target_id: Id
    allow: int = 0
    deny: int = 0
    membership: int = 0
    position: int = 0


channel_overrides = Projection(
    "channel_overrides", version=1, row=ChannelOverride, signal=lambda row: f"standing:{row.channel_id}", local=True
)


@channel_overrides.on(OverrideSet, key=lambda e: (e.channel_id, e.target_id))
def _(row: ChannelOverride, e: OverrideSet, at: Recorded) -> ChannelOverride | None:
    if not (e.allow or e.deny):
        return None
    return replace(row, allow=e.allow, deny=e.deny, membership=e.membership, position=at.position)
