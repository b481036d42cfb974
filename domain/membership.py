"""One account's standing in one community."""

from domain.event import Event, Id


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


class ModeratorAppointed(Event, frozen=True):
    """The member moderates from now on. The creator is appointed by himself."""

    community_id: Id
    account_id: Id
    appointer_id: Id
