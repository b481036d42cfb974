"""Pages of feeds against a plain sorting of everything, while posts, votes and deletions arrive between the pages."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from msgspec import Struct
from msgspec.structs import replace

from domain.ballot import VoteCast
from domain.block import AccountBlocked
from domain.event import Id
from domain.follow import AccountFollowed
from domain.limits import LEADING_POSTS_MAX
from domain.membership import MemberJoined
from domain.post import PostDeleted, PostImported, PostStickied, PostSubmitted, PostUnstickied
from infra.postgres import connect_async
from infra.queries import feed_sql
from infra.queries.feeds import FeedItem, FeedQuery, PageCursor, page
from infra.queries.rows import Page
from projections import ranking
from projections.ranking import Period, Sort
from tests.queries.site import NOW, Site, ident

Key = tuple[float, datetime, Id]


class Known(Struct):
    """A post as of some position."""

    post_id: Id
    community_id: Id
    author_id: Id | None
    submitted_at: datetime
    sticky: bool = False
    up: int = 0
    down: int = 0
    gained: int = 0


class Oracle:
    """What feeds must hold, from the events alone."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def posts(self, now: datetime, position: int) -> dict[Id, Known]:
        posts: dict[Id, Known] = {}
        for recorded in self.site.log[:position]:
            match recorded.event:
                case PostSubmitted() as e:
                    author = None if e.anonymous else e.author_id
                    posts[e.post_id] = Known(e.post_id, e.community_id, author, recorded.occurred_at)
                case PostImported() as e:
                    at = recorded.occurred_at
                    posts[e.post_id] = Known(e.post_id, e.community_id, e.author_id, at, False, e.up, e.down)
                case PostStickied() as e:
                    posts[e.post_id].sticky = True
                case PostUnstickied() as e:
                    posts[e.post_id].sticky = False
                case VoteCast(target="post") as e:
                    known = posts[e.target_id]
                    known.up += (e.value > 0) - (e.previous > 0)
                    known.down += (e.value < 0) - (e.previous < 0)
                    if recorded.occurred_at > now - ranking.RISING_WINDOW:
                        known.gained += e.value - e.previous
                case _:
                    pass
        return posts

    def gone(self) -> set[Id]:
        return {r.event.post_id for r in self.site.log if isinstance(r.event, PostDeleted)}

    def _pairs(self, kind: type, one: str, other: str, of: Id | None) -> set[Id]:
        return {
            getattr(r.event, other) for r in self.site.log if isinstance(r.event, kind) and getattr(r.event, one) == of
        }

    def keys(self, query: FeedQuery, now: datetime, position: int, private: set[Id]) -> dict[Id, Key]:
        """The key of each post of the feed as of then, deleted ones included."""
        viewer = query.viewer_id
        mine = self._pairs(MemberJoined, "account_id", "community_id", viewer)
        followed = self._pairs(AccountFollowed, "follower_id", "followed_id", viewer)
        blocked = self._pairs(AccountBlocked, "blocker_id", "blocked_id", viewer)
        keys = {}
        for known in self.posts(now, position).values():
            if known.community_id in private - mine or known.author_id in blocked:
                continue
            if query.community_id is not None and known.community_id != query.community_id:
                continue
            if query.home and known.community_id not in mine and known.author_id not in followed:
                continue
            rank = self.rank(known, query, now)
            if rank is not None:
                keys[known.post_id] = (rank, known.submitted_at, known.post_id)
        if query.community_id is not None and query.sort is Sort.HOT:
            self._put_leads_first(keys, now, position)
        return keys

    def _put_leads_first(self, keys: dict[Id, Key], now: datetime, position: int) -> None:
        gone_then = {r.event.post_id for r in self.site.log[:position] if isinstance(r.event, PostDeleted)}
        posts = self.posts(now, position)
        sticky = [(keys[i][1], i) for i in keys if posts[i].sticky and i not in gone_then]
        for at, post_id in sorted(sticky, reverse=True)[:LEADING_POSTS_MAX]:
            keys[post_id] = (float("inf"), at, post_id)

    def rank(self, known: Known, query: FeedQuery, now: datetime) -> float | None:
        """The rank, or ``None`` for a post that is not in the feed."""
        if query.sort in {Sort.TOP, Sort.CONTROVERSIAL}:
            ends = query.until or datetime.max.replace(tzinfo=now.tzinfo)
            length = query.period.length
            if known.submitted_at > ends or (length and known.submitted_at <= (query.until or now) - length):
                return None
        match query.sort:
            case Sort.HOT:
                return ranking.hot(known.up, known.down, known.submitted_at, now)
            case Sort.NEW:
                return 0.0
            case Sort.TOP:
                return float(ranking.top(known.up, known.down))
            case Sort.RISING:
                return ranking.rising(known.gained, 0, known.submitted_at, now) or None
            case Sort.CONTROVERSIAL:
                return ranking.controversial(known.up, known.down) or None


