"""Random histories of chat: every kind of event of servers and conversations, in an order that its streams allow."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from msgspec import Struct

from domain import (
    channel,
    channel_list,
    conversation,
    emoji_list,
    invite,
    message,
    nonce,
    ordering,
    reaction,
    read_marker,
    role,
    server,
    server_member,
    snowflake,
)
from domain.event import Event, Id
from domain.ids import (
    channels_id,
    derived,
    direct_id,
    emoji_id,
    invite_use_id,
    packed,
    reactions_id,
    roles_id,
    server_member_id,
)

TALKED = 0.2
"""The part of conversations in what happens."""

_WORDS = "all welcome rules news off topic help 🐘 ünïcode read this first".split()


class _Message(Struct):
    id: Id
    server_id: Id
    channel_id: Id
    author_id: Id
    mentions: bytes
    reactions: set[tuple[Id, str]]
    emoji: set[str]


class _Server(Struct):
    id: Id
    owner_id: Id
    roles: dict[Id, int]
    channels: dict[Id, int]
    invites: list[Id]
    members: dict[Id, set[Id]]
    banned: set[Id]


class _Group(Struct):
    id: Id
    owner_id: Id
    members: list[Id]


Act = Callable[[_Server, Id], Iterator[tuple[Id, Event]]]


class Servers:
    """The chat of a world with these accounts, of which there may be more later."""

    def __init__(self, seed: int, accounts: Sequence[Id]) -> None:
        self._random = Random(f"servers {seed}")
        self._seed = seed
        self._accounts = accounts
        self._made = 0
        self._now = datetime(2025, 1, 1, tzinfo=UTC)
        self._servers: list[_Server] = []
        self._direct: set[Id] = set()
        self._groups: list[_Group] = []
        self._messages: list[_Message] = []
        self._acts: dict[Act, int] = {
            self._join: 12,
            self._leave: 2,
            self._put_out: 4,
            self._unban: 3,
            self._role: 6,
            self._grant: 6,
            self._channel: 8,
            self._override: 4,
            self._invite: 6,
            self._edit: 3,
            self._say: 30,
            self._reword: 6,
            self._unsay: 4,
            self._react: 10,
            self._read: 8,
            self._end: 1,
        }

    def happen(self, chance: float, now: datetime) -> Iterator[tuple[Id, Event, Id]]:
        """With that chance a few events of one server or conversation, each with its stream and whose act it is."""
        if not self._accounts or self._random.random() >= chance:
            return
        self._now, who = now, self._who()
        if self._random.random() < TALKED:
            events = self._talk(who)
        elif len(self._servers) < 2 or self._random.random() < 0.02:
            events = self._create(who)
        else:
            (act,) = self._random.choices(list(self._acts), list(self._acts.values()))
            events = act(self._random.choice(self._servers), who)
        for stream_id, event in events:
            yield stream_id, event, who

    def _new_id(self) -> Id:
        self._made += 1
        return derived("history of servers", str(self._seed), str(self._made))

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=self._random.randrange(1, words)))

    def _who(self) -> Id:
        return self._accounts[int(len(self._accounts) * self._random.random() ** 2)]

    def _create(self, who: Id) -> Iterator[tuple[Id, Event]]:
        made = self._new_id()
        self._servers.append(_Server(made, who, {}, {}, [], {who: set()}, set()))
        for event in role.founded(made, who):
            yield roles_id(made), event
        yield server_member_id(made, who), server_member.ServerJoined(made, who, None, 1)
        yield made, server.ServerCreated(made, who, self._text(3), self._text(20))

    def _join(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if who in at.members or who in at.banned or not at.invites:
            return
        used = self._random.choice(at.invites)
        at.members[who] = set()
        if self._random.random() < 0.3:
            yield used, invite.InviteCounted(used, at.id, who)
        yield server_member_id(at.id, who), server_member.ServerJoined(at.id, who, used, self._random.randrange(1, 3))
        yield invite_use_id(used, who), invite.InviteUsed(used, at.id, who)

    def _other(self, at: _Server) -> Id | None:
        others = [member for member in at.members if member != at.owner_id]
        return self._random.choice(others) if others else None

    def _leave(self, at: _Server, _who: Id) -> Iterator[tuple[Id, Event]]:
        member = self._other(at)
        if member is not None:
            del at.members[member]
            yield server_member_id(at.id, member), server_member.ServerLeft(at.id, member)

    def _put_out(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        other = self._other(at) if self._random.random() < 0.7 else self._who()
        if other is None or other == at.owner_id or other in at.banned:
            return
        was_member = at.members.pop(other, None) is not None
        stream_id, reason = server_member_id(at.id, other), self._text(9)
        if was_member and self._random.random() < 0.4:
            yield stream_id, server_member.MemberKicked(at.id, other, who, reason)
            return
        at.banned.add(other)
        until = self._now + timedelta(days=7) if self._random.random() < 0.5 else None
        yield stream_id, server_member.MemberBanned(at.id, other, who, reason, until, was_member)

    def _unban(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if at.banned:
            other = self._random.choice(sorted(at.banned))
            at.banned.remove(other)
            yield server_member_id(at.id, other), server_member.MemberUnbanned(at.id, other, who)

    def _role(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        stream_id, bits = roles_id(at.id), self._random.randrange(1 << 13)
        if len(at.roles) < 3:
            made = self._new_id()
            at.roles[made] = ordering.put(at.roles, made, None)[made]
            yield stream_id, role.RoleCreated(at.id, made, who, self._text(3), bits, at.roles[made])
            return
        which = self._random.choice(list(at.roles))
        chance = self._random.random()
        if chance < 0.2:
            del at.roles[which]
            yield stream_id, role.RoleDeleted(at.id, which, who)
        elif chance < 0.6:
            behind = self._random.choice([None, *(one for one in at.roles if one != which)])
            for moved, rank in ordering.put(at.roles, which, behind).items():
                at.roles[moved] = rank
                yield stream_id, role.RoleRanked(at.id, moved, rank)
        else:
            yield stream_id, role.RoleEdited(at.id, which, who, self._text(3), bits)

    def _grant(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if not at.roles:
            return
        which, member = self._random.choice(list(at.roles)), self._random.choice(list(at.members))
        held, stream_id = at.members[member], server_member_id(at.id, member)
        if which in held:
            held.remove(which)
            yield stream_id, server_member.RoleRevoked(at.id, member, which, who)
        else:
            held.add(which)
            yield stream_id, server_member.RoleGranted(at.id, member, which, who)

    def _channel(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        list_id = channels_id(at.id)
        if len(at.channels) < 3:
            made = self._new_id()
            at.channels[made] = ordering.last(at.channels.values())
            kind: channel.ChannelKind = "announcement" if self._random.random() < 0.2 else "text"
            yield list_id, channel_list.ChannelListed(at.id, made, at.channels[made])
            if self._random.random() < 0.3:
                yield made, channel.OverrideSet(at.id, made, at.id, who, 0, 1, 0)
            yield made, channel.ChannelCreated(at.id, made, who, kind, self._text(2), self._text(9), 0)
            return
        which = self._random.choice(list(at.channels))
        chance = self._random.random()
        if chance < 0.2:
            del at.channels[which]
            yield list_id, channel_list.ChannelDelisted(at.id, which)
            yield which, channel.ChannelDeleted(at.id, which, who)
        elif chance < 0.5:
            for moved, place in ordering.put(at.channels, which, None).items():
                at.channels[moved] = place
                yield list_id, channel_list.ChannelPlaced(at.id, moved, place)
        else:
            edited = channel.ChannelEdited(at.id, which, who, self._text(2), self._text(9), 5)
            yield which, edited

    def _override(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if at.channels:
            which = self._random.choice(list(at.channels))
            target = self._random.choice([at.id, *at.roles, *at.members])
            allow, deny = self._random.choice([(0, 0), (1, 2), (0, 2), (3, 0)])
            yield which, channel.OverrideSet(at.id, which, target, who, allow, deny, int(target in at.members))

    def _invite(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if len(at.invites) > 2:
            gone = at.invites.pop(0)
            yield gone, invite.InviteRevoked(gone, at.id, who)
            return
        made = self._new_id()
        at.invites.append(made)
        expires = self._now + timedelta(days=7) if self._random.random() < 0.5 else None
        uses = 100 if self._random.random() < 0.5 else None
        yield made, invite.InviteCreated(made, at.id, who, expires, uses)

    def _mentioned(self, at: _Server) -> bytes:
        names = [at.id, *at.roles, *at.members]
        return packed(self._random.choices(names, k=self._random.choice((0, 0, 1, 3))))

    def _say(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        if not at.channels:
            return
        which, stream_id = self._random.choice(list(at.channels)), self._new_id()
        # Ids come out of order, as from two processes, and now and then from another month.
        ms = int(self._now.timestamp() * 1000) + self._random.randrange(-2_000, 2_000)
        ms -= self._random.choice((0, 0, 0, 40)) * 86_400_000
        sent = snowflake.as_id(snowflake.made(max(ms, snowflake.EPOCH_MS), 1, self._made % 4096))
        here = [one for one in self._messages[-50:] if one.channel_id == which]
        reply_to = self._random.choice(here).id if here and self._random.random() < 0.3 else None
        mentions = self._mentioned(at)
        self._messages.append(_Message(sent, at.id, which, who, mentions, set(), set()))
        attachments = '[{"url":"https://x.org/","name":"x","media_type":"image/png","size_bytes":1}]'
        attached = attachments if self._random.random() < 0.1 else ""
        yield sent, message.MessageSent(sent, which, at.id, who, reply_to, mentions, self._text(9), attached)
        yield stream_id, nonce.NonceUsed(sent, which, who)

    def _one(self) -> _Message | None:
        recent = self._messages[-100:]
        return self._random.choice(recent) if recent else None

    def _reword(self, at: _Server, _who: Id) -> Iterator[tuple[Id, Event]]:
        one, mentions = self._one(), self._mentioned(at)
        if one is not None:
            ids = (one.id, one.channel_id, one.server_id, one.author_id)
            yield one.id, message.MessageEdited(*ids, mentions, one.mentions, self._text(9))
            one.mentions = mentions

    def _unsay(self, _at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        one = self._one()
        if one is not None:
            self._messages.remove(one)
            ids = (one.id, one.channel_id, one.server_id, one.author_id)
            yield one.id, message.MessageDeleted(*ids, who, one.mentions)

    def _react(self, _at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        one, emoji = self._one(), self._random.choice("👍🐘🎉")
        if one is None:
            return
        stream_id = reactions_id(one.id, who)
        if (who, emoji) in one.reactions:
            one.reactions.remove((who, emoji))
            yield stream_id, reaction.ReactionRemoved(one.id, one.channel_id, who, emoji)
        else:
            one.reactions.add((who, emoji))
            if emoji not in one.emoji:
                one.emoji.add(emoji)
                yield emoji_id(one.id), emoji_list.EmojiListed(one.id, one.channel_id, who, emoji)
            yield stream_id, reaction.ReactionAdded(one.id, one.channel_id, who, emoji)

    def _read(self, _at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        one = self._one()
        if one is not None:
            yield self._new_id(), read_marker.MarkerMoved(who, one.channel_id, one.id)

    def _edit(self, at: _Server, who: Id) -> Iterator[tuple[Id, Event]]:
        heir = self._other(at)
        if heir is not None and self._random.random() < 0.3:
            yield at.id, server.ServerTransferred(at.id, at.owner_id, heir)
            at.owner_id = heir
        else:
            yield at.id, server.ServerEdited(at.id, who, self._text(3), self._text(20))

    def _end(self, at: _Server, _who: Id) -> Iterator[tuple[Id, Event]]:
        if len(self._servers) > 4:
            self._servers.remove(at)
            yield at.id, server.ServerDeleted(at.id, at.owner_id)

    def _talk(self, who: Id) -> Iterator[tuple[Id, Event]]:
        if self._random.random() < 0.3:
            other = self._who()
            made = direct_id(who, other)
            if other != who and made not in self._direct:
                self._direct.add(made)
                yield made, conversation.DirectOpened(made, who, other)
            return
        if len(self._groups) < 3:
            made = self._new_id()
            self._groups.append(_Group(made, who, [who]))
            yield made, conversation.GroupCreated(made, who, self._text(4))
            yield made, conversation.GroupJoined(made, who, who)
            return
        group = self._random.choice(self._groups)
        for event in self._changed(group, who):
            yield group.id, event
        if not group.members:
            self._groups.remove(group)

    def _changed(self, group: _Group, who: Id) -> Iterator[Event]:
        chance, member = self._random.random(), self._random.choice(group.members)
        if chance < 0.5:
            if who not in group.members:
                group.members.append(who)
                yield conversation.GroupJoined(group.id, who, member)
        elif chance < 0.65:
            yield conversation.GroupRenamed(group.id, member, self._text(4))
        elif chance < 0.8 and member != group.owner_id:
            group.members.remove(member)
            yield conversation.GroupMemberRemoved(group.id, member, group.owner_id)
        else:
            group.members.remove(member)
            if member == group.owner_id and group.members:
                group.owner_id = group.members[0]
                yield conversation.GroupHandedOver(group.id, member, group.owner_id)
            yield conversation.GroupLeft(group.id, member)
