"""Random histories that could have happened: every kind of event, in an order that its streams allow."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from msgspec import Struct

from domain import (
    account,
    ballot,
    block,
    comment,
    community,
    follow,
    membership,
    moderators,
    name,
    post,
    save,
    stickies,
)
from domain.comment import segment
from domain.event import Event, Id
from domain.ids import ballot_id, derived, membership_id, moderators_id, relation_id, save_id, stickies_id
from tests.equivalence.servers import Servers

MIXED: dict[str, int] = {
    "vote": 1600,
    "comment": 200,
    "post": 40,
    "join": 40,
    "follow": 25,
    "save": 20,
    "account": 20,
    "edit": 20,
    "delete": 8,
    "moderate": 5,
    "import_comment": 6,
    "import_post": 4,
    "block": 4,
    "community": 2,
    "invite": 3,
    "rename": 3,
}
"""What happens how often in relation on a lively site: there, too, most of what happens is votes."""

SERVED = 0.025
"""The part of chat servers in what happens."""

_WORDS = "the of a log is event every view can be rebuilt from what happened and nothing else so ünïcode 🐘 too".split()


class Happened(Struct, frozen=True):
    """An event that is not recorded yet."""

    stream_id: Id
    event: Event
    occurred_at: datetime
    actor_id: Id | None


class _Item(Struct):
    id: Id
    kind: ballot.Target
    post_id: Id
    community_id: Id
    author_id: Id | None
    path: bytes = b""
    depth: int = 0
    anonymous: bool = False
    deleted: bool = False
    waiting: bool = False


class World:
    """A community site that lives. The same seed gives the same history."""

    def __init__(self, seed: int, *, weights: dict[str, int] | None = None, comments_deep: int = 8) -> None:
        self.random = Random(seed)
        self._astray = Random(seed)
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self._seed = seed
        self._deep = comments_deep
        self._made = 0
        self._acts: list[Callable[[], Iterator[Happened]]] = []
        self._weights: list[int] = []
        for act, weight in (weights or MIXED).items():
            self._acts.append(getattr(self, f"_{act}"))
            self._weights.append(weight)
        self.accounts: list[Id] = []
        self.communities: list[Id] = []
        self.items: list[_Item] = []
        self.ballots: dict[tuple[Id, Id], int] = {}
        self.pairs: dict[str, dict[tuple[Id, Id], bool]] = {"follow": {}, "block": {}, "save": {}}
        self._saved: list[tuple[Id, _Item]] = []
        self.members: dict[tuple[Id, Id], str] = {}
        # They draw from lots of their own, so that the rest happens as it would without them.
        self._servers = Servers(seed, self.accounts)
        self._start = [self._account, self._account, self._account, self._community, self._community, self._post]

    def happen(self, events: int) -> Iterator[Happened]:
        """At least so many events, as they happen."""
        count = 0
        while count < events:
            acts = [self._start.pop(0)] if self._start else self.random.choices(self._acts, self._weights, k=64)
            for act in acts:
                self.now += timedelta(microseconds=self.random.randrange(1, 2_000_000))
                for happened in act():
                    count += 1
                    yield happened
                for stream_id, event, actor_id in self._servers.happen(SERVED, self.now):
                    count += 1
                    yield self._happened(stream_id, event, actor_id)

    def _id(self) -> Id:
        self._made += 1
        return derived("history", str(self._seed), str(self._made))

    def _text(self, words: int) -> str:
        return " ".join(self.random.choices(_WORDS, k=self.random.randrange(1, words)))

    def _who(self) -> Id:
        # The square makes the first ones the lively ones, as on any site.
        return self.accounts[int(len(self.accounts) * self.random.random() ** 2)]

    def _where(self) -> Id:
        return self.communities[int(len(self.communities) * self.random.random() ** 2)]

    def _what(self) -> _Item:
        return self.items[-1 - int(len(self.items) * self.random.random() ** 3)]

    def _happened(self, stream_id: Id, event: Event, actor: Id | None) -> Happened:
        return Happened(stream_id, event, self.now, actor)

    def _account(self) -> Iterator[Happened]:
        made = self._id()
        self.accounts.append(made)
        if self.random.random() < 0.1:
            yield self._happened(made, account.AccountImported(made, self._text(2), "reddit"), None)
            return
        yield self._happened(self._id(), name.NameClaimed("account", made), made)
        yield self._happened(made, account.AccountRegistered(made, self._text(2), self._text(3)), made)

    def _rename(self) -> Iterator[Happened]:
        who = self._who()
        yield self._happened(who, account.DisplayNameChanged(who, self._text(4)), who)

    def _community(self) -> Iterator[Happened]:
        made, who = self._id(), self._who()
        self.communities.append(made)
        if self.random.random() < 0.2:
            yield self._happened(made, community.CommunityImported(made, self._text(2), "reddit"), None)
            return
        created = community.CommunityCreated(made, who, self._text(2), self._text(5), self._text(20), "public", True)
        yield self._happened(self._id(), name.NameClaimed("community", made), who)
        yield self._happened(made, created, who)
        stream = membership_id(made, who)
        self.members[made, who] = "moderator"
        yield self._happened(stream, membership.MemberJoined(made, who), who)
        yield self._happened(stream, membership.ModeratorAppointed(made, who, who), who)
        yield self._happened(moderators_id(made), moderators.ModeratorListed(made, who), who)

    def _join(self) -> Iterator[Happened]:
        where, who = self._where(), self._who()
        stream = membership_id(where, who)
        if self.members.get((where, who)) in {None, "invited"}:
            self.members[where, who] = "member"
            yield self._happened(stream, membership.MemberJoined(where, who), who)
        elif self.random.random() < 0.3:
            if self.members.pop((where, who)) == "moderator":
                yield self._happened(moderators_id(where), moderators.ModeratorDelisted(where, who), who)
            yield self._happened(stream, membership.MemberLeft(where, who), who)

    def _invite(self) -> Iterator[Happened]:
        where, who, by = self._where(), self._who(), self._who()
        invited = [pair for pair, standing in self.members.items() if standing == "invited"]
        if invited and self.random.random() < 0.3:
            where, who = self.random.choice(invited)
        stream = membership_id(where, who)
        standing = self.members.get((where, who))
        if standing is None:
            self.members[where, who] = "invited"
            yield self._happened(stream, membership.MemberInvited(where, who, by), by)
        elif standing == "invited":
            del self.members[where, who]
            yield self._happened(stream, membership.InvitationDeclined(where, who), who)
        elif standing == "member":
            self.members[where, who] = "moderator"
            yield self._happened(stream, membership.ModeratorAppointed(where, who, by), by)
            yield self._happened(moderators_id(where), moderators.ModeratorListed(where, who), by)

    def _toggle(self, kind: str, one: Id, other: Id) -> bool:
        pairs = self.pairs[kind]
        pairs[one, other] = not pairs.get((one, other), False)
        return pairs[one, other]

    def _follow(self) -> Iterator[Happened]:
        who, whom = self._who(), self._who()
        if who != whom:
            kind = follow.AccountFollowed if self._toggle("follow", who, whom) else follow.AccountUnfollowed
            yield self._happened(relation_id(who, whom), kind(who, whom), who)

    def _block(self) -> Iterator[Happened]:
        who, whom = self._who(), self._who()
        if who != whom:
            kind = block.AccountBlocked if self._toggle("block", who, whom) else block.AccountUnblocked
            yield self._happened(relation_id(who, whom), kind(who, whom), who)

    def _save(self) -> Iterator[Happened]:
        who, what = self._who(), self._what()
        if self._saved and self.random.random() < 0.2:
            who, what = self._saved.pop()
        if self._toggle("save", who, what.id):
            self._saved.append((who, what))
            yield self._happened(save_id(who, what.id), save.ItemSaved(who, what.id, what.kind), who)
        else:
            yield self._happened(save_id(who, what.id), save.ItemUnsaved(who, what.id, what.kind), who)

    def _post(self) -> Iterator[Happened]:
        made, where, who = self._id(), self._where(), self._who()
        anonymous = self.random.random() < 0.05
        link = f"https://example.org/{made}" if self.random.random() < 0.3 else None
        self.items.append(_Item(made, "post", made, where, who, anonymous=anonymous))
        body = "" if link else self._text(80)
        kind: post.PostKind = "link" if link else "text"
        event = post.PostSubmitted(made, where, who, anonymous, kind, self._text(12), body, link)
        yield self._happened(made, event, who)

    def _import_post(self) -> Iterator[Happened]:
        made, where = self._id(), self._where()
        who = self._who() if self.random.random() < 0.8 else None
        removed = self.random.random() < 0.1
        self.items.append(_Item(made, "post", made, where, who, deleted=removed))
        up, down = self.random.randrange(500), self.random.randrange(50)
        event = post.PostImported(
            made,
            where,
            who,
            "text",
            self._text(12),
            self._text(80),
            None,
            None,
            up,
            down,
            False,
            False,
            removed,
            "t3_x",
        )
        yield self._happened(made, event, None)

    def _comment(self) -> Iterator[Happened]:
        made, below, who = self._id(), self._what(), self._who()
        if below.depth >= self._deep:
            return
        path = below.path + segment(made, self.now)
        parent = below.id if below.kind == "comment" else None
        told = None if below.author_id == who or below.anonymous else below.author_id
        self.items.append(
            _Item(made, "comment", below.post_id, below.community_id, who, path=path, depth=below.depth + 1)
        )
        event = comment.CommentSubmitted(
            made, below.post_id, below.community_id, who, parent, told, path, below.depth + 1, self._text(50)
        )
        yield self._happened(made, event, who)

    def _import_comment(self) -> Iterator[Happened]:
        made, below = self._id(), self._what()
        if below.depth >= self._deep:
            return
        who = self._who() if self.random.random() < 0.8 else None
        orphan = below.kind == "comment" and self.random.random() < 0.3
        removed = self.random.random() < 0.1
        path = segment(made, self.now) if orphan else below.path + segment(made, self.now)
        depth = 1 if orphan else below.depth + 1
        parent = below.id if below.kind == "comment" else None
        astray = self._astray.choice(self.items) if orphan and self._astray.random() < 0.3 else None
        if astray is not None and astray.kind == "comment" and astray.post_id != below.post_id:
            parent = astray.id  # an archive that says so of a comment of another post is wrong, and is imported
        else:
            astray = None
        item = _Item(made, "comment", below.post_id, below.community_id, who, path=path, depth=depth, deleted=removed)
        self.items.append(item)
        up, down = self.random.randrange(90), self.random.randrange(9)
        event = comment.CommentImported(
            made,
            below.post_id,
            below.community_id,
            who,
            parent,
            orphan,
            path,
            depth,
            self._text(50),
            None,
            up,
            down,
            removed,
            "t1_x",
        )
        yield self._happened(made, event, None)
        if orphan and astray is None:
            item.path, item.depth = below.path + segment(made, self.now), below.depth + 1
            yield self._happened(made, comment.CommentAttached(made, below.post_id, item.path, item.depth), None)

    def _vote(self) -> Iterator[Happened]:
        who, what = self._who(), self._what()
        if what.deleted:
            return
        previous = self.ballots.get((who, what.id), 0)
        value = self.random.choice([1, 1, 1, 1, -1, 0])
        if value == previous:
            return
        self.ballots[who, what.id] = value
        author = None if what.anonymous or what.author_id == who else what.author_id
        event = ballot.VoteCast(
            who,
            what.id,
            what.kind,
            what.post_id,
            what.community_id,
            author,
            previous,
            value,  # type: ignore[arg-type]
        )
        yield self._happened(ballot_id(who, what.id), event, who)

    def _edit(self) -> Iterator[Happened]:
        what, text = self._what(), self._text(60)
        if what.deleted or what.author_id is None:
            return
        kind = post.PostEdited if what.kind == "post" else comment.CommentEdited
        if what.kind == "post":
            yield self._happened(
                what.id, post.PostEdited(what.id, what.community_id, what.author_id, text), what.author_id
            )
        else:
            assert kind is comment.CommentEdited
            edited = comment.CommentEdited(what.id, what.post_id, what.community_id, what.author_id, text)
            yield self._happened(what.id, edited, what.author_id)

    def _delete(self) -> Iterator[Happened]:
        what, who = self._what(), self._who()
        if what.deleted:
            return
        what.deleted = True
        if what.kind == "post":
            yield self._happened(what.id, post.PostDeleted(what.id, what.community_id, what.author_id, who), who)
        else:
            gone = comment.CommentDeleted(what.id, what.post_id, what.community_id, what.author_id, who)
            yield self._happened(what.id, gone, who)

    def _moderate(self) -> Iterator[Happened]:
        what, who = self._what(), self._who()
        if what.kind == "comment":
            where = self._where()
            edited = community.CommunityEdited(where, who, self._text(5), self._text(20), "restricted", False)
            yield self._happened(where, edited, who)
            return
        kind = self.random.choice([post.PostLocked, post.PostUnlocked, post.PostStickied, post.PostUnstickied])
        listing = {post.PostStickied: stickies.StickyListed, post.PostUnstickied: stickies.StickyDelisted}.get(kind)
        if listing is not None:
            yield self._happened(stickies_id(what.community_id), listing(what.community_id, what.id), who)
        yield self._happened(what.id, kind(what.id, what.community_id, who), who)
