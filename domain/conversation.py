"""Conversations outside of servers: between two people, or in a group that somebody made.

The one between two people has an id that is derived from theirs (``domain.ids.direct_id``), so there is one, whoever
opens it; it is theirs for good. A group is made, has an owner, and all who are in it may add others and rename it;
its owner also puts people out. Either is one stream, which holds who is in it.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import account as accounts
from domain import permissions, text
from domain.account import Account
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from domain.relation import NO_BLOCKS, Blocks

WHERE_BLOCKED: Final = Permission.VIEW_CHANNELS
"""What one may where either of the two blocks the other: read what was said before."""
WHERE_INSIDE: Final = (
    Permission.VIEW_CHANNELS | Permission.SEND_MESSAGES | Permission.ADD_REACTIONS | Permission.ATTACH_FILES
)
"""What everybody may who is in a conversation, the owner of a group included: nobody deletes what others wrote."""


class DirectOpened(Event, frozen=True):
    """Two people have a conversation from now on."""

    conversation_id: Id
    opener_id: Id
    other_id: Id


class GroupCreated(Event, frozen=True):
    """A group was made. Its owner is its first member, by an event of the same append. An empty name is none."""

    subject: ClassVar[str] = "owner_id"
    conversation_id: Id
    owner_id: Id
    name: Personal


class GroupRenamed(Event, frozen=True):
    """The group is called otherwise from now on; nothing, if the name is empty."""

    subject: ClassVar[str] = "editor_id"
    conversation_id: Id
    editor_id: Id
    name: Personal


class GroupHandedOver(Event, frozen=True):
    """The group is another member's from now on; ``owner_id`` is whose it was."""

    conversation_id: Id
    owner_id: Id
    account_id: Id


class GroupJoined(Event, frozen=True):
    """The account is in the group from now on; ``adder_id`` put it there."""

    conversation_id: Id
    account_id: Id
    adder_id: Id


class GroupLeft(Event, frozen=True):
    """The account left the group. With the last one the group is gone."""

    conversation_id: Id
    account_id: Id


class GroupMemberRemoved(Event, frozen=True):
    """The account was put out of the group."""

    conversation_id: Id
    account_id: Id
    remover_id: Id


class OpenDirect(Command, frozen=True):
    """Have a conversation with somebody; where there is one already, that is it."""

    account_id: Id


class CreateGroup(Command, frozen=True):
    """Make a group with these people, and own it. Without a name it has none."""

    account_ids: tuple[Id, ...] = ()
    name: str = ""


class AddToGroup(Command, frozen=True):
    """As one of a group, put somebody else into it."""

    conversation_id: Id
    account_id: Id


class RenameGroup(Command, frozen=True):
    """As one of a group, call it otherwise; an empty name takes its name away."""

    conversation_id: Id
    name: str


class HandOverGroup(Command, frozen=True):
    """As the owner, give the group to another one of it."""

    conversation_id: Id
    account_id: Id


class RemoveFromGroup(Command, frozen=True):
    """As the owner, put somebody out of the group."""

    ends: ClassVar[bool] = True
    conversation_id: Id
    account_id: Id


class LeaveGroup(Command, frozen=True):
    """Be in the group no longer. If it is the owner's, it is from then on whose is in it for longest."""

    ends: ClassVar[bool] = True
    conversation_id: Id


class Conversation(Struct, frozen=True):
    """A conversation, as decisions need it. ``members`` are in the order in which they came.

    ``owner_id`` is ``None`` for one between two people.
    """

    conversation_id: Id
    members: tuple[Id, ...]
    owner_id: Id | None = None
    name: str = ""

    @property
    def direct(self) -> bool:
        """Whether it is one between two people, for good."""
        return self.owner_id is None

    def other(self, account_id: Id) -> Id | None:
        """Whom somebody has this conversation with; ``None`` in a group, and to whoever is not in it."""
        if not self.direct or account_id not in self.members:
            return None
        return next((member_id for member_id in self.members if member_id != account_id), None)


