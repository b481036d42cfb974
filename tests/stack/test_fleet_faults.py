"""A whole fleet under load while its servers die: what clients were told, the log, the topics and the views agree."""

import asyncio
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from commands.handling import Caller, Commands
from domain.account import AccountRegistered
from domain.ballot import VoteCast
from domain.comment import CommentSubmitted
from domain.event import Id
from domain.ids import derived
from domain.post import PostSubmitted, SubmitPost
from infra.event_store import postgres_store
from infra.stack import Stack
from read_api.cursors import open_position
from read_api.ids import Kind, global_id, parse_id
from tests.api.stack import Client
from tests.domain.world import messaging
from tests.live.forum import a_community, comment, submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import COMMENTS, POSTS, REPLIES, SCORE, told
from tests.stack.followers import Audience, Follower
from tests.stack.roles import until
from tests.stack.whole import Whole, at

BUSY = 60
"""Commands acknowledged before a fault, during it where it does not keep them from it, and after it."""
FROZEN_SECONDS = 20.0
SAID_TO_THREE = 3
"""Wrong passwords that the fleet takes for one name before it wants none for a while."""
HAPPENINGS = 24
"""Comments, and as many votes and posts, by each of two writers while others reconnect."""
HOURS_2 = 7200.0
"""Seconds. A broker refuses records of an hour ahead unless it is told not to, and with them all that come after."""
FOLLOWING_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
SUBMIT = """mutation($input: SubmitPostInput!) {
    made: submitPost(input: $input) { post { id title } position errors { code } } }"""
VOTE = "mutation($input: CastVoteInput!) { made: castVote(input: $input) { position errors { code } } }"
FOUND = """mutation($input: CreateCommunityInput!) {
    made: createCommunity(input: $input) { community { id name } position errors { code } } }"""
SIGN_UP = """mutation($input: SignUpInput!) {
    made: signUp(input: $input) { account { id } position errors { code } } }"""
SIGN_OUT = "mutation { made: signOut(input: {}) { sessionsEnded } }"
WHO = "{ viewer { account { name } } }"
SIGN_IN = "mutation($input: SignInInput!) { made: signIn(input: $input) { accessToken errors { code } } }"
TOTAL = "query($id: ID!) { node(id: $id) { ... on Post { score { total } } } }"


@pytest.mark.parametrize("how", ["killed", "frozen", "restarted"])
def test_the_broker_fails_under_load(whole: Whole, stack: Stack, how: str) -> None:
    kafka, crowd = stack.kafka, whole.crowd()
    before = whole.head()
    with crowd:
        crowd.gets_on(BUSY)
        match how:
            case "killed":
                kafka.kill()
                crowd.gets_on(BUSY)
                kafka.start()
            case "frozen":
                kafka.pause()
                thawing = time.monotonic() + FROZEN_SECONDS
                crowd.gets_on(BUSY)
                time.sleep(max(0.0, thawing - time.monotonic()))
                kafka.resume()
            case _:
                kafka.restart()
        crowd.gets_on(BUSY)
        whole.caught_up()
    assert crowd.unanswered == 0, "commands need no broker"
    whole.assert_right(crowd, before)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_postgresql_fails_under_load(whole: Whole, stack: Stack, how: str) -> None:
    crowd = whole.crowd()
    before = whole.head()
    with crowd:
        crowd.gets_on(BUSY)
        getattr(stack.postgres, how)()
        crowd.suffers()
        stack.postgres.start()
        crowd.gets_on(BUSY)
        whole.caught_up()
    whole.assert_right(crowd, before)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_redis_fails_under_load(whole: Whole, stack: Stack, how: str) -> None:
    crowd = whole.crowd()
    before = whole.head()
    with crowd:
        crowd.gets_on(BUSY)
        getattr(stack.redis, how)()
        crowd.gets_on(BUSY)
        stack.redis.start()
        crowd.gets_on(BUSY)
        whole.caught_up()
    assert crowd.unanswered == 0, "commands need no Redis"
    whole.assert_right(crowd, before)


