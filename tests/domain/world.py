"""A small world for tests of the rules: people with fixed ids, a log in memory, ``given`` … ``when`` … ``then``.

    given(*text_post()).when(CastVote(POST, 1), by=BOB).then(VoteCast(...))
    given(*text_post(), locked).when(SubmitComment(POST, None, "Hi"), by=BOB).then_refused(Code.POST_LOCKED)

The real ``Commands`` run over the real in-memory store, so that what a decision loads is tested with it.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from commands.handling import Caller, Commands, Outcome
from commands.ports import Append
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
    snowflake,
    stickies,
)
from domain.command import Command
from domain.event import Event, Id
from domain.ids import (
    ballot_id,
    channels_id,
    derived,
    direct_id,
    emoji_id,
    invite_use_id,
    membership_id,
    moderators_id,
    packed,
    reactions_id,
    relation_id,
    roles_id,
    save_id,
    server_member_id,
    stickies_id,
)
from domain.limits import Limits
from domain.name import claim_id
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from infra.event_store import GroupCommitStore, memory_store
from infra.pace import Unpaced
from infra.snowflakes import PastIds
from schemas.envelope import Metadata, Recorded

NAME_KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EARLIER = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)

ALICE, BOB, CAROL, NOBODY = (derived("test", "account", who) for who in ("alice", "bob", "carol", "nobody"))
PLACE = derived("test", "community", "place")
SERVER = derived("test", "server", "server")
MODS, STAFF = (derived("test", "role", what) for what in ("mods", "staff"))
GENERAL, NEWS = (derived("test", "channel", what) for what in ("general", "news"))
DIRECT, GROUP = direct_id(ALICE, BOB), derived("test", "group", "group")
MESSAGE, REPLIED = (snowflake.as_id(snowflake.made(int(EARLIER.timestamp() * 1000) + n, 0, 0)) for n in range(2))
SENT = snowflake.as_id(snowflake.made(int(NOW.timestamp() * 1000), 0, 0))
"""The id of the first message that commands send."""
POST, OTHER_POST, COMMENT, REPLY = (derived("test", "item", what) for what in ("post", "other", "comment", "reply"))

ACCOUNTS: tuple[Event, ...] = tuple(
    account.AccountRegistered(account_id=account_id, name=name_, display_name=name_.title())
    for account_id, name_ in ((ALICE, "alice"), (BOB, "bob"), (CAROL, "carol"))
)
"""Alice, Bob and Carol, who are always there. ``NOBODY`` never is."""


class Claimed:
    """A name that somebody holds already; it cannot be told from the event which one."""

    def __init__(self, kind: name.Kind, called: str, holder_id: Id) -> None:
        self.stream_id = claim_id(kind, called, NAME_KEY)
        self.event = name.NameClaimed(kind=kind, holder_id=holder_id)


_STREAMS: dict[ModuleType, Callable[[Any], Id]] = {
    ballot: lambda e: ballot_id(e.voter_id, e.target_id),
    save: lambda e: save_id(e.account_id, e.target_id),
    follow: lambda e: relation_id(e.follower_id, e.followed_id),
    block: lambda e: relation_id(e.blocker_id, e.blocked_id),
    moderators: lambda e: moderators_id(e.community_id),
    stickies: lambda e: stickies_id(e.community_id),
    membership: lambda e: membership_id(e.community_id, e.account_id),
    role: lambda e: roles_id(e.server_id),
    server_member: lambda e: server_member_id(e.server_id, e.account_id),
    channel_list: lambda e: channels_id(e.server_id),
    conversation: lambda e: e.conversation_id,
    reaction: lambda e: reactions_id(e.message_id, e.account_id),
    emoji_list: lambda e: emoji_id(e.message_id),
    nonce: lambda e: derived("nonce", derived("command", "SendMessage", e.author_id, "key")),
    read_marker: lambda e: derived("read marker", derived("command", "MarkRead", e.account_id, "key")),
}
"""By the module of an event, its stream; of others it is what the module is named after."""


def stream_of(event: Event) -> Id:
    """The stream that an event belongs to, from what it says."""
    if isinstance(event, invite.InviteUsed):
        return invite_use_id(event.invite_id, event.account_id)
    module = sys.modules[type(event).__module__]
    if module in _STREAMS:
        return _STREAMS[module](event)
    subject: Id = getattr(event, f"{module.__name__.removeprefix('domain.')}_id")
    return subject


def made(kind: str, command: type[Command], by: Id, key: str = "key") -> Id:
    """The id of what that kind of command makes for that caller and idempotency key."""
    return derived(kind, derived("command", command.__name__, by, key))


def caller(by: Id | None, key: str | None = "key") -> Caller:
    """Somebody who asks."""
    return Caller(account_id=by, correlation_id=derived("test", "request"), idempotency_key=key)


_ACTORS = (
    "moderator_id", "deleter_id", "editor_id", "inviter_id", "appointer_id", "creator_id", "voter_id", "blocker_id",
    "follower_id", "author_id", "granter_id", "adder_id", "remover_id", "opener_id", "revoker_id", "owner_id",
    "account_id",
)  # fmt: skip
"""The fields that tell whose act an event is; the first that it has."""


def actor_of(event: Event) -> Id | None:
    """Whose act the event is, from what it says."""
    return next((getattr(event, name) for name in _ACTORS if hasattr(event, name)), None)


def metadata(at: datetime = EARLIER, actor_id: Id | None = None) -> Metadata:
    """Of an event that was there before."""
    return Metadata(
        command_id=derived("test", "before"),
        correlation_id=derived("test", "before"),
        causation_id=None,
        actor_id=actor_id,
        occurred_at=at,
        recorded_at=at,
    )


def messaging() -> dict[str, Any]:
    """What commands need for messages: ids of ``NOW``, and nobody held back."""
    return {"message_ids": PastIds().at(NOW), "pace": Unpaced()}


def commands_over(store: GroupCommitStore, limits: Limits | None = None) -> Commands:
    """Commands with a clock that stands still."""
    return Commands(store, lambda: NOW, NAME_KEY, limits, **messaging())


def log_of(store: GroupCommitStore, after: int = 0) -> list[Recorded]:
    """What was recorded after that position."""
    return store.read_sync(after, 100_000)


def put(store: GroupCommitStore, events: Iterable[Event | Claimed]) -> None:
    """Record what happened before, each in its stream."""
    versions: dict[Id, int] = {}
    for event in events:
        stream_id = event.stream_id if isinstance(event, Claimed) else stream_of(event)
        said = event.event if isinstance(event, Claimed) else event
        version = versions.setdefault(stream_id, len(store.load_sync([stream_id])[stream_id]))
        store.append_sync([Append(stream_id, version, (said,))], metadata(actor_id=actor_of(said)))
        versions[stream_id] += 1


class Then:
    """What came of a command."""

    def __init__(
        self, recorded: Sequence[Recorded], outcome: Outcome | None, refusal: Refusal | None, store: GroupCommitStore
    ) -> None:
        self.recorded = recorded
        self.outcome = outcome
        self.refusal = refusal
        self.store = store

    def then(self, *events: Event) -> "Then":
        """Exactly these were recorded, in this order, each in the stream where it belongs."""
        assert self.refusal is None, f"refused: {self.refusal!r}"
        assert [one.event for one in self.recorded] == list(events)
        for one in self.recorded:
            if not isinstance(one.event, name.NameClaimed):
                assert one.stream_id == stream_of(one.event)
        return self

    def then_nothing(self) -> "Then":
        """The effect holds already."""
        return self.then()

    def then_refused(self, code: Code, field: str | None = None) -> Refusal:
        """It was refused with that code, for that input if one is given, and nothing was recorded."""
        assert self.refusal is not None, f"not refused, but recorded {self.recorded}"
        assert self.refusal.code is code, f"refused with {self.refusal!r}"
        assert field is None or self.refusal.field == field
        assert self.recorded == []
        assert self.refusal.message.endswith(".")
        return self.refusal


class Given:
    """What happened before."""

    def __init__(self, events: Iterable[Event | Claimed]) -> None:
        self.store = memory_store(clock=lambda: NOW)
        put(self.store, events)

    def when(
        self, command: Command, *, by: Id | None = ALICE, key: str | None = "key", limits: Limits | None = None
    ) -> Then:
        """Somebody asks for this."""
        before = self.store.head_sync()
        outcome = refusal = None
        try:
            outcome = asyncio.run(commands_over(self.store, limits).execute(command, caller(by, key)))
        except Refusal as error:
            refusal = error
        return Then(log_of(self.store, before), outcome, refusal, self.store)


def given(*events: Event | Claimed) -> Given:
    """Alice, Bob and Carol have accounts, and all this has happened."""
    return Given((*ACCOUNTS, *events))


def place(visibility: community.Visibility = "public", *, anonymous_allowed: bool = False) -> tuple[Event, ...]:
    """A community that Carol founded."""
    founding = community.CommunityCreated(
        community_id=PLACE,
        creator_id=CAROL,
        name="place",
        title="The place",
        description="",
        visibility=visibility,
        anonymous_allowed=anonymous_allowed,
    )
    return (founding, *moderating(CAROL))


def moderating(account_id: Id) -> tuple[Event, ...]:
    """Somebody is a moderator of the place."""
    return (
        moderators.ModeratorListed(community_id=PLACE, account_id=account_id),
        membership.MemberJoined(community_id=PLACE, account_id=account_id),
        membership.ModeratorAppointed(community_id=PLACE, account_id=account_id, appointer_id=CAROL),
    )


def joined(account_id: Id) -> Event:
    """Somebody is a member of the place."""
    return membership.MemberJoined(community_id=PLACE, account_id=account_id)


def invited(account_id: Id) -> Event:
    """Somebody is invited to the place."""
    return membership.MemberInvited(community_id=PLACE, account_id=account_id, inviter_id=CAROL)


def blocked(blocker_id: Id, blocked_id: Id) -> Event:
    """One blocks the other."""
    return block.AccountBlocked(blocker_id=blocker_id, blocked_id=blocked_id)


def posted(
    by: Id = ALICE, *, post_id: Id = POST, kind: post.PostKind = "text", anonymous: bool = False
) -> post.PostSubmitted:
    """A post in the place."""
    return post.PostSubmitted(
        post_id=post_id,
        community_id=PLACE,
        author_id=by,
        anonymous=anonymous,
        kind=kind,
        title="A title",
        body="The text" if kind == "text" else "",
        url=None if kind == "text" else "https://example.org/",
    )


def commented(
    by: Id = ALICE, *, comment_id: Id = COMMENT, parent: comment.CommentSubmitted | None = None
) -> comment.CommentSubmitted:
    """A comment below the post, or below another comment."""
    return comment.CommentSubmitted(
        comment_id=comment_id,
        post_id=POST,
        community_id=PLACE,
        author_id=by,
        parent_id=parent.comment_id if parent else None,
        replied_to_id=None,
        path=(parent.path if parent else b"") + comment.segment(comment_id, EARLIER),
        depth=parent.depth + 1 if parent else 1,
        body="A comment",
    )


def post_deleted() -> post.PostDeleted:
    """Carol deleted the post."""
    return post.PostDeleted(post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=CAROL)


def comment_deleted() -> comment.CommentDeleted:
    """Carol deleted the comment."""
    return comment.CommentDeleted(
        comment_id=COMMENT, post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=CAROL
    )


def voted(by: Id, value: ballot.Value, *, previous: ballot.Value = 0) -> ballot.VoteCast:
    """A vote on the post, which is Alice's."""
    return ballot.VoteCast(
        voter_id=by,
        target_id=POST,
        target="post",
        post_id=POST,
        community_id=PLACE,
        author_id=ALICE,
        previous=previous,
        value=value,
    )


