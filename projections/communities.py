"""What a community says of itself, how many members it has and how many posts that are not deleted.

Fed by the community's own stream and by those of its memberships and posts, so counts are sums and
``position`` a maximum.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.community import CommunityCreated, CommunityEdited, CommunityImported
from domain.event import Id
from domain.membership import MemberJoined, MemberLeft
from domain.post import PostDeleted, PostImported, PostSubmitted
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Community(Row, frozen=True, gc=False):
    """A community. ``created_at`` is ``None`` until its own first event is folded: nothing to show yet."""

    key_fields: ClassVar[tuple[str, ...]] = ("community_id",)
    community_id: Id
    name: str = ""
    title: str = ""
    description: str = ""
    visibility: str = "private"
    anonymous_allowed: bool = False
    imported: bool = False
    creator_id: Id | None = None
    created_at: datetime | None = None
    members: int = 0
    posts: int = 0
    position: int = 0


communities = Projection("communities", version=1, row=Community)


@communities.on(CommunityCreated, key=lambda e: e.community_id)
def _(row: Community, e: CommunityCreated, at: Recorded) -> Community:
    return replace(
        row,
        name=e.name,
        title=e.title,
        description=e.description,
        visibility=e.visibility,
        anonymous_allowed=e.anonymous_allowed,
        creator_id=e.creator_id,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@communities.on(CommunityImported, key=lambda e: e.community_id)
def _(row: Community, e: CommunityImported, at: Recorded) -> Community:
    return replace(
        row,
        name=e.name,
        title=e.name,
        visibility="public",
        imported=True,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@communities.on(CommunityEdited, key=lambda e: e.community_id)
def _(row: Community, e: CommunityEdited, at: Recorded) -> Community:
    return replace(
        row,
        title=e.title,
        description=e.description,
        visibility=e.visibility,
        anonymous_allowed=e.anonymous_allowed,
        position=max(row.position, at.position),
    )


@communities.on(MemberJoined, key=lambda e: e.community_id)
def _(row: Community, _e: MemberJoined, at: Recorded) -> Community:
    return replace(row, members=row.members + 1, position=max(row.position, at.position))


@communities.on(MemberLeft, key=lambda e: e.community_id)
def _(row: Community, _e: MemberLeft, at: Recorded) -> Community:
    return replace(row, members=row.members - 1, position=max(row.position, at.position))


@communities.on(PostSubmitted, key=lambda e: e.community_id)
def _(row: Community, _e: PostSubmitted, at: Recorded) -> Community:
    return replace(row, posts=row.posts + 1, position=max(row.position, at.position))


@communities.on(PostImported, key=lambda e: None if e.removed else e.community_id)
def _(row: Community, _e: PostImported, at: Recorded) -> Community:
    return replace(row, posts=row.posts + 1, position=max(row.position, at.position))


@communities.on(PostDeleted, key=lambda e: e.community_id)
def _(row: Community, _e: PostDeleted, at: Recorded) -> Community:
    return replace(row, posts=row.posts - 1, position=max(row.position, at.position))
