"""The list of one community's moderators: a stream that guards one invariant, that the list is never emptied.

Who moderates is told by memberships; this list is written in the same append, so that two last moderators who
leave at the same moment meet here and only one of them can.
"""

from typing import Final

from domain.event import Event, Id
from domain.limits import Limits
from domain.refusal import Code, Refusal


class ModeratorListed(Event, frozen=True):
    """The account is on the list from now on."""

    community_id: Id
    account_id: Id


class ModeratorDelisted(Event, frozen=True):
    """The account is off the list."""

    community_id: Id
    account_id: Id


START: Final[frozenset[Id]] = frozenset()


def evolve(moderator_ids: frozenset[Id], event: Event) -> frozenset[Id]:
    """Who is on the list after the event."""
    match event:
        case ModeratorListed(account_id=account_id):
            return moderator_ids | {account_id}
        case ModeratorDelisted(account_id=account_id):
            return moderator_ids - {account_id}
        case _:
            return moderator_ids


def listed(moderator_ids: frozenset[Id], *, community_id: Id, account_id: Id, limits: Limits) -> tuple[Event, ...]:
    """The account is put on the list. Raises ``TOO_MANY_MODERATORS``."""
    if account_id in moderator_ids:
        return ()
    if len(moderator_ids) >= limits.moderators_max:
        message = f"A community has at most {limits.moderators_max} moderators. One of them has to leave first."
        raise Refusal(Code.TOO_MANY_MODERATORS, message)
    return (ModeratorListed(community_id=community_id, account_id=account_id),)


def delisted(moderator_ids: frozenset[Id], *, community_id: Id, account_id: Id) -> tuple[Event, ...]:
    """The account is taken off the list. Raises ``LAST_MODERATOR`` when nobody would be left on it."""
    if account_id not in moderator_ids:
        return ()
    if len(moderator_ids) == 1:
        message = "You are the last moderator here. Appoint another one before you leave."
        raise Refusal(Code.LAST_MODERATOR, message)
    return (ModeratorDelisted(community_id=community_id, account_id=account_id),)