def chat(*members: Id) -> tuple[Event, ...]:
    """A server that Carol opened, with two roles, the staff above the moderators, a channel, and these members."""
    return (
        server.ServerCreated(server_id=SERVER, owner_id=CAROL, name="Server", description=""),
        *role.founded(SERVER, CAROL),
        ranked(MODS, "Mods", 10, Permission.MANAGE_ROLES | Permission.KICK_MEMBERS | Permission.BAN_MEMBERS),
        ranked(STAFF, "Staff", 20, Permission.MANAGE_CHANNELS | Permission.MANAGE_ROLES | Permission.MANAGE_SERVER),
        opened(),
        channel_list.ChannelListed(server_id=SERVER, channel_id=GENERAL, place=100),
        *(seated(member_id) for member_id in (CAROL, *members)),
    )


def ranked(role_id: Id, called: str, rank: int, allows: int) -> role.RoleCreated:
    """A role of the server."""
    return role.RoleCreated(
        server_id=SERVER, role_id=role_id, creator_id=CAROL, name=called, permissions=int(allows), rank=rank
    )


def opened(channel_id: Id = GENERAL, called: str = "general") -> channel.ChannelCreated:
    """A channel of the server."""
    return channel.ChannelCreated(
        server_id=SERVER,
        channel_id=channel_id,
        creator_id=CAROL,
        kind="text",
        name=called,
        topic="",
        slow_mode_seconds=0,
    )


