"""Topics: where on the log of a fleet each event goes, and in which order it is kept with others.

Order holds within a partition only, so what concerns one subject has one key: of two events with the same key the one
of the lower position is always read first. Keys are ids and nothing else; no personal data is in them.

Counts of partitions are for good: with another count the same key would go elsewhere, and its order be lost.
"""

from collections.abc import Collection
from functools import lru_cache
from struct import unpack_from
from typing import Final

from msgspec import Struct

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
from domain.event import Event, Id
from schemas.envelope import Recorded

PARTITIONS_MAX: Final = 1000
"""Partitions of a topic at most: what lies between the numbers of two topics."""

_KEYS_CACHED_MAX: Final = 65_536
_SEED: Final = 0x9747B28C
_MIX: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


class Topic(Struct, frozen=True):
    """A topic. ``compacted``: only the newest record of a key is kept; otherwise every record is, for ever.

    ``number``, from 1, sets its partitions apart from those of others in checkpoints.
    """

    name: str
    number: int
    partitions: int
    compacted: bool = False

    def numbered(self, partition: int) -> int:
        """One of its partitions as checkpoints call it."""
        return PARTITIONS_MAX * self.number + partition

    @property
    def every_partition(self) -> range:
        """All its partitions as checkpoints call them."""
        return range(self.numbered(0), self.numbered(self.partitions))


PEOPLE: Final = Topic("moot.people", 1, 4)
COMMUNITIES: Final = Topic("moot.communities", 2, 4)
THREADS: Final = Topic("moot.threads", 3, 12)
AUTHOR_KEYS: Final = Topic("moot.keys", 4, 1, compacted=True)
"""The wrapped key of each author, by his id; a tombstone once it is destroyed. Holds no events."""
SERVERS: Final = Topic("moot.servers", 5, 4)
MESSAGES: Final = Topic("moot.messages", 6, 12)

TOPICS: Final = (PEOPLE, COMMUNITIES, THREADS, SERVERS, MESSAGES, AUTHOR_KEYS)

KEYS: Final[dict[type[Event], tuple[Topic, str | None]]] = {
    account.AccountRegistered: (PEOPLE, "account_id"),
    account.AccountImported: (PEOPLE, "account_id"),
    account.DisplayNameChanged: (PEOPLE, "account_id"),
    name.NameClaimed: (PEOPLE, "holder_id"),
    follow.AccountFollowed: (PEOPLE, None),
    follow.AccountUnfollowed: (PEOPLE, None),
    block.AccountBlocked: (PEOPLE, None),
    block.AccountUnblocked: (PEOPLE, None),
    community.CommunityCreated: (COMMUNITIES, "community_id"),
    community.CommunityImported: (COMMUNITIES, "community_id"),
    community.CommunityEdited: (COMMUNITIES, "community_id"),
    membership.MemberInvited: (COMMUNITIES, "community_id"),
    membership.MemberJoined: (COMMUNITIES, "community_id"),
    membership.MemberLeft: (COMMUNITIES, "community_id"),
    membership.InvitationDeclined: (COMMUNITIES, "community_id"),
    membership.ModeratorAppointed: (COMMUNITIES, "community_id"),
    moderators.ModeratorListed: (COMMUNITIES, "community_id"),
    moderators.ModeratorDelisted: (COMMUNITIES, "community_id"),
    stickies.StickyListed: (COMMUNITIES, "community_id"),
    stickies.StickyDelisted: (COMMUNITIES, "community_id"),
    post.PostSubmitted: (THREADS, "post_id"),
    post.PostImported: (THREADS, "post_id"),
    post.PostEdited: (THREADS, "post_id"),
    post.PostDeleted: (THREADS, "post_id"),
    post.PostLocked: (THREADS, "post_id"),
    post.PostUnlocked: (THREADS, "post_id"),
    post.PostStickied: (THREADS, "post_id"),
    post.PostUnstickied: (THREADS, "post_id"),
    comment.CommentSubmitted: (THREADS, "post_id"),
    comment.CommentImported: (THREADS, "post_id"),
    comment.CommentAttached: (THREADS, "post_id"),
    comment.CommentEdited: (THREADS, "post_id"),
    comment.CommentDeleted: (THREADS, "post_id"),
    ballot.VoteCast: (THREADS, "post_id"),
    save.ItemSaved: (THREADS, None),
    save.ItemUnsaved: (THREADS, None),
    server.ServerCreated: (SERVERS, "server_id"),
    server.ServerEdited: (SERVERS, "server_id"),
    server.ServerTransferred: (SERVERS, "server_id"),
    server.ServerDeleted: (SERVERS, "server_id"),
    role.RoleCreated: (SERVERS, "server_id"),
    role.RoleEdited: (SERVERS, "server_id"),
    role.RoleRanked: (SERVERS, "server_id"),
    role.RoleDeleted: (SERVERS, "server_id"),
    server_member.ServerJoined: (SERVERS, "server_id"),
    server_member.ServerLeft: (SERVERS, "server_id"),
    server_member.MemberKicked: (SERVERS, "server_id"),
    server_member.MemberBanned: (SERVERS, "server_id"),
    server_member.MemberUnbanned: (SERVERS, "server_id"),
    server_member.RoleGranted: (SERVERS, "server_id"),
    server_member.RoleRevoked: (SERVERS, "server_id"),
    invite.InviteCreated: (SERVERS, "server_id"),
    invite.InviteCounted: (SERVERS, "server_id"),
    invite.InviteRevoked: (SERVERS, "server_id"),
    invite.InviteUsed: (SERVERS, "server_id"),
    channel.ChannelCreated: (SERVERS, "server_id"),
    channel.ChannelEdited: (SERVERS, "server_id"),
    channel.ChannelDeleted: (SERVERS, "server_id"),
    channel.OverrideSet: (SERVERS, "server_id"),
    channel_list.ChannelListed: (SERVERS, "server_id"),
    channel_list.ChannelPlaced: (SERVERS, "server_id"),
    channel_list.ChannelDelisted: (SERVERS, "server_id"),
    conversation.DirectOpened: (SERVERS, "conversation_id"),
    conversation.GroupCreated: (SERVERS, "conversation_id"),
    conversation.GroupRenamed: (SERVERS, "conversation_id"),
    conversation.GroupHandedOver: (SERVERS, "conversation_id"),
    conversation.GroupJoined: (SERVERS, "conversation_id"),
    conversation.GroupLeft: (SERVERS, "conversation_id"),
    conversation.GroupMemberRemoved: (SERVERS, "conversation_id"),
    message.MessageSent: (MESSAGES, "channel_id"),
    message.MessageEdited: (MESSAGES, "channel_id"),
    message.MessageDeleted: (MESSAGES, "channel_id"),
    nonce.NonceUsed: (MESSAGES, "channel_id"),
    reaction.ReactionAdded: (MESSAGES, "channel_id"),
    reaction.ReactionRemoved: (MESSAGES, "channel_id"),
    emoji_list.EmojiListed: (MESSAGES, "channel_id"),
    read_marker.MarkerMoved: (MESSAGES, "channel_id"),
}
"""For each kind of event its topic and the field that is its key; ``None``: the id of its stream, as of a pair."""