def test_an_api_process_is_killed_under_load(whole: Whole) -> None:
    crowd = whole.crowd(asks_again=True)
    before, audience = whole.head(), Audience(whole, crowd)
    gone, other = whole.apis[1], whole.apis[0]
    with audience.following:
        with crowd:
            crowd.gets_on(BUSY)
            with whole.appending_waits() as waiting:
                # In the middle of an append: whether it is recorded, nobody is told.
                waiting(len(whole.apis))
                gone.stop(signal.SIGKILL)
                crowd.suffers()
            crowd.gets_on(BUSY)
            assert httpx.get(f"{other.url}/readyz", timeout=10).status_code == 200
            whole.again(gone)
            crowd.gets_on(BUSY)
            until(whole.all_alive)
            whole.caught_up()
        whole.assert_right(crowd, before)
        audience.assert_told()


def test_views_rebuilt_from_the_topics_afterwards_are_the_live_ones(whole: Whole) -> None:
    head = whole.caught_up()
    done = whole.fleet.run("projections", "rebuild", "--all", "--compare", "--output", "json")
    assert done.returncode == 0, done.stderr
    views = json.loads(done.stdout)["views"]
    assert {view["differences"] for view in views} == {0}
    assert {view["position"] for view in views} == {head}
    whole.assert_views(whole.log())


def ask(url: str, who: Client | None, query: str, given: dict[str, Any], seconds: float = 30.0) -> dict[str, Any]:
    """One mutation over a connection of its own: its payload, or the code of the error in place of one."""
    headers = {} if who is None else {"Authorization": who.http.headers["Authorization"]}
    body = {"query": query, "variables": {"input": given}}
    with httpx.Client(timeout=seconds, trust_env=False, headers=headers) as client:
        answer = client.post(f"{url}/graphql", json=body).json()
    made = (answer.get("data") or {}).get("made")
    return made or {"code": answer["errors"][0]["extensions"]["code"]}


@pytest.mark.parametrize("back", ["at once", "later", "before it is recorded"])
def test_the_reply_of_postgresql_is_lost(whole: Whole, stack: Stack, back: str) -> None:
    ada, (here, there), proxy = whole.people[0], whole.apis, stack.proxy("postgres")
    until(lambda: submit_post(whole.same(ada, 0), whole.community))
    given = {"communityId": whole.community, "title": back, "idempotencyKey": str(uuid4())}
    before = whole.head()
    with ThreadPoolExecutor() as threads:
        with whole.appending_waits() as waiting:
            first = threads.submit(ask, here.url, ada, SUBMIT, given)
            waiting(1)
            if back == "before it is recorded":
                # Nobody waits for what PostgreSQL does next, and the client has lost patience.
                proxy.cut()
                second = threads.submit(ask, there.url, ada, SUBMIT, given)
                waiting(2)
            else:
                proxy.partition(["downstream"])
        until(lambda: whole.head() == before + 1)
        match back:
            case "at once":
                proxy.heal()
                replies = [first.result(), ask(there.url, ada, SUBMIT, given)]
            case "later":
                assert first.result() == {"code": "UNAVAILABLE"}
                replies = [ask(there.url, ada, SUBMIT, given)]
            case _:
                assert first.result() == {"code": "UNAVAILABLE"}
                replies = [second.result()]
    proxy.heal()
    replies.append(until(lambda: "code" not in (reply := ask(here.url, ada, SUBMIT, given)) and reply))
    _is_one(whole, replies, before)


def _is_one(whole: Whole, replies: list[dict[str, Any]], before: int) -> None:
    """All are the reply to one command, which is in the log once."""
    assert replies == [replies[0]] * len(replies)
    assert replies[0]["errors"] == []
    found = whole.log()[before:]
    assert {recorded.meta.command_id for recorded in found} == {found[0].meta.command_id}
    assert len({(recorded.stream_id, recorded.version) for recorded in found}) == len(found)
    assert len({type(recorded.event) for recorded in found}) == len(found), "an event of one kind twice"
    assert open_position(whole.sealer, replies[0]["position"]) == found[-1].position