START: Conversation | None = None


def evolve(found: Conversation | None, event: Event) -> Conversation | None:
    """The conversation after the event; ``None`` once nobody is in it."""
    match event:
        case DirectOpened() as e:
            return Conversation(e.conversation_id, (e.opener_id, e.other_id))
        case GroupCreated() as e:
            return Conversation(e.conversation_id, (), e.owner_id, e.name)
        case GroupRenamed(name=name) if found is not None:
            return replace(found, name=name)
        case GroupHandedOver(account_id=account_id) if found is not None:
            return replace(found, owner_id=account_id)
        case GroupJoined() | GroupLeft() | GroupMemberRemoved() if found is not None:
            return _with_members(found, event)
        case _:
            return found


def _with_members(found: Conversation, event: GroupJoined | GroupLeft | GroupMemberRemoved) -> Conversation | None:
    others = tuple(member_id for member_id in found.members if member_id != event.account_id)
    members = (*others, event.account_id) if isinstance(event, GroupJoined) else others
    return replace(found, members=members) if members else None


class Party(Struct, frozen=True):
    """Somebody and a conversation: what decisions ask of it, as they ask ``Standing`` of servers.

    ``conversation`` is ``None`` for one that does not exist. ``blocks`` are those between the two of a direct one.
    """

    account_id: Id
    conversation: Conversation | None
    blocks: Blocks = NO_BLOCKS

    @property
    def inside(self) -> bool:
        """Whether there is such a conversation, and they are in it."""
        return self.conversation is not None and self.account_id in self.conversation.members

    def may(self) -> Permission:
        """What they may there, in the words of servers and channels. Who is not in it may nothing."""
        if self.conversation is None or not self.inside:
            return permissions.NONE
        blocked = self.conversation.direct and (self.blocks.by_actor or self.blocks.of_actor)
        return WHERE_BLOCKED if blocked else WHERE_INSIDE


def opened(
    command: OpenDirect,
    found: Conversation | None,
    *,
    conversation_id: Id,
    actor_id: Id,
    other: Account | None,
    blocks: Blocks,
) -> tuple[Event, ...]:
    """Two people have a conversation. Where they have one already nothing happens, also when one blocks the other."""
    if other is None:
        raise accounts.not_found()
    if command.account_id == actor_id:
        message = "A conversation has somebody else in it. Choose another person."
        raise Refusal(Code.NOT_YOURSELF, message, "account_id")
    if found is not None:
        return ()
    blocks.refuse("write to", "account_id")
    return (DirectOpened(conversation_id=conversation_id, opener_id=actor_id, other_id=command.account_id),)


def others(command: CreateGroup, actor_id: Id, limits: Limits) -> tuple[Id, ...]:
    """Whom a new group has besides who makes it, each once. Raises ``TOO_MANY_MEMBERS``."""
    wanted = tuple(dict.fromkeys(one for one in command.account_ids if one != actor_id))
    if len(wanted) >= limits.group_members_max:
        raise _too_many(limits, "account_ids")
    return wanted


def created(
    command: CreateGroup,
    *,
    conversation_id: Id,
    actor_id: Id,
    others: Mapping[Id, tuple[Account | None, Blocks]],
    limits: Limits,
) -> tuple[Event, ...]:
    """A new group with those ``others``, given with the blocks between each of them and who makes it."""
    for account, blocks in others.values():
        if account is None:
            raise accounts.not_found("account_ids")
        blocks.refuse("add", "account_ids")
    return (
        GroupCreated(conversation_id=conversation_id, owner_id=actor_id, name=_name(command.name, limits)),
        *(
            GroupJoined(conversation_id=conversation_id, account_id=member_id, adder_id=actor_id)
            for member_id in (actor_id, *others)
        ),
    )


