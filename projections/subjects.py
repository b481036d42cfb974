"""Which events touch a post, message, account, community, part of a server, or conversation: for ``moot explain``.

Internal: it also leads from an anonymous author to the post, so nothing of it may reach another person.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from domain.account import AccountImported, AccountRegistered, DisplayNameChanged
from domain.ballot import VoteCast
from domain.block import AccountBlocked, AccountUnblocked
from domain.channel import ChannelCreated, ChannelDeleted, ChannelEdited, OverrideSet
from domain.channel_list import ChannelDelisted, ChannelListed, ChannelPlaced
from domain.comment import CommentAttached, CommentDeleted, CommentEdited, CommentImported, CommentSubmitted
from domain.community import CommunityCreated, CommunityEdited, CommunityImported
from domain.conversation import (
    DirectOpened,
    GroupCreated,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    GroupMemberRemoved,
    GroupRenamed,
)
from domain.emoji_list import EmojiListed
from domain.event import Event, Id
from domain.follow import AccountFollowed, AccountUnfollowed
from domain.invite import InviteCounted, InviteCreated, InviteRevoked, InviteUsed
from domain.membership import InvitationDeclined, MemberInvited, MemberJoined, MemberLeft, ModeratorAppointed
from domain.message import MessageDeleted, MessageEdited, MessageSent
from domain.moderators import ModeratorDelisted, ModeratorListed
from domain.name import NameClaimed
from domain.nonce import NonceUsed
from domain.post import (
    PostDeleted,
    PostEdited,
    PostImported,
    PostLocked,
    PostStickied,
    PostSubmitted,
    PostUnlocked,
    PostUnstickied,
)
from domain.reaction import ReactionAdded, ReactionRemoved
from domain.read_marker import MarkerMoved
from domain.role import RoleCreated, RoleDeleted, RoleEdited, RoleRanked
from domain.save import ItemSaved, ItemUnsaved
from domain.server import ServerCreated, ServerDeleted, ServerEdited, ServerTransferred
from domain.server_member import (
    MemberBanned,
    MemberKicked,
    MemberUnbanned,
    RoleGranted,
    RoleRevoked,
    ServerJoined,
    ServerLeft,
)
from domain.stickies import StickyDelisted, StickyListed
from projections.bulk import Alike
from projections.core import Projection, Row
from schemas.envelope import Recorded

if TYPE_CHECKING:
    from projections.columns import Columns

BUCKET_BITS = 14
"""A row holds the positions of one bucket of 2**14: at most 32 kB, and dense subjects have few rows."""

TOUCHED: dict[type[Event], tuple[str, ...]] = {
    AccountRegistered: ("account_id",),
    AccountImported: ("account_id",),
    DisplayNameChanged: ("account_id",),
    NameClaimed: ("holder_id",),
    VoteCast: ("voter_id", "target_id", "post_id", "community_id", "author_id"),
    AccountBlocked: ("blocker_id", "blocked_id"),
    AccountUnblocked: ("blocker_id", "blocked_id"),
    AccountFollowed: ("follower_id", "followed_id"),
    AccountUnfollowed: ("follower_id", "followed_id"),
    CommunityCreated: ("community_id", "creator_id"),
    CommunityImported: ("community_id",),
    CommunityEdited: ("community_id", "editor_id"),
    MemberInvited: ("community_id", "account_id", "inviter_id"),
    MemberJoined: ("community_id", "account_id"),
    MemberLeft: ("community_id", "account_id"),
    InvitationDeclined: ("community_id", "account_id"),
    ModeratorAppointed: ("community_id", "account_id", "appointer_id"),
    ModeratorListed: ("community_id", "account_id"),
    ModeratorDelisted: ("community_id", "account_id"),
    PostSubmitted: ("post_id", "community_id", "author_id"),
    PostImported: ("post_id", "community_id", "author_id"),
    PostEdited: ("post_id", "community_id", "author_id"),
    PostDeleted: ("post_id", "community_id", "author_id", "deleter_id"),
    PostLocked: ("post_id", "community_id", "moderator_id"),
    PostUnlocked: ("post_id", "community_id", "moderator_id"),
    PostStickied: ("post_id", "community_id", "moderator_id"),
    PostUnstickied: ("post_id", "community_id", "moderator_id"),
    StickyListed: ("community_id", "post_id"),
    StickyDelisted: ("community_id", "post_id"),
    CommentSubmitted: ("comment_id", "post_id", "community_id", "author_id", "parent_id", "replied_to_id"),
    CommentImported: ("comment_id", "post_id", "community_id", "author_id", "parent_id"),
    CommentAttached: ("comment_id", "post_id"),
    CommentEdited: ("comment_id", "post_id", "community_id", "author_id"),
    CommentDeleted: ("comment_id", "post_id", "community_id", "author_id", "deleter_id"),
    ItemSaved: ("account_id", "target_id"),
    ItemUnsaved: ("account_id", "target_id"),
    ServerCreated: ("server_id", "owner_id"),
    ServerEdited: ("server_id", "editor_id"),
    ServerTransferred: ("server_id", "owner_id", "account_id"),
    ServerDeleted: ("server_id", "owner_id"),
    RoleCreated: ("server_id", "role_id", "creator_id"),
    RoleEdited: ("server_id", "role_id", "editor_id"),
    RoleRanked: ("server_id", "role_id"),
    RoleDeleted: ("server_id", "role_id", "deleter_id"),
    ServerJoined: ("server_id", "account_id", "invite_id"),
    ServerLeft: ("server_id", "account_id"),
    MemberKicked: ("server_id", "account_id", "moderator_id"),
    MemberBanned: ("server_id", "account_id", "moderator_id"),
    MemberUnbanned: ("server_id", "account_id", "moderator_id"),
    RoleGranted: ("server_id", "account_id", "role_id", "granter_id"),
    RoleRevoked: ("server_id", "account_id", "role_id", "revoker_id"),
    InviteCreated: ("server_id", "invite_id", "creator_id"),
    InviteCounted: ("server_id", "invite_id", "account_id"),
    InviteUsed: ("server_id", "invite_id", "account_id"),
    InviteRevoked: ("server_id", "invite_id", "revoker_id"),
    ChannelCreated: ("server_id", "channel_id", "creator_id"),
    ChannelEdited: ("server_id", "channel_id", "editor_id"),
    ChannelDeleted: ("server_id", "channel_id", "deleter_id"),
    OverrideSet: ("server_id", "channel_id", "target_id", "editor_id"),
    ChannelListed: ("server_id", "channel_id"),
    ChannelPlaced: ("server_id", "channel_id"),
    ChannelDelisted: ("server_id", "channel_id"),
    DirectOpened: ("conversation_id", "opener_id", "other_id"),
    GroupCreated: ("conversation_id", "owner_id"),
    GroupRenamed: ("conversation_id", "editor_id"),
    GroupHandedOver: ("conversation_id", "owner_id", "account_id"),
    GroupJoined: ("conversation_id", "account_id", "adder_id"),
    GroupLeft: ("conversation_id", "account_id"),
    GroupMemberRemoved: ("conversation_id", "account_id", "remover_id"),
    MessageSent: ("message_id", "channel_id", "server_id", "author_id", "reply_to_id"),
    MessageEdited: ("message_id", "channel_id", "server_id", "author_id"),
    MessageDeleted: ("message_id", "channel_id", "server_id", "author_id", "deleter_id"),
    NonceUsed: ("message_id", "channel_id", "author_id"),
    ReactionAdded: ("message_id", "channel_id", "account_id"),
    ReactionRemoved: ("message_id", "channel_id", "account_id"),
    EmojiListed: ("message_id", "channel_id", "account_id"),
    MarkerMoved: ("account_id", "channel_id", "message_id"),
}
"""Which fields of each kind of event name a subject that it touches: every field that holds the id of one."""


class Subject(Row, frozen=True, gc=False):
    """The events of one bucket that touch the subject: ``position % 2**14`` of each, two bytes, ascending."""

    key_fields: ClassVar[tuple[str, ...]] = ("subject_id", "bucket")
    subject_id: Id
    bucket: int
    offsets: bytes = b""

    @staticmethod
    def bucket_of(position: int) -> int:
        """The bucket that holds the position."""
        return position >> BUCKET_BITS

    @property
    def positions(self) -> list[int]:
        """The positions, ascending."""
        first = self.bucket << BUCKET_BITS
        offsets = self.offsets
        return [first + int.from_bytes(offsets[i : i + 2], "big") for i in range(0, len(offsets), 2)]


subjects = Projection(
    "subjects", version=3, row=Subject, done=lambda row, position: row.bucket < Subject.bucket_of(position + 1)
)


def _keys(names: tuple[str, ...]) -> Callable[[Any, Recorded], Iterable[tuple[Id, int]]]:
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda e, at: ((one(e), at.position >> BUCKET_BITS),)
    several = attrgetter(*names)

    def keys(e: Any, at: Recorded) -> Iterable[tuple[Id, int]]:
        bucket = at.position >> BUCKET_BITS
        return [(subject, bucket) for subject in dict.fromkeys(several(e)) if subject is not None]

    return keys


def _touched(row: Subject, _e: Event, at: Recorded) -> Subject:
    offset = (at.position & ((1 << BUCKET_BITS) - 1)).to_bytes(2, "big")
    offsets = row.offsets
    if offset > offsets[-2:]:
        return Subject(row.subject_id, row.bucket, offsets + offset)
    # As a rule in a fleet, where a subject's events come from several partitions: it must not cost more with each.
    at_byte = 2 * bisect_left(range(len(offsets) // 2), offset, key=lambda i: offsets[2 * i : 2 * i + 2])
    if offsets.startswith(offset, at_byte):
        return row
    return Subject(row.subject_id, row.bucket, offsets[:at_byte] + offset + offsets[at_byte:])


for _kind, _names in TOUCHED.items():
    subjects.on(_kind, keys=_keys(_names))(_touched)


@subjects.in_columns(page_events=1 << BUCKET_BITS)
def _(page: Mapping[type[Event], Alike]) -> "Columns":
    import numpy as np  # noqa: PLC0415 - for rebuilds alone

    from projections.columns import Ragged, grouped  # noqa: PLC0415

    named = [(alike.ids(name), alike.positions_array) for kind, alike in page.items() for name in TOUCHED[kind]]
    subject_ids = np.concatenate([ids for ids, _ in named])
    positions = np.concatenate([positions for _, positions in named])
    somebody = subject_ids.any(axis=1)
    subject_ids, positions = subject_ids[somebody], positions[somebody]
    order, begins = grouped(subject_ids, positions & ((1 << BUCKET_BITS) - 1))
    in_order = positions[order]
    # An event that names the same subject twice touches it once.
    kept = np.append(True, in_order[1:] != in_order[:-1])
    kept[begins] = True
    offsets = (in_order[kept] & ((1 << BUCKET_BITS) - 1)).astype(">u2")
    lengths = 2 * np.add.reduceat(kept, begins, dtype=np.int64)
    return subject_ids[order[begins]], in_order[begins] >> BUCKET_BITS, Ragged(offsets.view(np.uint8), lengths)
