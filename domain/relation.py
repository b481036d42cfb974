"""What two accounts are to each other: who follows and who blocks the other.

Both directions are one stream, because one invariant spans them: nobody follows where there is a block.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain import account
from domain.account import Account
from domain.block import AccountBlocked, AccountUnblocked, Block, Unblock
from domain.event import Event, Id
from domain.follow import AccountFollowed, AccountUnfollowed, Follow, Unfollow
from domain.refusal import Code, Refusal


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


NO_BLOCKS: Final = Blocks(by_actor=False, of_actor=False)


class Relation(Struct, frozen=True):
    """Those of the two who follow, and those who block, the other one."""

    followers: frozenset[Id] = frozenset()
    blockers: frozenset[Id] = frozenset()

    def blocks(self, actor_id: Id, other_id: Id) -> Blocks:
        """The blocks, as seen by one of them."""
        return Blocks(by_actor=actor_id in self.blockers, of_actor=other_id in self.blockers)


START: Final = Relation()


def evolve(relation: Relation, event: Event) -> Relation:
    """The relation after the event."""
    match event:
        case AccountFollowed(follower_id=follower_id):
            return replace(relation, followers=relation.followers | {follower_id})
        case AccountUnfollowed(follower_id=follower_id):
            return replace(relation, followers=relation.followers - {follower_id})
        case AccountBlocked(blocker_id=blocker_id):
            return replace(relation, blockers=relation.blockers | {blocker_id})
        case AccountUnblocked(blocker_id=blocker_id):
            return replace(relation, blockers=relation.blockers - {blocker_id})
        case _:
            return relation


def decide(
    command: Follow | Unfollow | Block | Unblock, relation: Relation, *, actor_id: Id, other: Account | None
) -> tuple[Event, ...]:
    """What the command makes of the relation of the actor and the other."""
    if other is None:
        raise account.not_found()
    other_id = other.account_id
    if other_id == actor_id and isinstance(command, Follow | Block):
        raise Refusal(Code.NOT_YOURSELF, "You cannot follow or block yourself. Choose somebody else.", "account_id")
    match command:
        case Follow():
            relation.blocks(actor_id, other_id).refuse("follow", "account_id")
            followed = AccountFollowed(follower_id=actor_id, followed_id=other_id)
            return () if actor_id in relation.followers else (followed,)
        case Unfollow():
            return _unfollowed(relation, actor_id, other_id)
        case Block():
            endings = _unfollowed(relation, actor_id, other_id) + _unfollowed(relation, other_id, actor_id)
            blocked = AccountBlocked(blocker_id=actor_id, blocked_id=other_id)
            return () if actor_id in relation.blockers else (*endings, blocked)
        case Unblock():
            unblocked = AccountUnblocked(blocker_id=actor_id, blocked_id=other_id)
            return (unblocked,) if actor_id in relation.blockers else ()


def _unfollowed(relation: Relation, follower_id: Id, followed_id: Id) -> tuple[Event, ...]:
    if follower_id not in relation.followers:
        return ()
    return (AccountUnfollowed(follower_id=follower_id, followed_id=followed_id),)