@pytest.mark.parametrize("how", ["cut off", "swallowed"])
def test_the_reply_to_a_client_is_lost(whole: Whole, stack: Stack, how: str) -> None:
    ada, (here, there) = whole.people[1], whole.apis
    proxy = stack.toxiproxy.add(f"api-{uuid4().hex}", int(here.url.rpartition(":")[2]))
    proxied = f"http://127.0.0.1:{proxy.port}"
    post, name = submit_post(ada, whole.community), f"n_{uuid4().hex[:12]}"
    person = {"name": name, "email": f"{name}@example.org", "password": f"correct horse {name}"}
    wishes: list[tuple[str, Client | None, dict[str, Any]]] = [
        (SUBMIT, ada, {"communityId": whole.community, "title": how}),
        (VOTE, ada, {"targetId": post, "value": "UP"}),
        (FOUND, ada, {"name": f"c_{name}"}),
        (SIGN_UP, None, person),
    ]
    for number, (query, who, given) in enumerate(wishes):
        given["idempotencyKey"], before = str(uuid4()), whole.head()
        proxy.partition(["downstream"]) if how == "swallowed" else proxy.cut_after(1 + 50 * number)
        with pytest.raises(httpx.TransportError):
            ask(proxied, who, query, given, seconds=2.0)
        proxy.heal()
        until(lambda before=before: whole.head() > before)  # type: ignore[misc]
        _is_one(whole, [ask(url, who, query, given) for url in (there.url, here.url, proxied)], before)
    # A retry that comes late, after another wish, changes nothing.
    ask(there.url, ada, VOTE, {"targetId": post, "value": "DOWN", "idempotencyKey": str(uuid4())})
    before = whole.head()
    late = ask(here.url, ada, *wishes[1][::2])
    assert open_position(whole.sealer, late["position"]) < before
    assert whole.caught_up() == before
    assert [whole.same(ada, api).ask(TOTAL, id=post)["node"]["score"]["total"] for api in range(2)] == [-1, -1]
    names = [r.event.name for r in whole.log() if isinstance(r.event, AccountRegistered)]
    assert names.count(name) == 1
    assert ask(there.url, None, SIGN_IN, {"nameOrEmail": name, "password": person["password"]})["accessToken"]


@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_an_emptied_redis_is_right_again_by_itself(whole: Whole, stack: Stack, how: str) -> None:
    def empty() -> None:
        if how == "restarted":
            stack.redis.restart()
        else:
            with redis.Redis.from_url(stack.redis.url) as client:
                client.flushall()

    ada, ben = whole.people[2], whole.client(1).sign_up()
    right = {"nameOrEmail": ben.name, "password": f"correct horse {ben.name}"}
    gone = [whole.same(ben, number) for number in range(2)]
    token = ask(whole.apis[0].url, None, SIGN_IN, right)["accessToken"]
    for client in gone:
        client.http.headers["Authorization"] = f"Bearer {token}"
    assert gone[1].ask(SIGN_OUT)["made"]["sessionsEnded"] == 1

    def who_is_who() -> None:
        for number, client in enumerate(gone):
            assert client.post(WHO)["errors"][0]["extensions"]["reason"] == "SESSION_ENDED"
            assert whole.same(ben, number).ask(WHO) == {"viewer": {"account": {"name": ben.name}}}

    def wrong_passwords() -> list[str]:
        tries = [
            ask(api.url, None, SIGN_IN, right | {"password": "wrong horse"})
            for api, _ in zip(cycle(whole.apis), range(SAID_TO_THREE + 1), strict=False)
        ]
        return [answer["errors"][0]["code"] for answer in tries]

    limited = ["CREDENTIALS_INVALID"] * SAID_TO_THREE + ["TOO_MANY_REQUESTS"]

    async def scene() -> None:
        made = await told(submit_post, ada, whole.community)
        async with signed_in(at(whole.apis[1]), ben) as socket:
            await socket.subscribe("s", SCORE, variables={"id": made})
            await socket.next("s")
            who_is_who()
            assert await told(wrong_passwords) == limited
            await told(empty)
            await told(until, whole.all_alive)
            who_is_who()
            assert await told(wrong_passwords) == limited
            await told(empty)
            await told(until, whole.all_alive)
            await told(vote, whole.same(ada, 0), made)
            assert (await socket.next("s"))["scoreChanged"]["score"] == {"up": 1, "down": 0}
        assert ask(whole.apis[0].url, None, SIGN_IN, right)["accessToken"]

    asyncio.run(scene())