def seated(account_id: Id, membership: int = 1) -> server_member.ServerJoined:
    """Somebody is a member of the server."""
    return server_member.ServerJoined(server_id=SERVER, account_id=account_id, invite_id=None, membership=membership)


def holds(account_id: Id, role_id: Id) -> server_member.RoleGranted:
    """Somebody has a role."""
    return server_member.RoleGranted(server_id=SERVER, account_id=account_id, role_id=role_id, granter_id=CAROL)


ALICE_IS_MOD: tuple[Event, ...] = (*chat(ALICE, BOB), holds(ALICE, MODS))
"""A server of Carol's in which Bob is a member, and Alice one who moderates."""


def talking() -> conversation.DirectOpened:
    """Alice opened a conversation with Bob."""
    return conversation.DirectOpened(conversation_id=DIRECT, opener_id=ALICE, other_id=BOB)


def group(owner_id: Id, *members: Id) -> tuple[Event, ...]:
    """A group without a name that somebody made with these others."""
    return (
        conversation.GroupCreated(conversation_id=GROUP, owner_id=owner_id, name=""),
        *(grouped(account_id, owner_id) for account_id in (owner_id, *members)),
    )


def grouped(account_id: Id, adder_id: Id) -> conversation.GroupJoined:
    """Somebody is put into the group."""
    return conversation.GroupJoined(conversation_id=GROUP, account_id=account_id, adder_id=adder_id)


def said(
    by: Id = ALICE, body: str = "Hello", *, message_id: Id = MESSAGE, mentions: tuple[Id, ...] = ()
) -> message.MessageSent:
    """A message in the server's channel."""
    return message.MessageSent(
        message_id=message_id,
        channel_id=GENERAL,
        server_id=SERVER,
        author_id=by,
        reply_to_id=None,
        mentions=packed(mentions),
        body=body,
        attachments="",
    )


def named(account_id: Id, called: str) -> Claimed:
    """The name of somebody, by which they can be mentioned."""
    return Claimed("account", called, account_id)