class Simulation:
    """A site at random: people, communities of all kinds, posts of two weeks, and more whenever asked."""

    def __init__(self, site: Site, seed: int) -> None:
        self.random = Random(seed)
        self.site = site
        random = self.random
        self.people = [site.account(n) for n in range(6)]
        self.places = [
            site.community(n, random.choice(self.people), visibility)
            for n, visibility in enumerate(("public", "restricted", "private", "public"))
        ]
        self.private = {self.places[2]}
        self.posts: list[tuple[Id, Id, Id]] = []
        self._meet()
        for _ in range(70):
            self.submit()
        for _ in range(150):
            self.vote()
        for _ in range(8):
            self.delete()
        for _ in range(4):
            self.stick()
        site.fold()

    def _meet(self) -> None:
        random, site = self.random, self.site
        joined = {(r.event.community_id, r.event.account_id) for r in site.log if isinstance(r.event, MemberJoined)}
        for person in self.people:
            for place in self.places:
                if random.random() < 0.4 and (place, person) not in joined:
                    site.happen(MemberJoined(place, person))
            for other in self.people:
                if other != person and random.random() < 0.3:
                    site.happen(AccountFollowed(person, other))
                if other != person and random.random() < 0.15:
                    site.happen(AccountBlocked(person, other))

    def submit(self) -> None:
        random = self.random
        # Many within one block, some at the very same time, some on either side of seven days.
        age = random.choice(
            [random.randrange(40), random.randrange(600), random.randrange(14 * 24 * 60), 5, 5, 7 * 1440]
        )
        at = NOW - timedelta(minutes=age)
        author, place, number = random.choice(self.people), random.choice(self.places), len(self.posts)
        if random.random() < 0.5:
            up, down = random.choice([(0, 0), (random.randrange(9), random.randrange(9)), (random.randrange(900), 3)])
            post_id = self.site.imported_post(number, place, author, at, up, down)
        else:
            post_id = self.site.post(number, place, author, at, anonymous=random.random() < 0.2)
        self.posts.append((post_id, place, author))

    def vote(self) -> None:
        random = self.random
        post_id, place, author = random.choice(self.posts)
        voter = ident("voter", random.randrange(40))
        at = NOW - timedelta(minutes=random.randrange(120))
        self.site.vote(
            voter, post_id, random.choice([-1, 0, 1, 1]), post_id=post_id, community_id=place, author_id=author, at=at
        )

    def delete(self) -> None:
        post_id, place, author = self.random.choice(self.posts)
        if post_id not in Oracle(self.site).gone():
            self.site.delete_post(post_id, place, author)

    def stick(self) -> None:
        post_id, place, author = self.random.choice(self.posts)
        if post_id not in Oracle(self.site).gone():
            sticky = Oracle(self.site).posts(NOW, self.site.position)[post_id].sticky
            self.site.happen((PostUnstickied if sticky else PostStickied)(post_id, place, author))

    def meanwhile(self) -> None:
        """A little of everything, as between two pages."""
        for _ in range(12):
            self.random.choice([self.submit, self.vote, self.vote, self.vote, self.delete, self.stick])()
        self.site.fold()

    def query(self) -> FeedQuery:
        random = self.random
        where = random.choice(["community", "all", "home"])
        return FeedQuery(
            viewer_id=random.choice([None, *self.people]) if where != "home" else random.choice(self.people),
            sort=random.choice(list(Sort)),
            period=random.choice(list(Period)),
            until=random.choice([None, None, None, NOW - timedelta(days=3)]),
            community_id=random.choice(self.places) if where == "community" else None,
            home=where == "home",
            size=random.choice([2, 5, 12]),
        )