def test_followers_who_change_the_process_at_every_cursor(whole: Whole) -> None:
    ada, ben, cid, dan = whole.people
    community = a_community(ada)
    post = submit_post(ada, community)
    mine = comment(ada, post)
    given = {"id": post, "after": ada.position}

    def write(who: Client) -> None:
        ways = [whole.same(who, number) for number in range(2)]
        for number in range(HAPPENINGS):
            comment(ways[number % 2], post, f"{who.name} {number}", parentId=mine)
            vote(ways[number % 2], post, ("UP", "DOWN")[number % 2])
            submit_post(ways[number % 2], community)

    async def writing() -> None:
        await asyncio.gather(told(write, ben), told(write, cid))
        await told(comment, dan, post, parentId=mine)
        await told(vote, dan, post)
        await told(submit_post, dan, community)

    comments = [Follower(whole, COMMENTS, ada, given, begins=begins) for begins in range(2)]
    comments.append(Follower(whole, COMMENTS, ada, given, messages=10**6))
    replies = [Follower(whole, REPLIES, ada, {"after": ada.position}, begins=begins) for begins in range(2)]
    posts = [
        Follower(whole, POSTS, ada, {"id": community, "after": ada.position}, begins=begins) for begins in range(2)
    ]
    scores = [Follower(whole, SCORE, ada, given, messages=messages, begins=messages % 2) for messages in (1, 2, 3)]

    async def scene() -> None:
        async with asyncio.timeout(FOLLOWING_SECONDS_MAX):
            await asyncio.gather(
                writing(),
                *(one.follow(lambda event: event["comment"]["author"]["name"] == dan.name) for one in comments),
                *(one.follow(lambda event: event["notification"]["actor"]["name"] == dan.name) for one in replies),
                *(one.follow(lambda event: event["post"]["author"]["name"] == dan.name) for one in posts),
                *(one.follow(lambda event: sum(event["score"].values()) == 3) for one in scores),
            )

    asyncio.run(scene())
    log, (_, subject), (_, place) = whole.log(), parse_id(post), parse_id(community)
    said = [r for r in log if isinstance(r.event, CommentSubmitted) and r.event.post_id == subject][1:]
    ids = [global_id(Kind.COMMENT, r.event.comment_id) for r in said]
    assert len(ids) == 2 * HAPPENINGS + 1
    for one in (*comments, *replies):
        assert [event.get("notification", event)["comment"]["id"] for event in one.heard] == ids
        assert one.places() == [r.position for r in said]
    submitted = [r for r in log if isinstance(r.event, PostSubmitted) and r.event.community_id == place][1:]
    for one in posts:
        assert [event["post"]["id"] for event in one.heard] == [
            global_id(Kind.POST, r.event.post_id) for r in submitted
        ]
        assert one.places() == [r.position for r in submitted]
    votes = [r for r in log if isinstance(r.event, VoteCast) and r.event.target_id == subject]
    for one in scores:
        assert one.places() == sorted(set(one.places())), "a score twice, or an older one after a newer"
        assert one.places()[-1] == votes[-1].position
        for event, place in zip(one.heard, one.places(), strict=True):
            values = {r.event.voter_id: r.event.value for r in votes if r.position <= place}
            assert event["score"] == {"up": [*values.values()].count(1), "down": [*values.values()].count(-1)}


def test_an_api_process_whose_clock_is_wrong(whole: Whole) -> None:
    before = whole.caught_up()
    community, who = parse_id(whole.community)[1], parse_id(whole.people[0].id)[1]

    async def submit(seconds: float) -> Id:
        def clock() -> datetime:
            return datetime.now(UTC) + timedelta(seconds=seconds)

        store = postgres_store(whole.conninfo, whole.secrets.master_key, clock=clock)
        commands = Commands(store, clock, whole.secrets.name_key, **messaging())
        try:
            command = SubmitPost(community, "text", f"{seconds} s")
            return (await commands.execute(command, Caller(who, derived("clock", str(seconds))))).subject_id
        finally:
            await asyncio.to_thread(store.close)

    made = [asyncio.run(submit(seconds)) for seconds in (0, -5, HOURS_2, 0, -HOURS_2, 0)]
    head = whole.caught_up()
    log = whole.log()
    assert [recorded.stream_id for recorded in log[before:]] == made
    assert len(set(made)) == len(made)
    whole.assert_topics(head)
    whole.assert_views(log)


def test_a_worker_is_told_to_stop_before_it_has_joined_a_broker_that_is_gone(whole: Whole, stack: Stack) -> None:
    worker = whole.fleet.worker("votes")
    until(lambda: "FetchThread]: Starting" in worker.log.read_text(), pause=0.005)
    stack.kafka.kill()
    began = time.monotonic()
    code, took = worker.stop(), time.monotonic() - began
    whole.fleet.roles.remove(worker)
    assert (code, took < STOP_SECONDS_MAX) == (0, True), took