class Place(Struct, frozen=True):
    """Where an event goes: a partition of a topic, under a key. ``number`` is the partition in checkpoints."""

    topic: Topic
    key: str
    partition: int

    @property
    def number(self) -> int:
        """The partition as checkpoints call it."""
        return self.topic.numbered(self.partition)


class Placeless(LookupError):
    """A kind of event that has no place. It cannot be sent before it has one: its order with others would be lost."""

    def __init__(self, kind: type[Event]) -> None:
        super().__init__(f"{kind.__name__} has no topic and key: a newer version wrote it, or schemas.topics lacks it")


def place(event: Event | Recorded, stream_id: Id | None = None) -> Place:
    """Where the event goes. ``stream_id`` is needed unless it is a ``Recorded`` one. Raises ``Placeless``."""
    if isinstance(event, Recorded):
        stream_id, event = event.stream_id, event.event
    try:
        topic, field = KEYS[type(event)]
    except KeyError:
        raise Placeless(type(event)) from None
    key = stream_id if field is None else getattr(event, field)
    if key is None:
        raise TypeError(f"the place of {type(event).__name__} is told from its stream, which was not given")
    return Place(topic, key, partition_of(key, topic.partitions))


@lru_cache(_KEYS_CACHED_MAX)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, as every client of Kafka tells it that does as the Java client."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The hash by which Kafka's Java client spreads keys, without sign (``org.apache.kafka.common.utils.Utils``).

    Austin Appleby's MurmurHash2, 32 bits, with Kafka's seed.
    """
    length = len(data)
    value = _SEED ^ length
    for word in unpack_from(f"<{length // 4}I", data):
        mixed = word * _MIX & _WORD
        value = value * _MIX & _WORD ^ (mixed ^ mixed >> 24) * _MIX & _WORD
    if rest := data[length & ~3 :]:
        value = (value ^ int.from_bytes(rest, "little")) * _MIX & _WORD
    value = (value ^ value >> 13) * _MIX & _WORD
    return value ^ value >> 15


def partitions_of(kinds: Collection[type[Event]]) -> list[int]:
    """All partitions, as checkpoints call them, of the topics that hold any of these kinds; ascending."""
    topics = {KEYS[kind][0] for kind in kinds}
    return sorted(number for topic in topics for number in topic.every_partition)


def located(number: int) -> tuple[Topic, int]:
    """The topic and the partition in it of a partition as checkpoints call it. Raises ``LookupError``."""
    for topic in TOPICS:
        if number in topic.every_partition:
            return topic, number - topic.numbered(0)
    raise LookupError(f"no topic has a partition that checkpoints call {number}")