@pytest.fixture
def _walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every community counts as large, so that blocks are walked."""
    monkeypatch.setattr(feed_sql, "SMALL_POSTS_MAX", 2)
    feed_sql.statement.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> object:
    yield
    feed_sql.statement.cache_clear()


def _read(simulation: Simulation, query: FeedQuery, *, disturbed: bool) -> list[FeedItem]:
    """All pages, one after another, with things happening in between."""

    async def read() -> list[FeedItem]:
        found: list[FeedItem] = []
        asked = query
        async with await connect_async(simulation.site.conninfo) as connection:
            while True:
                # Later pages are asked for later; the cursor keeps them at the time of the first.
                now = NOW if asked.cursor is None else NOW + timedelta(hours=1)
                answer = await page(connection, asked, now)
                assert len(answer.items) <= query.size
                assert answer.has_previous == (asked.cursor is not None)
                found += answer.items
                if not answer.has_next:
                    return found
                asked = replace(query, cursor=answer.items[-1].cursor)
                if disturbed:
                    simulation.meanwhile()

    return asyncio.run(read())


def _check(simulation: Simulation, query: FeedQuery) -> None:
    oracle = Oracle(simulation.site)
    position, gone_before = simulation.site.position, oracle.gone()
    found = [item.post.post_id for item in _read(simulation, query, disturbed=True)]
    keys = oracle.keys(query, NOW, position, simulation.private)
    expected = [i for _, i in sorted(((keys[i], i) for i in keys), reverse=True) if i not in gone_before]
    gone_since = oracle.gone() - gone_before
    assert len(set(found)) == len(found), "a post was shown twice"
    missing = [i for i in expected if i not in found]
    assert set(missing) <= gone_since, "a post was passed over"
    assert found == [i for i in expected if i in found], "not in order, or shown what is not in the feed"


@pytest.mark.parametrize("seed", range(6))
def test_pages_are_those_of_the_first_moment(site: Site, seed: int) -> None:
    simulation = Simulation(site, seed)
    for _ in range(7):
        _check(simulation, simulation.query())


@pytest.mark.usefixtures("_walked")
@pytest.mark.parametrize("seed", range(100, 106))
def test_pages_of_large_communities_are_those_of_the_first_moment(site: Site, seed: int) -> None:
    simulation = Simulation(site, seed)
    for _ in range(7):
        query = simulation.query()
        if query.sort in {Sort.NEW, Sort.RISING, Sort.CONTROVERSIAL}:
            query = replace(query, sort=Sort.HOT)
        _check(simulation, query)


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("seed", range(200, 202))
def test_backwards_shows_the_same(site: Site, seed: int, sort: Sort) -> None:
    simulation = Simulation(site, seed)
    for where in ({"community_id": simulation.places[0]}, {"home": True}, {}):
        query = FeedQuery(simulation.people[0], sort=sort, period=Period.WEEK, size=4, **where)
        forwards = _read(simulation, query, disturbed=False)
        assert [i.post.post_id for i in forwards] == [i.post.post_id for i in _read_back(simulation, query, forwards)]


def _read_back(simulation: Simulation, query: FeedQuery, forwards: list[FeedItem]) -> list[FeedItem]:
    """From the last item to the first by ``backward`` alone, while votes arrive, then the last item itself."""

    async def read() -> list[FeedItem]:
        found = forwards[-1:]
        more = bool(found)
        async with await connect_async(simulation.site.conninfo) as connection:
            while more:
                asked = replace(query, backward=True, cursor=found[0].cursor)
                answer = await page(connection, asked, NOW + timedelta(hours=2))
                found = [*answer.items, *found]
                more = answer.has_previous
                simulation.vote()
                simulation.site.fold()
        return found

    return asyncio.run(read())


def _ask(site: Site, query: FeedQuery) -> Page[FeedItem]:
    return asyncio.run(site.ask(lambda connection: page(connection, query, NOW)))


def test_the_end_is_found_without_a_cursor(site: Site) -> None:
    simulation = Simulation(site, 7)
    for sort in Sort:
        query = FeedQuery(None, sort=sort, community_id=simulation.places[0], size=100)
        forwards = _read(simulation, query, disturbed=False)
        last = _ask(simulation.site, replace(query, size=3, backward=True))
        assert [i.post.post_id for i in last.items] == [i.post.post_id for i in forwards[-3:]]
        assert not last.has_next
        assert last.has_previous == (len(forwards) > 3)


def test_an_anonymous_author_does_not_bring_a_post_home(site: Site) -> None:
    reader, writer = site.account("reader"), site.account("writer")
    place = site.community(1, writer)
    site.happen(AccountFollowed(reader, writer))
    shown = site.post("open", place, writer)
    site.post("hidden", place, writer, anonymous=True)
    site.fold()
    for sort in (Sort.HOT, Sort.NEW, Sort.TOP):
        answer = _ask(site, FeedQuery(reader, sort=sort, home=True))
        assert [i.post.post_id for i in answer.items] == [shown]


def test_a_block_does_not_betray_an_anonymous_author(site: Site) -> None:
    reader, writer = site.account("reader"), site.account("writer")
    place = site.community(1, writer)
    site.happen(AccountBlocked(reader, writer))
    site.post("open", place, writer)
    hidden = site.post("hidden", place, writer, anonymous=True)
    site.fold()
    for sort in (Sort.HOT, Sort.NEW, Sort.TOP):
        answer = _ask(site, FeedQuery(reader, sort=sort))
        assert [i.post.post_id for i in answer.items] == [hidden]


def test_what_only_votes_know_of_is_not_shown(site: Site) -> None:
    voter, place = ident("voter", 1), ident("community", 1)
    unknown = ident("post", "unknown")
    site.vote(voter, unknown, 1, post_id=unknown, community_id=place, author_id=None)
    site.fold()
    for sort in Sort:
        assert not _ask(site, FeedQuery(None, sort=sort)).items


def test_ties_are_by_time_then_by_id(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    for n in range(12):
        site.post(n, place, author, NOW - timedelta(minutes=n % 3))
    site.fold()
    for sort in (Sort.HOT, Sort.NEW, Sort.TOP):
        query = FeedQuery(None, sort=sort, community_id=place)
        items = _ask(site, query).items
        keys = [(i.post.submitted_at, i.post.post_id) for i in items]
        assert len(keys) == 12
        assert all(one > other for one, other in pairwise(keys))
        cursor = items[5].cursor
        assert isinstance(cursor, PageCursor)
        rest = _ask(site, replace(query, cursor=cursor)).items
        assert [i.post.post_id for i in rest] == [i.post.post_id for i in items[6:]]
