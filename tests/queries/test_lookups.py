"""Look-ups by id and lists, and who sees what of them."""

import asyncio
from collections.abc import Awaitable, Collection
from datetime import timedelta
from random import Random
from typing import TypeVar

import pytest

from domain.block import AccountBlocked
from domain.community import CommunityCreated, CommunityImported
from domain.event import Id
from domain.follow import AccountFollowed
from domain.membership import MemberInvited, MemberJoined, MemberLeft, ModeratorAppointed
from domain.save import ItemSaved
from infra.queries import accounts, communities, items, live, log
from infra.queries.communities import BySize, Listed, Member
from infra.queries.items import ByTime
from infra.queries.rows import Page, Slice
from tests.queries.site import NOW, Site, ident

T = TypeVar("T")


def run(answer: Awaitable[T]) -> T:
    async def awaited() -> T:
        return await answer

    return asyncio.run(awaited())


class Town:
    """A little of everything: a public and a private place, Ann in both, Bob in the public one, Cat in none."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ann, self.bob, self.cat = (site.account(name) for name in ("Ann", "Bob", "Cat"))
        self.open = site.community("Open", self.ann)
        self.closed = site.community("Closed", self.ann, "private")
        site.happen(MemberJoined(self.open, self.bob))
        site.happen(ModeratorAppointed(self.open, self.ann, self.ann))
        self.seen = site.post("seen", self.open, self.ann, NOW - timedelta(hours=3))
        self.hidden = site.post("hidden", self.closed, self.ann, NOW - timedelta(hours=2))
        self.masked = site.post("masked", self.open, self.ann, NOW - timedelta(hours=1), anonymous=True)
        self.gone = site.post("gone", self.open, self.ann)
        site.delete_post(self.gone, self.open, self.ann)
        self.said = site.comment("said", self.seen, self.open, self.bob, None, NOW, self.ann)
        self.told = site.comment("told", self.hidden, self.closed, self.ann)
        site.vote(self.bob, self.seen, 1, post_id=self.seen, community_id=self.open, author_id=self.ann)
        site.vote(self.cat, self.seen, -1, post_id=self.seen, community_id=self.open, author_id=self.ann)
        site.vote(
            self.ann, self.told, 1, post_id=self.hidden, community_id=self.closed, author_id=self.ann, target="comment"
        )
        for who, target in ((self.cat, self.seen), (self.cat, self.hidden)):
            site.happen(ItemSaved(who, target, "post"))
        site.happen(AccountFollowed(self.bob, self.ann))
        site.happen(AccountFollowed(self.cat, self.ann))
        site.fold()


@pytest.fixture
def town(site: Site) -> Town:
    return Town(site)


def test_people_by_id_and_name(town: Town) -> None:
    found = run(town.site.ask(lambda c: accounts.by_ids(c, [town.ann, town.bob, ident("account", "nobody")])))
    assert {row.account_id: (row.name, row.followers) for row in found} == {
        town.ann: ("NameAnn", 2),
        town.bob: ("NameBob", 0),
    }
    named = run(town.site.ask(lambda c: accounts.by_names(c, ["nameANN", "nobody"])))
    assert [row.account_id for row in named] == [town.ann]


def test_private_communities_are_for_members_and_the_invited(town: Town) -> None:
    def seen(viewer: Id | None) -> set[Id]:
        by_id = run(town.site.ask(lambda c: communities.by_ids(c, viewer, [town.open, town.closed])))
        by_name = run(town.site.ask(lambda c: communities.by_names(c, viewer, ["PLACEopen", "placeclosed"])))
        assert {row.community_id for row in by_id} == {row.community_id for row in by_name}
        return {row.community_id for row in by_id}

    def listed(viewer: Id | None) -> list[Id]:
        answer = run(town.site.ask(lambda c: communities.listing(c, viewer, size=9)))
        return [item.community.community_id for item in answer.items]

    assert seen(town.ann) == {town.open, town.closed}
    assert seen(town.bob) == seen(None) == {town.open}
    assert listed(town.ann) == [town.open, town.closed]
    assert listed(town.bob) == listed(None) == [town.open]
    town.site.happen(MemberInvited(town.closed, town.bob, town.ann))
    town.site.fold()
    assert seen(town.bob) == {town.open, town.closed}
    assert not run(town.site.ask(lambda c: items.posts(c, town.bob, [town.hidden])))


def test_items_of_private_communities_are_for_members(town: Town) -> None:
    posts, comments = [town.seen, town.hidden, town.gone], [town.said, town.told]
    for viewer, posts_seen, comments_seen in (
        (town.ann, {town.seen, town.hidden, town.gone}, {town.said, town.told}),
        (town.bob, {town.seen, town.gone}, {town.said}),
        (None, {town.seen, town.gone}, {town.said}),
    ):
        found = run(town.site.ask(lambda c, v=viewer: items.posts(c, v, posts)))
        assert {row.post_id for row in found} == posts_seen
        answers = run(town.site.ask(lambda c, v=viewer: items.comments(c, v, comments)))
        assert {row.comment_id for row in answers} == comments_seen


def test_what_a_viewer_did(town: Town) -> None:
    ids = [town.seen, town.hidden, town.told]
    votes = run(town.site.ask(lambda c: items.votes(c, town.cat, ids)))
    assert [(row.target_id, row.value) for row in votes] == [(town.seen, -1)]
    saved = run(town.site.ask(lambda c: items.saved(c, town.cat, ids)))
    assert {row.target_id for row in saved} == {town.seen, town.hidden}
    listed = run(town.site.ask(lambda c: items.saved_list(c, town.cat, Slice(9))))
    assert [row.target_id for row in listed.items] == [town.seen], "what one may not see any more is not listed"
    standing = run(town.site.ask(lambda c: communities.memberships(c, town.ann, [town.open, town.closed])))
    assert {row.community_id: row.moderator for row in standing} == {town.open: True, town.closed: False}
    follows = run(town.site.ask(lambda c: accounts.followed_by(c, town.bob, [town.ann, town.cat])))
    assert [row.followed_id for row in follows] == [town.ann]


def test_scores_and_standings(town: Town) -> None:
    scores = run(town.site.ask(lambda c: items.scores(c, [town.seen, town.told, town.said])))
    assert {row.target_id: (row.up, row.down) for row in scores} == {town.seen: (1, 1), town.told: (1, 0)}
    standings = run(town.site.ask(lambda c: items.standings(c, [town.seen])))
    assert [(row.up, row.down, row.comments) for row in standings] == [(1, 1, 1)]


def test_karma(town: Town) -> None:
    (total,) = run(town.site.ask(lambda c: accounts.karma(c, town.ann, [town.ann, town.bob])))
    assert (total.account_id, total.post_karma, total.comment_karma) == (town.ann, 0, 1)
    by = run(town.site.ask(lambda c: accounts.karma_by_community(c, town.ann, town.ann, first=9)))
    assert [row.community_id for row in by] == [town.closed, town.open]
    by = run(town.site.ask(lambda c: accounts.karma_by_community(c, None, town.ann, first=9)))
    assert [row.community_id for row in by] == [town.open]


def test_karma_of_hidden_communities_is_in_no_total(town: Town) -> None:
    """A total is the sum of what the same viewer is told by community."""
    for viewer, earned in ((town.ann, (0, 1)), (town.bob, (0, 0)), (town.cat, (0, 0)), (None, (0, 0))):
        (total,) = run(town.site.ask(lambda c, v=viewer: accounts.karma(c, v, [town.ann])))
        by = run(town.site.ask(lambda c, v=viewer: accounts.karma_by_community(c, v, town.ann, first=9)))
        assert (total.post_karma, total.comment_karma) == earned
        assert (sum(row.post_karma for row in by), sum(row.comment_karma for row in by)) == earned


def test_posts_of_an_author_name_no_anonymous_one(town: Town) -> None:
    def posts_of(viewer: Id | None) -> list[Id]:
        answer = run(town.site.ask(lambda c: items.posts_of(c, viewer, town.ann, size=9)))
        return [row.post_id for row in answer.items]

    assert posts_of(town.ann) == [town.masked, town.hidden, town.seen]
    assert posts_of(town.bob) == posts_of(None) == [town.seen]
    answer = run(town.site.ask(lambda c: items.comments_of(c, None, town.ann, size=9)))
    assert not answer.items
    answer = run(town.site.ask(lambda c: items.comments_of(c, None, town.bob, size=9)))
    assert [row.comment_id for row in answer.items] == [town.said]


def test_notifications_since_a_position(town: Town) -> None:
    told = run(town.site.ask(lambda c: accounts.notifications_since(c, town.ann, 0, 9))).rows
    assert [row.comment_id for row in told] == [town.said]
    assert not run(town.site.ask(lambda c: accounts.notifications_since(c, town.ann, told[0].position, 9))).rows


def test_blocked_people_are_not_heard_of(town: Town) -> None:
    town.site.happen(AccountBlocked(town.ann, town.bob))
    town.site.fold()
    assert not run(town.site.ask(lambda c: accounts.notifications(c, town.ann, Slice(9)))).items
    blocked = run(town.site.ask(lambda c: accounts.blocks(c, town.ann, Slice(9))))
    assert [row.profile.account_id for row in blocked.items] == [town.bob]
    assert (
        run(town.site.ask(lambda c: accounts.blocked_by(c, town.ann, [town.bob, town.cat])))[0].blocked_id == town.bob
    )


def told(town: Town, viewer: Id) -> list[Id | None]:
    """The replies that the viewer is told of, in the list and live."""
    listed = run(town.site.ask(lambda c: accounts.notifications(c, viewer, Slice(9)))).items
    followed = run(town.site.ask(lambda c: live.notifications_after(c, viewer, 0, 9))).rows
    assert listed[::-1] == followed
    return [row.comment_id for row in followed]


def test_nobody_is_told_of_replies_in_a_community_that_he_left(town: Town) -> None:
    town.site.happen(MemberJoined(town.closed, town.bob))
    reply = town.site.comment("reply", town.hidden, town.closed, town.ann, None, NOW, town.bob)
    town.site.fold()
    assert told(town, town.bob) == [reply]
    town.site.happen(MemberLeft(town.closed, town.bob))
    town.site.comment("late", town.hidden, town.closed, town.ann, None, NOW, town.bob)
    town.site.fold()
    assert told(town, town.bob) == []
    town.site.happen(MemberJoined(town.closed, town.bob))
    town.site.fold()
    assert told(town, town.bob) == [reply, ident("comment", "late")]


def test_nobody_is_told_of_a_reply_that_is_deleted(town: Town) -> None:
    more = town.site.comment("more", town.seen, town.open, town.bob, None, NOW, town.ann)
    town.site.delete_comment(town.said, town.seen, town.open, town.bob)
    town.site.fold()
    assert told(town, town.ann) == [more]
    assert len(run(town.site.ask(lambda c: accounts.notifications(c, town.ann, Slice(1)))).items) == 1


def test_who_is_admitted_to_what_happens_in_a_community(town: Town) -> None:
    viewers = (None, town.ann, town.bob)
    unborn, unknown = ident("community", "unborn"), ident("community", "unknown")
    town.site.happen(MemberJoined(unborn, town.ann))
    town.site.fold()

    def admitted(community_id: Id) -> Collection[Id | None] | None:
        return run(town.site.ask(lambda c: live.admitted(c, community_id, viewers)))

    assert admitted(town.open) is None
    assert admitted(town.closed) == {town.ann}
    # As long as it is not known what a community is, it may be a private one.
    assert admitted(unborn) == frozenset()
    assert admitted(unknown) == frozenset()


def test_who_blocks_whom_is_told_however_many_do(site: Site) -> None:
    star, troll = site.account("star"), site.account("troll")
    fans = [site.account(n) for n in range(5)]
    for fan in fans[:4]:
        site.happen(AccountBlocked(fan, troll))
    site.happen(AccountBlocked(fans[0], star))
    site.fold()

    def blocks(*viewers: Id | None) -> Collection[tuple[Id | None, Id]]:
        told = run(site.ask(lambda c: live.blocks(c, viewers, [star, troll])))
        return {(viewer, author_id) for viewer, author_id in told if viewer in viewers}

    few, all_of_them = (None, fans[0], fans[4]), (*fans, star, troll)
    assert blocks(*few) == {(fans[0], troll), (fans[0], star)}
    assert blocks(*all_of_them) == {(fans[0], star), *((fan, troll) for fan in fans[:4])}
    assert run(site.ask(lambda c: accounts.blockers(c, [star, troll], 4))) is None
    assert run(site.ask(lambda c: accounts.blockers(c, [star, troll], 5))) == {star: {fans[0]}, troll: {*fans[:4]}}


def test_lists_are_paged_both_ways(site: Site) -> None:
    star = site.account("star")
    fans = [site.account(n) for n in range(7)]
    for fan in fans:
        site.happen(AccountFollowed(fan, star))
    site.fold()

    def page(where: Slice) -> Page[Id]:
        answer = run(site.ask(lambda c: accounts.followers(c, star, where)))
        positions.update({row.profile.account_id: row.position for row in answer.items})
        return answer.map(lambda row: row.profile.account_id)

    positions: dict[Id, int] = {}
    newest = fans[::-1]
    first = page(Slice(3))
    assert (first.items, first.has_next, first.has_previous) == (newest[:3], True, False)
    second = page(Slice(3, positions[first.items[-1]]))
    assert (second.items, second.has_next, second.has_previous) == (newest[3:6], True, True)
    third = page(Slice(3, positions[second.items[-1]]))
    assert (third.items, third.has_next) == (newest[6:], False)
    back = page(Slice(3, positions[third.items[0]], backward=True))
    assert (back.items, back.has_next, back.has_previous) == (newest[3:6], True, True)
    last = page(Slice(3, None, backward=True))
    assert (last.items, last.has_next, last.has_previous) == (newest[4:], False, True)


def test_members_and_communities_joined(town: Town) -> None:
    members = run(town.site.ask(lambda c: communities.members(c, None, town.open, Slice(9))))
    assert {row.profile.account_id: row.moderator for row in members.items} == {town.ann: True, town.bob: False}
    moderators = run(town.site.ask(lambda c: communities.members(c, None, town.open, Slice(9), moderators=True)))
    assert [row.profile.account_id for row in moderators.items] == [town.ann]
    assert not run(town.site.ask(lambda c: communities.members(c, None, town.closed, Slice(9)))).items
    for viewer, seen in ((town.ann, {town.open, town.closed}), (town.bob, {town.open})):
        joined = run(town.site.ask(lambda c, v=viewer: communities.joined(c, v, town.ann, Slice(9))))
        assert {row.community.community_id for row in joined.items} == seen


def test_members_and_communities_stay_where_they_joined_in_their_lists(site: Site) -> None:
    """Invitations and appointments between two pages neither repeat anybody nor leave anybody out."""
    ann = site.account("Ann")
    people = [site.account(n) for n in range(6)]
    place = site.community("place", ann, "restricted")
    for person in people:
        site.happen(MemberJoined(place, person))
    for moderator in people[1:4]:
        site.happen(ModeratorAppointed(place, moderator, ann))
    others = [site.community(n, people[0], "restricted") for n in range(5)]
    for other in others:
        site.happen(MemberJoined(other, ann))
    site.fold()

    def read(size: int, after: int | None, moderators: bool) -> Page[Member]:
        return run(site.ask(lambda c: communities.members(c, None, place, Slice(size, after), moderators=moderators)))

    first, leading = read(3, None, False), read(2, None, True)
    joined = run(site.ask(lambda c: communities.joined(c, None, ann, Slice(3))))
    site.happen(ModeratorAppointed(place, people[0], ann))  # not read yet
    site.happen(MemberInvited(place, people[1], ann))
    site.happen(MemberInvited(place, people[5], ann))  # read already
    site.happen(MemberInvited(others[0], ann, people[0]))
    site.happen(ModeratorAppointed(others[1], ann, people[0]))
    site.happen(ModeratorAppointed(others[4], ann, people[0]))
    site.fold()
    rest = read(9, first.items[-1].position, False)
    assert [row.profile.account_id for row in (*first.items, *rest.items)] == [*people[::-1], ann]
    others_leading = read(9, leading.items[-1].position, True)
    assert [row.profile.account_id for row in (*leading.items, *others_leading.items)] == [*people[3::-1]]
    more = run(site.ask(lambda c: communities.joined(c, None, ann, Slice(9, joined.items[-1].position))))
    assert [row.community.community_id for row in (*joined.items, *more.items)] == [*others[::-1], place]


def by_size(site: Site, size: int, after: BySize | None = None, *, backward: bool = False) -> Page[Listed]:
    return run(site.ask(lambda c: communities.listing(c, None, size=size, after=after, backward=backward)))


def listed(*pages: Page[Listed]) -> list[Id]:
    return [item.community.community_id for page in pages for item in page.items]


def test_communities_by_size_are_paged(site: Site) -> None:
    people = [site.account(n) for n in range(5)]
    places = [site.community(n, people[0]) for n in range(5)]
    for size, place in enumerate(places):
        for person in people[1 : size + 1]:
            site.happen(MemberJoined(place, person))
    site.fold()
    first = by_size(site, 2)
    assert listed(first) == [places[4], places[3]]
    second = by_size(site, 2, first.items[-1].cursor)
    assert listed(second) == [places[2], places[1]]
    assert listed(by_size(site, 2, first.items[-1].cursor, backward=True)) == [places[4]]


class Towns:
    """Communities of all sizes, in which people come and go."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.random = Random(seed)
        self.people = [site.account(n) for n in range(9)]
        self.members: dict[Id, set[Id]] = {}
        for _ in range(12):
            self.found()
        for _ in range(40):
            self.come_or_go()
        site.fold()

    def found(self) -> None:
        founder = self.random.choice(self.people)
        if self.random.random() < 0.3:
            place = ident("community", f"imported {len(self.members)}")
            self.site.happen(CommunityImported(place, f"Old{len(self.members)}", "reddit"))
            self.members[place] = set()
        else:
            self.members[self.site.community(len(self.members), founder)] = {founder}

    def come_or_go(self) -> None:
        place, person = self.random.choice(list(self.members)), self.random.choice(self.people)
        inside = self.members[place]
        if person not in inside:
            inside.add(person)
            self.site.happen(MemberJoined(place, person))
        elif len(inside) > 1:
            inside.remove(person)
            self.site.happen(MemberLeft(place, person))

    def meanwhile(self) -> None:
        for _ in range(6):
            self.come_or_go()
        if self.random.random() < 0.3:
            self.found()
        self.site.fold()

    def by_size(self, position: int) -> list[tuple[int, Id]]:
        """All that there were at that position, with how many were in them then, the largest first.

        In a fleet a position can be between the events of a founding; then nobody is in the community yet.
        """
        sizes: dict[Id, int] = {}
        imported: set[Id] = set()
        for recorded in self.site.log[:position]:
            match recorded.event:
                case CommunityCreated() | CommunityImported() as e:
                    sizes[e.community_id] = 0
                    if isinstance(e, CommunityImported):
                        imported.add(e.community_id)
                case MemberJoined() as e:
                    sizes[e.community_id] += 1
                case MemberLeft() as e:
                    sizes[e.community_id] -= 1
                case _:
                    pass
        return sorted(((size, place) for place, size in sizes.items() if size or place in imported), reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_communities_are_paged_as_of_the_first_page_while_people_come_and_go(site: Site, seed: int) -> None:
    towns = Towns(site, seed)
    page = by_size(site, 3)
    expected = towns.by_size(page.items[0].cursor.position)
    assert page.items[0].cursor.position == site.position
    found = list(page.items)
    while page.has_next:
        towns.meanwhile()
        page = by_size(site, 3, found[-1].cursor)
        found += page.items
    back, page = found[-1:], by_size(site, 3, found[-1].cursor, backward=True)
    while page.has_previous:
        towns.meanwhile()
        back = [*page.items, *back]
        page = by_size(site, 3, back[0].cursor, backward=True)
    known = {place for _, place in expected}
    for read in (found, [*page.items, *back]):
        # What was imported since has no members as of then: it stands at the end.
        assert all(item.community.imported for item in read if item.community.community_id not in known)
        shown = [(item.cursor.members, item.cursor.community_id) for item in read]
        assert [one for one in shown if one[1] in known] == expected
        assert shown == sorted(set(shown), reverse=True)


def test_lists_by_time_are_paged(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    posts = [site.post(n, place, author, NOW - timedelta(hours=n)) for n in range(5)]
    site.fold()
    first = run(site.ask(lambda c: items.posts_of(c, None, author, size=2)))
    assert ([row.post_id for row in first.items], first.has_next) == (posts[:2], True)
    cursor = ByTime(NOW - timedelta(hours=1), posts[1])
    second = run(site.ask(lambda c: items.posts_of(c, None, author, size=9, cursor=cursor)))
    assert ([row.post_id for row in second.items], second.has_next) == (posts[2:], False)
    back = run(site.ask(lambda c: items.posts_of(c, None, author, size=2, backward=True)))
    assert ([row.post_id for row in back.items], back.has_previous) == (posts[3:], True)


def test_the_events_behind_a_subject(town: Town) -> None:
    found = run(town.site.ask(lambda c: log.positions(c, town.seen)))
    touching = [
        r.position
        for r in town.site.log
        if town.seen in {getattr(r.event, name, None) for name in r.event.__struct_fields__}
    ]
    assert found == touching
    assert run(town.site.ask(lambda c: log.positions(c, town.seen, after=found[0], limit=1))) == found[1:2]
    assert run(town.site.ask(lambda c: log.checkpoint(c, ["feed", "scores"]))) == town.site.position
    assert run(town.site.ask(lambda c: log.checkpoint(c, ["feed", "nothing"]))) == 0
