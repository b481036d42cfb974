"""One account following another. What is decided about it is in ``relation``."""

from typing import ClassVar

from domain.command import Command
from domain.event import Event, Id


class AccountFollowed(Event, frozen=True):
    """``follower_id`` sees the posts of ``followed_id`` in the home feed from now on."""

    follower_id: Id
    followed_id: Id


class AccountUnfollowed(Event, frozen=True):
    """The following ended."""

    follower_id: Id
    followed_id: Id


class Follow(Command, frozen=True):
    """See the posts of that account in the home feed."""

    account_id: Id


class Unfollow(Command, frozen=True):
    """See them no longer."""

    ends: ClassVar[bool] = True
    account_id: Id
