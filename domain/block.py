"""One account blocking another. What is decided about it is in ``relation``."""

from typing import ClassVar

from domain.command import Command
from domain.event import Event, Id


class AccountBlocked(Event, frozen=True):
    """``blocker_id`` neither sees nor hears ``blocked_id`` from now on."""

    blocker_id: Id
    blocked_id: Id


class AccountUnblocked(Event, frozen=True):
    """The block ended."""

    blocker_id: Id
    blocked_id: Id


class Block(Command, frozen=True):
    """Neither see nor hear that account. Neither of the two follows the other any more."""

    ends: ClassVar[bool] = True
    account_id: Id


class Unblock(Command, frozen=True):
    """See and hear it again."""

    account_id: Id
