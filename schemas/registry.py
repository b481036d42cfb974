"""Wire names: what events are called where they are stored and sent, and how old ones become new ones.

A wire name is ``name@version`` and never a class path. Classes may be renamed and moved; wire names are for ever.
To change a published event, give the new class the next version here, put the old name into ``UPCASTERS`` with a
function from the old data to the new, and run ``python -m tests.golden``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.inspect import Metadata as FieldMetadata
from msgspec.inspect import StructType, Type, UnionType, type_info

from domain import (
    account,
    ballot,
    block,
    channel,
    channel_list,
    comment,
    community,
    conversation,
    emoji_list,
    follow,
    invite,
    membership,
    message,
    moderators,
    name,
    nonce,
    post,
    reaction,
    read_marker,
    role,
    save,
    server,
    server_member,
    stickies,
)
from domain.event import Event

WIRE: dict[str, type[Event]] = {
    "account.registered@1": account.AccountRegistered,
    "account.imported@1": account.AccountImported,
    "account.display_name_changed@1": account.DisplayNameChanged,
    "account.followed@1": follow.AccountFollowed,
    "account.unfollowed@1": follow.AccountUnfollowed,
    "account.blocked@1": block.AccountBlocked,
    "account.unblocked@1": block.AccountUnblocked,
    "name.claimed@1": name.NameClaimed,
    "community.created@1": community.CommunityCreated,
    "community.imported@1": community.CommunityImported,
    "community.edited@1": community.CommunityEdited,
    "member.invited@1": membership.MemberInvited,
    "member.joined@1": membership.MemberJoined,
    "member.left@1": membership.MemberLeft,
    "member.declined@1": membership.InvitationDeclined,
    "moderator.appointed@1": membership.ModeratorAppointed,
    "moderator.listed@1": moderators.ModeratorListed,
    "moderator.delisted@1": moderators.ModeratorDelisted,
    "post.submitted@1": post.PostSubmitted,
    "post.imported@1": post.PostImported,
    "post.edited@1": post.PostEdited,
    "post.deleted@1": post.PostDeleted,
    "post.locked@1": post.PostLocked,
    "post.unlocked@1": post.PostUnlocked,
    "post.stickied@1": post.PostStickied,
    "post.unstickied@1": post.PostUnstickied,
    "sticky.listed@1": stickies.StickyListed,
    "sticky.delisted@1": stickies.StickyDelisted,
    "comment.submitted@1": comment.CommentSubmitted,
    "comment.imported@1": comment.CommentImported,
    "comment.attached@1": comment.CommentAttached,
    "comment.edited@1": comment.CommentEdited,
    "comment.deleted@1": comment.CommentDeleted,
    "vote.cast@1": ballot.VoteCast,
    "item.saved@1": save.ItemSaved,
    "item.unsaved@1": save.ItemUnsaved,
    "server.created@1": server.ServerCreated,
    "server.edited@1": server.ServerEdited,
    "server.transferred@1": server.ServerTransferred,
    "server.deleted@1": server.ServerDeleted,
    "role.created@1": role.RoleCreated,
    "role.edited@1": role.RoleEdited,
    "role.ranked@1": role.RoleRanked,
    "role.deleted@1": role.RoleDeleted,
    "server_member.joined@1": server_member.ServerJoined,
    "server_member.left@1": server_member.ServerLeft,
    "server_member.kicked@1": server_member.MemberKicked,
    "server_member.banned@1": server_member.MemberBanned,
    "server_member.unbanned@1": server_member.MemberUnbanned,
    "server_member.role_granted@1": server_member.RoleGranted,
    "server_member.role_revoked@1": server_member.RoleRevoked,
    "invite.created@1": invite.InviteCreated,
    "invite.counted@1": invite.InviteCounted,
    "invite.revoked@1": invite.InviteRevoked,
    "invite.used@1": invite.InviteUsed,
    "channel.created@1": channel.ChannelCreated,
    "channel.edited@1": channel.ChannelEdited,
    "channel.deleted@1": channel.ChannelDeleted,
    "channel.override_set@1": channel.OverrideSet,
    "channel.listed@1": channel_list.ChannelListed,
    "channel.placed@1": channel_list.ChannelPlaced,
    "channel.delisted@1": channel_list.ChannelDelisted,
    "direct.opened@1": conversation.DirectOpened,
    "group.created@1": conversation.GroupCreated,
    "group.renamed@1": conversation.GroupRenamed,
    "group.handed_over@1": conversation.GroupHandedOver,
    "group.joined@1": conversation.GroupJoined,
    "group.left@1": conversation.GroupLeft,
    "group.member_removed@1": conversation.GroupMemberRemoved,
    "message.sent@1": message.MessageSent,
    "message.edited@1": message.MessageEdited,
    "message.deleted@1": message.MessageDeleted,
    "nonce.used@1": nonce.NonceUsed,
    "reaction.added@1": reaction.ReactionAdded,
    "reaction.removed@1": reaction.ReactionRemoved,
    "emoji.listed@1": emoji_list.EmojiListed,
    "read_marker.moved@1": read_marker.MarkerMoved,
}
"""Every event that may be written, under its newest wire name."""


class Upcaster(Struct, frozen=True):
    """How the data of a wire name that is no longer written becomes that of a newer one.

    ``upcast`` takes the JSON object of the old event, personal fields already decrypted, and gives the newer wire
    name with its object; that name may itself be an old one. ``subject`` and ``personal`` say what the retired
    class said: the field that names the person, and the fields encrypted with that person's key.
    """

    upcast: Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
    subject: str | None = None
    personal: tuple[str, ...] = ()


UPCASTERS: dict[str, Upcaster] = {}
"""By the old wire name."""


class UnknownEvent(LookupError):
    """A wire name that this version of Moot does not know; a newer one may have written it."""

    def __init__(self, wire: str) -> None:
        super().__init__(f"unknown event {wire!r}: it was written by a newer version, or its upcaster is missing")
        self.wire = wire


_NAMES = {kind: wire for wire, kind in WIRE.items()}


def wire_name(kind: type[Event]) -> str:
    """The newest wire name of a class of events. Raises ``KeyError`` for a class that is not registered."""
    return _NAMES[kind]


def personal_fields(kind: type[Event]) -> tuple[str, ...]:
    """The fields declared ``Personal``, or ``Personal | None``, in the order of declaration."""
    info = type_info(kind)
    if not isinstance(info, StructType):
        raise TypeError(f"{kind.__name__} is no event")
    return tuple(field.name for field in info.fields if _is_personal(field.type))


def _is_personal(kind: Type) -> bool:
    match kind:
        case FieldMetadata(extra={"personal": True}):
            return True
        case FieldMetadata(type=inner):
            return _is_personal(inner)
        case UnionType(types=types):
            return any(_is_personal(one) for one in types)
        case _:
            return False


def check_registry(wire: Mapping[str, type[Event]], upcasters: Mapping[str, Upcaster]) -> None:
    """Raises ``ValueError`` when a class with personal fields names no subject, or a wire name is both old and new."""
    for name_, kind in wire.items():
        if personal_fields(kind) and kind.subject is None:
            raise ValueError(f"{name_} has personal fields but {kind.__name__} names no subject")
        if kind.subject is not None and kind.subject not in kind.__struct_fields__:
            raise ValueError(f"{name_}: {kind.__name__} has no field {kind.subject!r}")
    if clash := wire.keys() & upcasters.keys():
        raise ValueError(f"both newest and old: {', '.join(sorted(clash))}")
