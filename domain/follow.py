"""One account following another."""

from domain.event import Event, Id


class AccountFollowed(Event, frozen=True):
    """``follower_id`` sees the posts of ``followed_id`` in the home feed from now on."""

    follower_id: Id
    followed_id: Id


class AccountUnfollowed(Event, frozen=True):
    """The following ended."""

    follower_id: Id
    followed_id: Id