def added(
    command: AddToGroup, party: Party, *, account: Account | None, blocks: Blocks, limits: Limits
) -> tuple[Event, ...]:
    """Somebody is put into a group; ``blocks`` are those between him and who adds him."""
    group = _group(party)
    if account is None:
        raise accounts.not_found()
    if command.account_id in group.members:
        return ()
    blocks.refuse("add", "account_id")
    if len(group.members) >= limits.group_members_max:
        raise _too_many(limits)
    return (
        GroupJoined(conversation_id=group.conversation_id, account_id=command.account_id, adder_id=party.account_id),
    )


Change = RenameGroup | HandOverGroup | RemoveFromGroup | LeaveGroup


def decide(command: Change, party: Party, *, limits: Limits) -> tuple[Event, ...]:
    """What the command makes of a group."""
    group, actor_id = _group(party), party.account_id
    match command:
        case RenameGroup():
            name = _name(command.name, limits)
            renamed = GroupRenamed(conversation_id=group.conversation_id, editor_id=actor_id, name=name)
            return () if name == group.name else (renamed,)
        case HandOverGroup():
            return _given(command, group, actor_id)
        case RemoveFromGroup():
            return _removed(command, group, actor_id)
        case LeaveGroup():
            left = GroupLeft(conversation_id=group.conversation_id, account_id=actor_id)
            heir_id = next((one for one in group.members if one != actor_id), None)
            if group.owner_id != actor_id or heir_id is None:
                return (left,)
            return (_handed_over(group, heir_id), left)


def not_found() -> Refusal:
    """The same for a conversation that does not exist and for one that somebody is not in."""
    message = "There is no such conversation, or you are not in it. Check the link, or ask to be added."
    return Refusal(Code.CONVERSATION_NOT_FOUND, message, "conversation_id")


def _group(party: Party) -> Conversation:
    """The group that somebody is in. Raises ``CONVERSATION_NOT_FOUND``, ``NOT_A_GROUP``."""
    if party.conversation is None or not party.inside:
        raise not_found()
    if party.conversation.direct:
        message = "This conversation is between two people, for good. Make a group instead."
        raise Refusal(Code.NOT_A_GROUP, message, "conversation_id")
    return party.conversation


def _given(command: HandOverGroup, group: Conversation, actor_id: Id) -> tuple[Event, ...]:
    if command.account_id == group.owner_id:
        return ()
    _refuse_others(group, actor_id)
    if command.account_id not in group.members:
        raise Refusal(Code.NOT_A_MEMBER, "Only somebody in the group can own it. Add them first.", "account_id")
    return (_handed_over(group, command.account_id),)


def _removed(command: RemoveFromGroup, group: Conversation, actor_id: Id) -> tuple[Event, ...]:
    _refuse_others(group, actor_id)
    if command.account_id == actor_id:
        message = "You cannot put yourself out. Leave the group instead."
        raise Refusal(Code.NOT_YOURSELF, message, "account_id")
    if command.account_id not in group.members:
        return ()
    return (
        GroupMemberRemoved(conversation_id=group.conversation_id, account_id=command.account_id, remover_id=actor_id),
    )


def _handed_over(group: Conversation, heir_id: Id) -> Event:
    assert group.owner_id is not None
    return GroupHandedOver(conversation_id=group.conversation_id, owner_id=group.owner_id, account_id=heir_id)


def _refuse_others(group: Conversation, actor_id: Id) -> None:
    if group.owner_id != actor_id:
        raise Refusal(Code.PERMISSION_DENIED, "Only the owner of this group can do this. Ask them.")


def _too_many(limits: Limits, field: str | None = None) -> Refusal:
    message = f"A group has at most {limits.group_members_max} people. Make a server for more."
    return Refusal(Code.TOO_MANY_MEMBERS, message, field)


def _name(name: str, limits: Limits) -> str:
    return text.line(name, "name", length_max=limits.group_name_length_max) if name.strip() else ""
