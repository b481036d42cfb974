"""One account's standing in one community."""

from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import account as accounts
from domain import community as communities
from domain.access import NO_ACCESS, Access
from domain.account import Account
from domain.command import Command
from domain.community import Community
from domain.event import Event, Id
from domain.refusal import Code, Refusal


class MemberInvited(Event, frozen=True):
    """A moderator let the account into a private community, or to post in a restricted one."""

    community_id: Id
    account_id: Id
    inviter_id: Id


class MemberJoined(Event, frozen=True):
    """The account is a member from now on."""

    community_id: Id
    account_id: Id


class MemberLeft(Event, frozen=True):
    """The account is no member any more, nor a moderator, nor invited."""

    community_id: Id
    account_id: Id


class InvitationDeclined(Event, frozen=True):
    """The account, which never joined, is not invited any more."""

    community_id: Id
    account_id: Id


class ModeratorAppointed(Event, frozen=True):
    """The member moderates from now on. The creator is appointed by himself."""

    community_id: Id
    account_id: Id
    appointer_id: Id


class JoinCommunity(Command, frozen=True):
    """Become a member. A private community takes only the invited; to others it does not exist."""

    community_id: Id


class LeaveCommunity(Command, frozen=True):
    """Be a member no longer, nor a moderator, nor invited. Whoever did not join gives up the invitation."""

    ends: ClassVar[bool] = True
    community_id: Id


class InviteMember(Command, frozen=True):
    """As a moderator, let somebody into a private community, or post in a restricted one."""

    community_id: Id
    account_id: Id


class AppointModerator(Command, frozen=True):
    """As a moderator, make a member another one."""

    community_id: Id
    account_id: Id


class Membership(Struct, frozen=True):
    """A standing, as decisions need it."""

    invited: bool = False
    joined: bool = False
    moderator: bool = False


START: Final = Membership()


def evolve(membership: Membership, event: Event) -> Membership:
    """The standing after the event."""
    match event:
        case MemberInvited():
            return replace(membership, invited=True)
        case MemberJoined():
            return replace(membership, joined=True)
        case ModeratorAppointed():
            return replace(membership, moderator=True)
        case MemberLeft() | InvitationDeclined():
            return START
        case _:
            return membership


def access(community: Community | None, membership: Membership) -> Access:
    """What somebody with this standing may do in the community."""
    if community is None:
        return NO_ACCESS
    inside = membership.joined or membership.moderator
    return Access(
        sees=inside or community.visibility != "private",
        posts={
            "public": True,
            "restricted": membership.invited or membership.moderator,
            "private": inside,
        }[community.visibility],
        moderates=membership.moderator,
        anonymous_allowed=community.anonymous_allowed,
    )


def founded(community_id: Id, founder_id: Id) -> tuple[Event, ...]:
    """The founder of a new community becomes its first member and moderator."""
    return (
        MemberJoined(community_id=community_id, account_id=founder_id),
        ModeratorAppointed(community_id=community_id, account_id=founder_id, appointer_id=founder_id),
    )


def decide_own(
    command: JoinCommunity | LeaveCommunity, membership: Membership, *, actor_id: Id, community: Community | None
) -> tuple[Event, ...]:
    """What the command makes of the actor's own standing. That no last moderator leaves is decided by their list."""
    if community is None or (community.visibility == "private" and membership == START):
        raise communities.not_found()
    match command:
        case JoinCommunity():
            if membership.joined:
                return ()
            return (MemberJoined(community_id=command.community_id, account_id=actor_id),)
        case LeaveCommunity():
            if membership.joined:
                return (MemberLeft(community_id=command.community_id, account_id=actor_id),)
            if membership.invited:
                return (InvitationDeclined(community_id=command.community_id, account_id=actor_id),)
            return ()


def decide_other(
    command: InviteMember | AppointModerator,
    membership: Membership,
    *,
    actor_id: Id,
    access: Access,
    account: Account | None,
) -> tuple[Event, ...]:
    """What the actor, who has that ``access``, makes of somebody else's standing."""
    if not access.sees:
        raise communities.not_found()
    if not access.moderates:
        raise communities.not_moderator()
    if account is None:
        raise accounts.not_found()
    ids = {"community_id": command.community_id, "account_id": command.account_id}
    match command:
        case InviteMember():
            if membership.invited or membership.moderator:
                return ()
            return (MemberInvited(**ids, inviter_id=actor_id),)
        case AppointModerator():
            if membership.moderator:
                return ()
            if not membership.joined:
                message = "Only a member can become a moderator. Invite them, and let them join first."
                raise Refusal(Code.NOT_A_MEMBER, message, "account_id")
            return (ModeratorAppointed(**ids, appointer_id=actor_id),)
