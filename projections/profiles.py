"""Who somebody is, with how many follow him and how many he follows.

Fed by the account's own stream and by the streams of follows, so counts are sums and ``position`` a maximum.
"""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.account import AccountImported, AccountRegistered, DisplayNameChanged
from domain.event import Id
from domain.follow import AccountFollowed, AccountUnfollowed
from projections.core import Projection, Row
from schemas.envelope import Recorded


class Profile(Row, frozen=True, gc=False):
    """An account. ``created_at`` is ``None`` until the account's first event is folded: nobody to show yet."""

    key_fields: ClassVar[tuple[str, ...]] = ("account_id",)
    account_id: Id
    name: str = ""
    display_name: str = ""
    imported: bool = False
    created_at: datetime | None = None
    followers: int = 0
    following: int = 0
    position: int = 0


profiles = Projection("profiles", version=1, row=Profile)


@profiles.on(AccountRegistered, key=lambda e: e.account_id)
def _(row: Profile, e: AccountRegistered, at: Recorded) -> Profile:
    return replace(
        row,
        name=e.name,
        display_name=e.display_name,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@profiles.on(AccountImported, key=lambda e: e.account_id)
def _(row: Profile, e: AccountImported, at: Recorded) -> Profile:
    return replace(
        row,
        name=e.name,
        display_name=e.name,
        imported=True,
        created_at=at.occurred_at,
        position=max(row.position, at.position),
    )


@profiles.on(DisplayNameChanged, key=lambda e: e.account_id)
def _(row: Profile, e: DisplayNameChanged, at: Recorded) -> Profile:
    return replace(row, display_name=e.display_name, position=max(row.position, at.position))


@profiles.on(AccountFollowed, key=lambda e: e.followed_id)
def _(row: Profile, _e: AccountFollowed, at: Recorded) -> Profile:
    return replace(row, followers=row.followers + 1, position=max(row.position, at.position))


@profiles.on(AccountFollowed, key=lambda e: e.follower_id)
def _(row: Profile, _e: AccountFollowed, at: Recorded) -> Profile:
    return replace(row, following=row.following + 1, position=max(row.position, at.position))


@profiles.on(AccountUnfollowed, key=lambda e: e.followed_id)
def _(row: Profile, _e: AccountUnfollowed, at: Recorded) -> Profile:
    return replace(row, followers=row.followers - 1, position=max(row.position, at.position))


@profiles.on(AccountUnfollowed, key=lambda e: e.follower_id)
def _(row: Profile, _e: AccountUnfollowed, at: Recorded) -> Profile:
    return replace(row, following=row.following - 1, position=max(row.position, at.position))
