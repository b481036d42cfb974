"""Every joining and leaving, so that the size of a community can be told as of any past position. One row an event."""

from typing import ClassVar

from domain.event import Id
from domain.membership import MemberJoined, MemberLeft
from domain.post import PostDeleted
from projections.core import Projection, Row
from schemas.envelope import Recorded

NOWHERE = Id("00000000-0000-0000-0000-000000000000")


class MemberChange(Row, frozen=True, gc=False):
    """What the event at ``position`` did to the number of the community's members: ``change`` is 1 or -1."""

    key_fields: ClassVar[tuple[str, ...]] = ("position",)
    position: int
    community_id: Id = NOWHERE
    change: int = 0


# Paging takes these off what `communities` counts, so both must be at the same position in each partition, moved by the
# same transaction: that view is not local, so this one is not either, and it stands wherever that one does.
member_changes = Projection("member_changes", version=1, row=MemberChange)


@member_changes.on(MemberJoined, keys=lambda _, at: (at.position,))
def _(row: MemberChange, e: MemberJoined, _at: Recorded) -> MemberChange:
    return MemberChange(row.position, e.community_id, 1)


@member_changes.on(MemberLeft, keys=lambda _, at: (at.position,))
def _(row: MemberChange, e: MemberLeft, _at: Recorded) -> MemberChange:
    return MemberChange(row.position, e.community_id, -1)


@member_changes.on(PostDeleted, key=lambda _: None)
def _(row: MemberChange, _e: PostDeleted) -> MemberChange:
    """Of no row: what is said of posts is on the topic that `communities` counts posts from."""
    return row
