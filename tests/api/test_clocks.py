"""A clock that is set back and forward: ids stay unique, nothing is refused or lost, and the log keeps its order."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import pytest

from commands.handling import _fresh_id
from infra.composition import utc_now
from infra.embedded import Engines
from projections.catalogue import ALL
from read_api.cursors import Sealer, open_position
from read_api.sign_in import COOKIE
from streams.rebuild import rebuild
from tests.api.stack import Client, Stack
from tests.equivalence.test_equivalence import all_rows, straight
from tests.live.conftest import served
from tests.live.forum import a_community, comment, submit_post

BACK, FORWARD = -5.0, 3600.0
"""Seconds that the clock is wrong by."""
SET_TO = (0.0, BACK, FORWARD, FORWARD + BACK, 0.0, BACK, 0.0)
SORTS = ("HOT", "NEW", "TOP")
COMMENT_SORTS = ("BEST", "NEW", "OLD", "TOP", "CONTROVERSIAL")
PAGE = "edges { node { id } } pageInfo { endCursor hasNextPage }"
FEED = f"query($after: String) {{ page: feed(sort: %s, period: %s, first: 3, after: $after) {{ {PAGE} }} }}"
THREAD = f"""query($id: ID!, $after: String) {{ node(id: $id) {{ ... on Post {{
    page: thread(sort: %s, first: 3, after: $after) {{ {PAGE} }} }} }} }}"""
REPLIES = """query($after: String) { viewer { page: notifications(first: 3, after: $after) {
    edges { node { comment { id } } } pageInfo { endCursor hasNextPage } } } }"""
WHO = "{ viewer { account { id } } }"
REFRESH = "mutation { made: refreshSession(input: {}) { accessToken errors { code } } }"


class Clock:
    """This machine's clock, but for what it is wrong by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return utc_now() + timedelta(seconds=self.seconds)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def stack(engines: Engines, clock: Clock) -> Iterator[Stack]:
    """A site by that clock, of its own for these tests."""
    with served(engines, clock=clock) as running:
        yield running


class Person:
    """Somebody who goes on as a client does: with the cookie, where the access token is wanted no more."""

    def __init__(self, stack: Stack, client: Client) -> None:
        self.client = client.sign_up()
        self.refreshed = 0
        self._keep(client.http.cookies.jar)

    def _keep(self, jar: Any) -> None:
        (self._cookie,) = (one.value for one in jar if one.name == COOKIE)

    def goes_on(self) -> Client:
        """Signed in, whatever the clock says."""
        answer = self.client.post(WHO)
        if "errors" in answer:
            assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            del self.client.http.headers["Authorization"]
            reply = self.client.http.post(
                "/graphql", json={"query": REFRESH}, headers={"Cookie": f"{COOKIE}={self._cookie}"}
            )
            made = reply.json()["data"]["made"]
            assert made["errors"] == []
            self.client.http.headers["Authorization"] = f"Bearer {made['accessToken']}"
            self._cookie = SimpleCookie(reply.headers["set-cookie"])[COOKIE].value
            self.refreshed += 1
            answer = self.client.post(WHO)
        assert answer["data"]["viewer"]["account"]["id"] == self.client.id
        return self.client


def pages(who: Client, query: str, **given: Any) -> Iterator[list[str]]:
    """The ids, page by page."""
    after = None
    while True:
        data = who.ask(query, after=after, **given)
        page = (data.get("node") or data.get("viewer") or data)["page"]
        yield [edge["node"].get("comment", edge["node"])["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return


def listed(who: Client, query: str, **given: Any) -> list[str]:
    """All ids, which come once each."""
    found = [one for page in pages(who, query, **given) for one in page]
    assert len(found) == len(set(found)), query
    return found


def test_a_site_whose_clock_is_set_again_and_again(stack: Stack, clock: Clock) -> None:
    sealer = Sealer(stack.moot.secrets.cursor_key)
    positions: list[int] = []
    posts: list[str] = []
    comments: list[str] = []
    clients = [Client(stack) for _ in range(1 + len(SET_TO))]
    owner = Person(stack, clients[0])
    community = a_community(owner.client)
    first = submit_post(owner.client, community)
    root = comment(owner.client, first)
    people = [owner]

    def noted(who: Client) -> None:
        assert who.position is not None
        positions.append(open_position(sealer, who.position))

    for number, seconds in enumerate(SET_TO):
        clock.seconds = seconds
        people.append(Person(stack, clients[1 + number]))
        for person in (owner, *people[-2:]):
            clock.seconds = seconds
            who = person.goes_on()
            posts.append(submit_post(who, community, title=f"by a clock {seconds} s wrong"))
            noted(who)
            comments.append(comment(who, first, parentId=root))
            noted(who)
            key = str(uuid4())
            for value in ("UP", "DOWN"):
                made = who.do("castVote", targetId=first, value=value, idempotencyKey=f"{key} {value}")
                assert made["errors"] == []
                noted(who)
            # A retry by another clock, after another vote, is still the same command.
            clock.seconds = -seconds
            again = person.goes_on().do("castVote", targetId=first, value="UP", idempotencyKey=f"{key} UP")
            assert (again["errors"], open_position(sealer, again["position"])) == ([], positions[-2])
        clock.seconds = seconds
        if seconds == FORWARD:
            owner.goes_on()
            known, reading = {first, *posts}, pages(owner.client, FEED % ("NEW", "ALL"))
            begun = next(reading)
    assert positions == sorted(set(positions)), "what came later is in the log before"
    assert any(person.refreshed for person in people)

    who = owner.goes_on()
    who.position = clients[-1].position
    all_posts = [first, *posts]
    assert len(set(all_posts)) == len(all_posts)
    assert len(set(comments)) == len(comments)
    assert len({person.client.id for person in people}) == len(people)
    for sort in SORTS:
        for period in ("ALL", "DAY"):
            assert sorted(listed(who, FEED % (sort, period))) == sorted(all_posts), (sort, period)
    for sort in COMMENT_SORTS:
        assert sorted(listed(who, THREAD % sort, id=first)) == sorted([root, *comments]), sort
    replies = listed(who, REPLIES)
    assert replies[::-1] == [one for one in comments if one in set(replies)], "not in the order of the log"
    read = begun + [one for page in reading for one in page]
    assert (len(read), set(read)) == (len(known), known), "pages of a reading that began by another clock"
    for client in clients:
        client.http.close()
    views_are_right(stack)


def views_are_right(stack: Stack) -> None:
    """The live rows are those of a straight fold, and those of a rebuild."""
    store = stack.moot.store
    log = store.read_sync(0, 100_000)
    assert [one.position for one in log] == list(range(1, len(log) + 1))
    expected, rows = straight(log), all_rows(stack.moot.database_url)
    for name in ALL:
        assert rows[name] == expected[name], name
    summary = rebuild(stack.moot.database_url, store, list(ALL.values()), compare=True)
    assert {view.name: view.differences for view in summary.views} == dict.fromkeys(ALL, 0)


def test_ids_are_unique_in_the_same_millisecond_again() -> None:
    now = utc_now()
    times = [now, now - timedelta(seconds=5), now + timedelta(hours=1), now]
    made = [_fresh_id(at) for at in times for _ in range(5_000)]
    assert len(set(made)) == len(made)
