"""One account following another."""

from typing import ClassVar

from domain import account
from domain.account import Account
from domain.block import Blocks
from domain.command import Command
from domain.event import Event, Id
from domain.refusal import Code, Refusal


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


START = False


def evolve(following: bool, event: Event) -> bool:
    """Whether the one follows the other after the event."""
    match event:
        case AccountFollowed():
            return True
        case AccountUnfollowed():
            return False
        case _:
            return following


def decide(
    command: Follow | Unfollow, following: bool, *, follower_id: Id, followed: Account | None, blocks: Blocks
) -> tuple[Event, ...]:
    """What the command makes of the following. ``blocks`` are those between the two."""
    if followed is None:
        raise account.not_found()
    match command:
        case Follow():
            if command.account_id == follower_id:
                raise Refusal(Code.NOT_YOURSELF, "You cannot follow yourself. Choose somebody else.", "account_id")
            blocks.refuse("follow", "account_id")
            if following:
                return ()
            return (AccountFollowed(follower_id=follower_id, followed_id=command.account_id),)
        case Unfollow():
            return ended(following, follower_id=follower_id, followed_id=command.account_id)


def ended(following: bool, *, follower_id: Id, followed_id: Id) -> tuple[Event, ...]:
    """The following ends, if it lasted."""
    return (AccountUnfollowed(follower_id=follower_id, followed_id=followed_id),) if following else ()
