"""One account blocking another. Each direction is a stream of its own."""

from typing import ClassVar

from msgspec import Struct

from domain import account
from domain.account import Account
from domain.command import Command
from domain.event import Event, Id
from domain.refusal import Code, Refusal


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

    account_id: Id


class Unblock(Command, frozen=True):
    """See and hear it again."""

    ends: ClassVar[bool] = True
    account_id: Id


class Blocks(Struct, frozen=True):
    """The blocks between somebody who wants to do something and the one it would be done to."""

    by_actor: bool
    of_actor: bool

    def refuse(self, verb: str, field: str | None = None) -> None:
        """Raises ``BLOCKED`` if there is one in either direction."""
        if self.by_actor:
            raise Refusal(Code.BLOCKED, f"You block this person. Unblock them to {verb} them.", field)
        if self.of_actor:
            raise Refusal(Code.BLOCKED, f"This person does not let you {verb} them.", field)


NO_BLOCKS = Blocks(by_actor=False, of_actor=False)

START = False


def evolve(blocking: bool, event: Event) -> bool:
    """Whether the one blocks the other after the event."""
    match event:
        case AccountBlocked():
            return True
        case AccountUnblocked():
            return False
        case _:
            return blocking


def decide(command: Block | Unblock, blocking: bool, *, blocker_id: Id, blocked: Account | None) -> tuple[Event, ...]:
    """What the command makes of the block. Followings that it ends are decided by ``follow.ended``."""
    if blocked is None:
        raise account.not_found()
    match command:
        case Block():
            if command.account_id == blocker_id:
                raise Refusal(Code.NOT_YOURSELF, "You cannot block yourself. Choose somebody else.", "account_id")
            return () if blocking else (AccountBlocked(blocker_id=blocker_id, blocked_id=command.account_id),)
        case Unblock():
            return (AccountUnblocked(blocker_id=blocker_id, blocked_id=command.account_id),) if blocking else ()
