"""Threads against a plain sorting, while votes, replies and deletions arrive between the pages."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from domain.ballot import VoteCast
from domain.block import AccountBlocked
from domain.comment import CommentAttached, CommentDeleted, CommentImported, CommentSubmitted, segment
from domain.event import Id
from infra.queries import comments
from infra.queries.comments import CommentItem
from projections import ranking
from projections.ranking import CommentSort
from tests.queries.site import NOW, Site, ident

Key = tuple[float, datetime, Id]


class Simulation:
    """One post with a thread at random."""

    def __init__(self, site: Site, seed: int) -> None:
        self.random = Random(seed)
        self.site = site
        self.people = [self.site.account(n) for n in range(4)]
        self.place = self.site.community(1, self.people[0])
        self.post = self.site.post(1, self.place, self.people[0])
        self.site.happen(AccountBlocked(self.people[0], self.people[3]))
        self.comments: list[tuple[Id, Id]] = []
        for _ in range(60):
            self.submit()
        for _ in range(120):
            self.vote()
        for _ in range(6):
            self.delete()
        self.site.fold()

    def submit(self) -> None:
        random = self.random
        parent = random.choice(self.comments)[0] if self.comments and random.random() < 0.6 else None
        author = random.choice(self.people)
        at = NOW - timedelta(minutes=random.randrange(20))
        number = len(self.comments)
        self.comments.append((self.site.comment(number, self.post, self.place, author, parent, at), author))

    def vote(self) -> None:
        comment_id, author = self.random.choice(self.comments)
        self.site.vote(
            ident("voter", self.random.randrange(25)), comment_id, self.random.choice([-1, 0, 1, 1]),
            post_id=self.post, community_id=self.place, author_id=author, target="comment",
        )  # fmt: skip

    def deleted(self) -> set[Id]:
        return {r.event.comment_id for r in self.site.log if isinstance(r.event, CommentDeleted)}

    def delete(self) -> None:
        comment_id, author = self.random.choice(self.comments)
        if comment_id not in self.deleted():
            self.site.delete_comment(comment_id, self.post, self.place, author)

    def meanwhile(self) -> None:
        for _ in range(10):
            self.random.choice([self.submit, self.vote, self.vote, self.vote, self.delete])()
        self.site.fold()

    def ranked(self, sort: CommentSort, position: int, viewer_id: Id | None) -> dict[Id | None, list[Id]]:
        """The replies to each comment, and to the post, as of the position, whoever is deleted."""
        votes: dict[Id, list[int]] = {}
        found: dict[Id | None, list[tuple[Key, Id]]] = {}
        submitted: list[tuple[CommentSubmitted, datetime]] = []
        for recorded in self.site.log[:position]:
            match recorded.event:
                case CommentSubmitted() as e:
                    submitted.append((e, recorded.occurred_at))
                case VoteCast(target="comment") as e:
                    up_down = votes.setdefault(e.target_id, [0, 0])
                    up_down[0] += (e.value > 0) - (e.previous > 0)
                    up_down[1] += (e.value < 0) - (e.previous < 0)
                case _:
                    pass
        for e, at in submitted:
            if viewer_id == self.people[0] and e.author_id == self.people[3]:
                continue
            up, down = votes.get(e.comment_id, (0, 0))
            rank = {
                CommentSort.BEST: ranking.best(up, down),
                CommentSort.TOP: float(ranking.top(up, down)),
                CommentSort.CONTROVERSIAL: ranking.controversial(up, down),
            }.get(sort, 0.0)
            found.setdefault(e.parent_id, []).append(((rank, at, e.comment_id), e.comment_id))
        reverse = sort is not CommentSort.OLD
        return {parent: [i for _, i in sorted(keyed, reverse=reverse)] for parent, keyed in found.items()}

    def hidden(self) -> set[Id]:
        """Deleted comments that nobody ever replied to."""
        answered = {r.event.parent_id for r in self.site.log if isinstance(r.event, CommentSubmitted)}
        return self.deleted() - answered


@pytest.mark.parametrize("sort", list(CommentSort))
@pytest.mark.parametrize("viewer", [None, 0])
def test_pages_of_siblings_are_those_of_the_first_moment(site: Site, sort: CommentSort, viewer: int | None) -> None:
    simulation = Simulation(site, list(CommentSort).index(sort))
    viewer_id = None if viewer is None else simulation.people[viewer]
    for below in (None, max((i for i, _ in simulation.comments), key=lambda i: _replies(simulation, i))):
        position = simulation.site.position
        hidden_before = simulation.hidden()
        found = [item.comment.comment_id for item in _siblings(simulation, viewer_id, below, sort)]
        every = simulation.ranked(sort, position, viewer_id).get(below, [])
        expected = [i for i in every if i not in hidden_before]
        missing = [i for i in expected if i not in found]
        assert len(set(found)) == len(found)
        assert set(missing) <= simulation.deleted()
        assert found == [i for i in every if i in found]


def _replies(simulation: Simulation, comment_id: Id) -> int:
    return sum(
        1 for r in simulation.site.log if isinstance(r.event, CommentSubmitted) and r.event.parent_id == comment_id
    )


def _siblings(simulation: Simulation, viewer_id: Id | None, below: Id | None, sort: CommentSort) -> list[CommentItem]:
    ask = comments.top_level if below is None else comments.replies
    parent = simulation.post if below is None else below

    async def read() -> list[CommentItem]:
        found: list[CommentItem] = []
        cursor = None
        while True:
            answer = await simulation.site.ask(
                lambda c, at=cursor: ask(c, viewer_id, [parent], sort=sort, size=4, cursor=at)
            )
            found += answer[parent].items
            if not answer[parent].has_next:
                break
            cursor = found[-1].cursor
            simulation.meanwhile()
        back: list[CommentItem] = found[-1:]
        more = bool(found)
        while more:
            answer = await simulation.site.ask(
                lambda c, at=back[0].cursor: ask(c, viewer_id, [parent], sort=sort, size=3, cursor=at, backward=True)
            )
            back = [*answer[parent].items, *back]
            more = answer[parent].has_previous
        shown = {i.comment.comment_id for i in back}
        assert [i.comment.comment_id for i in back] == [
            i.comment.comment_id for i in found if i.comment.comment_id in shown
        ]
        return found

    return asyncio.run(read())


@pytest.mark.parametrize("sort", list(CommentSort))
def test_a_thread_is_depth_first_and_stable(site: Site, sort: CommentSort) -> None:
    simulation = Simulation(site, 50 + list(CommentSort).index(sort))
    viewer_id = simulation.people[0]
    position = simulation.site.position
    hidden = simulation.hidden()

    async def read() -> list[Id]:
        found: list[Id] = []
        cursor = None
        while True:
            answer = await simulation.site.ask(
                lambda c, at=cursor: comments.thread(c, viewer_id, simulation.post, sort=sort, size=9, cursor=at)
            )
            found += [item.comment.comment_id for item in answer.items]
            if not answer.has_next:
                return found
            cursor = answer.items[-1].cursor
            for _ in range(10):
                simulation.random.choice([simulation.submit, simulation.vote])()
            simulation.site.fold()

    below = simulation.ranked(sort, position, viewer_id)

    def walk(parent: Id | None) -> list[Id]:
        return [x for i in below.get(parent, []) if i not in hidden for x in (i, *walk(i))]

    found = asyncio.run(read())
    # A tombstone that gets its first reply between the pages appears; everything else is as it was.
    assert [i for i in found if i not in hidden] == walk(None)


@pytest.mark.parametrize("sort", list(CommentSort))
def test_a_thread_goes_on_when_the_comment_of_its_cursor_disappears(site: Site, sort: CommentSort) -> None:
    """The last comment of each page is deleted, or its author blocked, before the next one is read."""
    simulation = Simulation(site, 70 + list(CommentSort).index(sort))
    viewer_id, blocked_id = simulation.people[0], simulation.people[2]
    position = simulation.site.position
    hidden = simulation.hidden()
    authors = dict(simulation.comments)
    below = simulation.ranked(sort, position, viewer_id)
    seen_before: dict[bool, list[Id]] = {False: [], True: []}

    async def read() -> list[Id]:
        found: list[Id] = []
        cursor, blocks = None, False
        while True:
            answer = await simulation.site.ask(
                lambda c, at=cursor: comments.thread(c, viewer_id, simulation.post, sort=sort, size=4, cursor=at)
            )
            found += [item.comment.comment_id for item in answer.items]
            seen_before[blocks] += [item.comment.comment_id for item in answer.items]
            if not answer.has_next:
                return found
            cursor, last = answer.items[-1].cursor, answer.items[-1].comment
            if last.author_id == blocked_id:
                blocks = True
                simulation.site.happen(AccountBlocked(viewer_id, blocked_id))
            elif not last.deleted:
                assert last.author_id is not None
                simulation.site.delete_comment(last.comment_id, simulation.post, simulation.place, last.author_id)
            simulation.site.fold()

    found = asyncio.run(read())
    assert seen_before[True], "nothing was read after the block"

    def walk(parent: Id | None, under_blocked: bool = False) -> list[tuple[Id, bool]]:
        return [
            x
            for i in below.get(parent, [])
            if i not in hidden
            for unseen in [under_blocked or authors[i] == blocked_id]
            for x in ((i, unseen), *walk(i, unseen))
        ]

    every = walk(None)
    first = every.index((seen_before[True][0], False))
    assert found == [i for i, _ in every[: len(seen_before[False])]] + [i for i, unseen in every[first:] if not unseen]
    assert all(unseen for _, unseen in every[len(seen_before[False]) : first])


def test_a_thread_goes_on_when_the_parent_of_its_cursor_arrives(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    parent = ident("comment", "parent")

    def imported(number: int | str, parent_id: Id | None, orphan: bool) -> Id:
        made = ident("comment", number)
        path = segment(made, NOW)
        site.happen(
            CommentImported(made, post, place, author, parent_id, orphan, path, 1, "text", None, 3, 1, False, "t1_x")
        )
        return made

    made = {imported(number, parent, True) for number in range(4)}
    site.fold()

    async def read() -> list[Id]:
        first = await site.ask(lambda c: comments.thread(c, None, post, sort=CommentSort.NEW, size=2))
        imported("parent", None, False)
        cursor = first.items[-1].cursor
        path = segment(parent, NOW) + segment(cursor.comment_id, NOW)
        site.happen(CommentAttached(cursor.comment_id, post, path, 2))
        site.fold()
        rest = await site.ask(lambda c: comments.thread(c, None, post, sort=CommentSort.NEW, size=9, cursor=cursor))
        return [i.comment.comment_id for i in (*first.items, *rest.items)]

    found = asyncio.run(read())
    assert len(found) == 4
    assert set(found) == made


def test_a_thread_is_whole_however_deep(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    made: list[Id] = []
    for number in range(120):
        made.append(site.comment(number, post, place, author, made[-1] if made else None))
    site.fold()
    answer = asyncio.run(site.ask(lambda c: comments.thread(c, None, post, sort=CommentSort.BEST, size=200)))
    assert [i.comment.comment_id for i in answer.items] == made


def test_more_than_999_siblings_in_order_of_time(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    made = [site.comment(n, post, place, author, None, NOW + timedelta(seconds=n)) for n in range(1100)]
    site.fold()
    answer = asyncio.run(site.ask(lambda c: comments.top_level(c, None, [post], sort=CommentSort.OLD, size=1100)))
    assert [i.comment.comment_id for i in answer[post].items] == made
    paths = [i.comment.path for i in answer[post].items]
    assert all(one < other for one, other in pairwise(paths))


def test_several_parents_in_one_question(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    tops = [site.comment(f"top{n}", post, place, author) for n in range(3)]
    below = {
        top: {site.comment(f"{top}{n}", post, place, author, top) for n in range(number)}
        for number, top in enumerate(tops)
    }
    site.fold()
    answer = asyncio.run(site.ask(lambda c: comments.replies(c, None, tops, sort=CommentSort.BEST, size=1)))
    for number, top in enumerate(tops):
        assert {i.comment.comment_id for i in answer[top].items} <= below[top]
        assert len(answer[top].items) == min(1, number)
        assert answer[top].has_next == (number > 1)


def test_a_tombstone_has_no_text_and_stays_for_its_replies(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    answered, alone = site.comment("answered", post, place, author), site.comment("alone", post, place, author)
    reply = site.comment("reply", post, place, author, answered)
    for comment_id in (answered, alone):
        site.delete_comment(comment_id, post, place, author)
    site.fold()
    answer = asyncio.run(site.ask(lambda c: comments.thread(c, None, post, sort=CommentSort.BEST, size=10)))
    assert [(i.comment.comment_id, i.comment.body) for i in answer.items] == [(answered, ""), (reply, "Comment reply")]


def test_an_orphan_stands_below_the_post_until_its_parent_arrives(site: Site) -> None:
    author = site.account(1)
    place = site.community(1, author)
    post = site.post(1, place, author)
    parent, orphan = ident("comment", "parent"), ident("comment", "orphan")

    def imported(comment_id: Id, parent_id: Id | None, is_orphan: bool) -> None:
        path = segment(comment_id, NOW)
        site.happen(
            CommentImported(
                comment_id, post, place, author, parent_id, is_orphan, path, 1, "text", None, 3, 1, False, "t1_x"
            )
        )

    def shape() -> tuple[set[Id], set[Id]]:
        below = asyncio.run(site.ask(lambda c: comments.top_level(c, None, [post], sort=CommentSort.BEST, size=9)))
        under = asyncio.run(site.ask(lambda c: comments.replies(c, None, [parent], sort=CommentSort.BEST, size=9)))
        whole = asyncio.run(site.ask(lambda c: comments.thread(c, None, post, sort=CommentSort.BEST, size=9)))
        tops = {i.comment.comment_id for i in below[post].items}
        replies = {i.comment.comment_id for i in under[parent].items}
        assert {i.comment.comment_id for i in whole.items} == tops | replies
        return tops, replies

    imported(orphan, parent, True)
    site.fold()
    assert shape() == ({orphan}, set())
    imported(parent, None, False)
    site.happen(CommentAttached(orphan, post, segment(parent, NOW) + segment(orphan, NOW), 2))
    site.fold()
    assert shape() == ({parent}, {orphan})
