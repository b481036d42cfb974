"""Pages while a fleet's workers are each somewhere else: exact as of the position that all have reached."""

import asyncio
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.event import Id
from infra.partitions import enter_fleet
from infra.postgres import connect
from infra.queries import accounts, comments, items, live, log
from infra.queries.comments import CommentItem
from infra.queries.rows import Connection, Slice
from infra.rows import prepare_for_folding, read_checkpoints
from projections.catalogue import ALL, GROUPS
from projections.ranking import CommentSort, Sort
from streams.partitions import Delivery, PartitionFolder
from tests.partitions.delivering import by_place
from tests.partitions.reading import relay
from tests.queries import test_comments, test_feeds, test_lookups
from tests.queries.site import Site, ident
from tests.queries.test_feeds import Oracle, _read

LISTED = "feed", "posts", "score_changes"


class FleetSite(Site):
    """A site whose views are folded by a worker of each group; ``fold`` brings each of them somewhere."""

    def __init__(self, conninfo: str, seed: int) -> None:
        super().__init__(conninfo)
        self.random = Random(seed)
        self._worker = connect(conninfo)
        prepare_for_folding(self._worker, "moot worker")
        enter_fleet(self._worker, list(ALL.values()))
        self._folders = [PartitionFolder(GROUPS[group]) for group in GROUPS]
        for folder in self._folders:
            folder.look(self._worker, folder.partitions)
        self.sent = self.said = 0
        self.settled = True

    def close(self) -> None:
        self._worker.close()
        super().close()

    def fold(self) -> None:
        """Send some of what happened and fold some of that, each partition on its own; or all of it, while settled."""
        self.sent = len(self.log) if self.settled else self.random.randint(self.sent, len(self.log))
        partitions = by_place(self.log[: self.sent])
        for folder in self._folders:
            for number in folder.partitions:
                stands = min(folder.stands(number).values())
                events = [event for event in partitions.get(number, ()) if event.position > stands]
                taken = len(events) if self.settled else self.random.choice([0, len(events), len(events) // 2])
                if taken:
                    for _ in folder.take(self._worker, [Delivery(number, events[:taken])]):
                        pass
        # What was sent is sometimes folded before the relay comes to say so.
        self.said = self.sent if self.settled else self.random.randint(self.said, self.sent)
        relay(self._worker, partitions, self.said)

    def reached(self, *names: str) -> int:
        return asyncio.run(self.ask(lambda connection: log.checkpoint(connection, names)))

    def truly_reached(self, *names: str) -> int:
        """The position up to which every event is folded, from the events and the checkpoints alone."""
        numbers = {number for folder in self._folders for number in folder.partitions}
        stands = {number: read_checkpoints(self._worker, number) for number in numbers}
        missing = [
            event.position
            for number, events in by_place(self.log).items()
            for event in events
            for name in names
            if name in stands[number] and event.position > stands[number][name].position
        ]
        return min(missing, default=len(self.log) + 1) - 1


@pytest.fixture
def fleet(request: pytest.FixtureRequest, database: str) -> Any:
    made = FleetSite(database, getattr(request, "param", 0))
    yield made
    made.close()


class Unstuck(test_feeds.Simulation):
    """Nothing is stuck to the top: that is as of now, and with partitions now is not one moment."""

    def stick(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(300, 308))
def test_pages_are_those_of_what_all_had_reached(database: str, seed: int) -> None:
    fleet = FleetSite(database, seed)
    try:
        simulation = Unstuck(fleet, seed)
        fleet.settled = False
        for _ in range(10):
            simulation.meanwhile()
            check(simulation, fleet, simulation.query())
    finally:
        fleet.close()


def check(simulation: test_feeds.Simulation, fleet: FleetSite, query: test_feeds.FeedQuery) -> None:
    oracle = Oracle(fleet)
    names = ("feed", "posts") if query.sort is Sort.NEW else LISTED
    position = fleet.reached(*names)
    assert position <= fleet.truly_reached(*names)
    found = _read(simulation, query, disturbed=True)
    assert {item.cursor.position for item in found} <= {position}
    keys = oracle.keys(query, test_feeds.NOW, position, simulation.private)
    expected = [post_id for _, post_id in sorted(((key, post_id) for post_id, key in keys.items()), reverse=True)]
    shown = [item.post.post_id for item in found]
    assert len(set(shown)) == len(shown), "a post was shown twice"
    assert set(expected) - set(shown) <= oracle.gone(), "a post was passed over"
    assert shown == [post_id for post_id in expected if post_id in set(shown)], "not in order, or not in the feed"


@pytest.mark.parametrize("seed", range(400, 406))
def test_communities_are_in_the_order_of_what_all_had_reached(database: str, seed: int) -> None:
    fleet = FleetSite(database, seed)
    try:
        towns = test_lookups.Towns(fleet, seed)
        fleet.settled = False
        for number in range(8):
            towns.meanwhile()
            fleet.post(number, towns.random.choice(list(towns.members)), towns.people[0])
            position = fleet.reached("communities", "member_changes")
            page = test_lookups.by_size(fleet, 4)
            found = list(page.items)
            while page.has_next:
                towns.meanwhile()
                page = test_lookups.by_size(fleet, 4, found[-1].cursor)
                found += page.items
            assert {item.cursor.position for item in found} == {position}
            expected = towns.by_size(position)
            known = {place for _, place in expected}
            shown = [(item.cursor.members, item.cursor.community_id) for item in found]
            assert [one for one in shown if one[1] in known] == expected
            assert all(item.community.imported for item in found if item.cursor.community_id not in known)
    finally:
        fleet.close()


@pytest.mark.parametrize("sort", list(CommentSort))
def test_comments_are_those_of_what_all_had_reached(database: str, sort: CommentSort) -> None:
    fleet = FleetSite(database, list(CommentSort).index(sort))
    try:
        simulation = test_comments.Simulation(fleet, 70 + list(CommentSort).index(sort))
        fleet.settled = False
        for _ in range(6):
            simulation.meanwhile()
            position = fleet.reached("comments", "scores", "score_changes")
            shown = siblings(simulation, sort)
            expected = simulation.ranked(sort, position, None).get(None, [])
            assert len(set(shown)) == len(shown)
            assert set(expected) - set(shown) <= simulation.deleted()
            assert shown == [comment_id for comment_id in expected if comment_id in set(shown)]
    finally:
        fleet.close()


def siblings(simulation: test_comments.Simulation, sort: CommentSort) -> list[Id]:
    """All pages of what is directly below the post, with things happening in between."""
    found: list[CommentItem] = []
    while True:
        at = found[-1].cursor if found else None
        answer = ask(
            simulation.site,
            lambda c, at=at: comments.top_level(c, None, [simulation.post], sort=sort, size=4, cursor=at),
        )[simulation.post]
        found += answer.items
        if not answer.has_next:
            return [item.comment.comment_id for item in found]
        simulation.meanwhile()


def forget(fleet: FleetSite, oldest: int) -> None:
    fleet._worker.execute("SELECT log.forget_relayed_ranges(%s)", (oldest,))


def test_all_is_reached_when_all_is_folded_and_never_less_than_before(fleet: FleetSite) -> None:
    simulation = Unstuck(fleet, 1)
    assert fleet.reached(*ALL) == len(fleet.log) == fleet.truly_reached(*ALL)
    before = fleet.reached(*ALL)
    fleet.settled = False
    for round_ in range(40):
        simulation.meanwhile()
        for names in (["feed"], ["karma"], ["subjects"], list(ALL)):
            assert fleet.reached(*names) <= fleet.truly_reached(*names)
        assert fleet.reached(*ALL) >= before
        before = fleet.reached(*ALL)
        if round_ % 10 == 9:
            forget(fleet, 0)
            assert fleet.reached(*ALL) == before, "something that a view still lacks was forgotten"
    fleet.settled = True
    fleet.fold()
    assert fleet.reached(*ALL) == len(fleet.log)


def test_a_quiet_partition_holds_nobody_back_when_something_is_sent_to_it_again(fleet: FleetSite) -> None:
    fleet.account("once")
    fleet.fold()
    place = fleet.community(1, ident("account", "once"))
    for number in range(300):
        fleet.post(number, place, ident("account", "once"))
    fleet.fold()
    fleet.happen(fleet.log[0].event)  # to the partition that has had nothing since
    relay(fleet._worker, by_place(fleet.log), len(fleet.log))
    assert fleet.reached("profiles") == len(fleet.log) - 1


def test_a_view_that_was_put_back_is_not_taken_for_further_than_it_is(fleet: FleetSite) -> None:
    simulation = Unstuck(fleet, 2)
    fleet.settled = False
    for oldest in (0, 0, 150, 10**9):
        for _ in range(5):
            simulation.meanwhile()
        forget(fleet, oldest)
        partitions = by_place(fleet.log)
        for _ in range(20):
            number = fleet.random.choice(sorted(partitions))
            position = fleet.random.choice([0, fleet.random.choice(partitions[number]).position])
            with fleet._worker.transaction(force_rollback=True):
                fleet._worker.execute(
                    "UPDATE views.checkpoints SET position = least(position, %s) WHERE partition = %s",
                    (position, number),
                )
                (reached,) = fleet._worker.execute("SELECT views.reached(%s)", (["subjects", "feed"],)).fetchone() or ()
                assert reached <= fleet.truly_reached("subjects", "feed")


def ask(fleet: Site, question: Any) -> Any:
    return asyncio.run(fleet.ask(question))


def test_new_posts_and_replies_are_told_when_all_before_them_are_there(fleet: FleetSite) -> None:
    ann, ben = fleet.account("ann"), fleet.account("ben")
    place = fleet.community(1, ann)
    fleet.fold()
    fleet.settled = False
    told: list[Id] = []
    replied: list[Id | None] = []
    at = notified = fleet.position
    posts: list[Id] = []
    held = 0
    for number in range(40):
        posts.append(fleet.post(number, place, ann))
        fleet.comment(number, fleet.random.choice(posts), place, ben, replied_to_id=ann)
        fleet.settled = number == 39
        fleet.fold()

        async def read(connection: Connection, after: int = at, since: int = notified) -> tuple[Any, Any]:
            return (
                await live.posts_after(connection, place, after, 100),
                await live.notifications_after(connection, ann, since, 100),
            )

        new, replies = ask(fleet, read)
        held += new.held + replies.held
        told += [row.post_id for row in new.rows]
        replied += [row.comment_id for row in replies.rows]
        at = new.rows[-1].position if new.rows else at
        notified = replies.rows[-1].position if replies.rows else notified
    assert told == posts, "one that appeared late was missed"
    assert replied == [ident("comment", number) for number in range(40)]
    assert held, "nothing ever was there too early: this tests nothing"
    assert not new.held


def test_what_is_in_a_community_that_is_not_known_yet_is_not_shown(fleet: FleetSite) -> None:
    ann, ben = fleet.account("ann"), fleet.account("ben")
    fleet.fold()
    place = fleet.community("secret", ann, "private")
    post = fleet.post(1, place, ann)
    comment = fleet.comment(1, post, place, ann, replied_to_id=ben)
    partitions = by_place(fleet.log)
    folder = PartitionFolder(view for view in ALL.values() if view.name != "communities")  # its workers are away
    folder.look(fleet._worker, folder.partitions)
    for number, events in partitions.items():
        list(folder.take(fleet._worker, [Delivery(number, events)]))
    relay(fleet._worker, partitions, len(fleet.log))
    for viewer in (None, ben):
        assert ask(fleet, lambda c, v=viewer: items.posts(c, v, [post])) == []
        assert ask(fleet, lambda c, v=viewer: items.comments(c, v, [comment])) == []
        assert ask(fleet, lambda c, v=viewer: items.posts_of(c, v, ann, size=9)).items == []
        assert ask(fleet, lambda c, v=viewer: items.comments_of(c, v, ann, size=9)).items == []
        for sort in Sort:
            query = test_feeds.FeedQuery(viewer, sort=sort)
            for asked in (query, replace(query, community_id=place), replace(query, home=viewer is not None)):
                assert test_feeds._ask(fleet, asked).items == [], sort
        for below in CommentSort:
            found = ask(fleet, lambda c, v=viewer, s=below: comments.top_level(c, v, [post], sort=s, size=9))
            assert found[post].items == []
            assert ask(fleet, lambda c, v=viewer, s=below: comments.thread(c, v, post, sort=s, size=9)).items == []
    assert ask(fleet, lambda c: accounts.notifications(c, ben, Slice(9))).items == []
    assert ask(fleet, lambda c: live.notifications_after(c, ben, 0, 9)).rows == []


def test_comments_of_a_post_are_followed_from_what_is_there_of_it(fleet: FleetSite) -> None:
    # All of a post comes in order, so what is there of it is told, however far other partitions are.
    ann = fleet.account("ann")
    place = fleet.community(1, ann)
    post = fleet.post(1, place, ann)
    fleet.fold()
    fleet.account("late")
    fleet.comment(1, post, place, ann)
    number = next(iter(by_place(fleet.log[-1:])))
    for folder in fleet._folders:
        if number in folder.partitions:
            list(folder.take(fleet._worker, [Delivery(number, fleet.log[-1:])]))
    relay(fleet._worker, by_place(fleet.log), len(fleet.log))
    assert fleet.reached("comments") >= fleet.position - 1
    fleet._worker.execute("UPDATE log.relayed SET position = 1 WHERE partition = -1")
    assert fleet.reached("comments") < fleet.position - 1
    assert ask(fleet, lambda c: live.comments_start(c, post)) == fleet.position
    assert ask(fleet, lambda c: live.comments_start(c, ident("post", "other"))) == fleet.reached("comments")
    assert [row.position for row in ask(fleet, lambda c: live.comments_after(c, post, 0, 9))] == [fleet.position]
