"""One account blocking another."""

from domain.event import Event, Id


class AccountBlocked(Event, frozen=True):
    """``blocker_id`` neither sees nor hears ``blocked_id`` from now on."""

    blocker_id: Id
    blocked_id: Id


class AccountUnblocked(Event, frozen=True):
    """The block ended."""

    blocker_id: Id
    blocked_id: Id
