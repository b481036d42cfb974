"""Each row of docs/dependencies.md on real servers behind the fault proxy: what works, is refused, or is stale."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infra.stack import Stack
from tests.api.stack import Client
from tests.databases import new_database
from tests.live.forum import a_community, submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import SCORE, told
from tests.stack.roles import Role, Roles, proxied, until

PROMPT_SECONDS = 3.0
"""A refusal that takes no longer than this is prompt, on a machine that is busy with other things."""
QUERY = "query($id: ID!) { node(id: $id) { id ... on Post { title score { total } } } }"


class Site:
    """One API, one relay and one worker, each behind the fault proxy, and somebody who has posted."""

    def __init__(self, fleet: Roles, api: Role, relay: Role, worker: Role, ada: Client) -> None:
        self.fleet, self.api, self.relay, self.worker, self.ada = fleet, api, relay, worker, ada
        self.post = submit_post(ada, a_community(ada))

    def readiness(self, need: str = "") -> tuple[int, dict[str, Any]]:
        answer = httpx.get(f"{self.api.url}/readyz{f'?need={need}' if need else ''}", timeout=30)
        return answer.status_code, answer.json()

    def codes(self, query: str, **variables: Any) -> set[str]:
        """Of the errors of one operation, without waiting for a position."""
        self.ada.position = None
        answer = self.ada.post(query, variables)
        return {error["extensions"]["code"] for error in answer.get("errors", ())}

    def is_well(self) -> bool:
        """It answers, takes a command and shows its effect, unaided."""
        if self.readiness()[0] != 200:
            return False
        title = uuid4().hex
        position = self.ada.position
        try:
            made = submit_post(self.ada, self.community, title=title)
        except (AssertionError, KeyError, TypeError):
            # Refused, or done and not to be seen yet.
            self.ada.position = position
            return False
        found = self.ada.post(QUERY, {"id": made})
        return bool(found["data"]["node"]["title"] == title and not found["extensions"]["consistency"]["stale"])

    @property
    def community(self) -> str:
        found: str = self.ada.ask(
            "query($id: ID!) { node(id: $id) { ... on Post { community { id } } } }", id=self.post
        )["node"]["community"]["id"]
        return found


@pytest.fixture(scope="module")
def whole(sound_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, for all tests of this module."""
    folder: Path = tmp_path_factory.mktemp("dependencies")
    fleet = Roles(
        sound_stack,
        proxied(new_database(sound_stack.postgres.url), sound_stack),
        folder,
        cassandra=True,
        proxied=True,
        position_wait_seconds_max=5,
        pool_answer_seconds_max=2,
        pool_wait_seconds_max=3,
        store_answer_seconds_max=2,
        store_lock_seconds_max=2,
        otlp_endpoint="http://127.0.0.1:9",  # nobody takes traces there, and nothing suffers from it
    ).set_up()
    with fleet:
        api, relay, worker = fleet.api(), fleet.relay(), fleet.worker()
        until(lambda: relay.ready() and worker.ready())
        with Client(SimpleNamespace(url=api.url)) as ada:  # type: ignore[arg-type]
            yield Site(fleet, api, relay, worker, ada.sign_up())


@pytest.fixture
def site(whole: Site, stack: Stack) -> Site:
    """The site, well."""
    until(whole.is_well)
    return whole


def seconds(what: Callable[[], Any]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["cut", "partition"])
def test_without_postgresql_everything_is_refused_soon_and_comes_back_unaided(
    site: Site, stack: Stack, how: str
) -> None:
    getattr(stack.proxy("postgres"), how)()
    until(lambda: site.readiness()[0] == 503)
    status, body = site.readiness()
    assert (status, body["checks"]["postgres"]) == (503, False)
    assert not site.api.ready(), "what moot health is told"
    assert "nothing can be read or changed" in body["wrong"]["postgres"]
    assert httpx.get(f"{site.api.url}/healthz").status_code == 200
    # Once a breaker is open nobody waits for what does not answer, but the one who is let through to see.
    until(lambda: site.codes(QUERY, id=site.post) == {"UNAVAILABLE"} and open_breaker(site, "postgres"))
    took = sorted(seconds(lambda: site.codes(QUERY, id=site.post)) for _ in range(5))
    assert took[0] < PROMPT_SECONDS
    mutation = "mutation($i: CastVoteInput!) { castVote(input: $i) { position errors { code } } }"
    assert site.codes(mutation, i={"targetId": site.post, "value": "UP"}) == {"UNAVAILABLE"}
    roles = (site.api, site.relay, site.worker)
    until(lambda: all(breaker(role, "postgres") for role in roles))
    stack.proxy("postgres").heal()
    until(site.is_well)
    until(lambda: [breaker(role, "postgres") for role in roles] == [0, 0, 0])


def breaker(role: Role, dependency: str) -> float | None:
    return role.metric("moot_breaker_state", dependency=dependency)


def open_breaker(site: Site, dependency: str) -> bool:
    return (breaker(site.api, dependency) or 0) > 0


@pytest.mark.parametrize("how", ["cut", "partition"])
def test_without_redis_people_read_and_write_and_cannot_sign_in(site: Site, stack: Stack, how: str) -> None:
    ada = site.ada
    stack.proxy("redis").partition() if how == "partition" else stack.proxy("redis").cut()
    until(lambda: site.readiness()[0] == 503)
    status, body = site.readiness()
    assert (status, body["checks"]) == (503, {"postgres": True, "redis": False})
    assert "sign in" in body["wrong"]["redis"]
    assert site.readiness(need="postgres")[0] == 200
    assert site.readiness(need="postgres")[1]["status"] == "degraded"
    made = until(lambda: submit_post(ada, site.community))
    assert until(lambda: ada.ask(QUERY, id=made)["node"])["id"] == made
    form = {"nameOrEmail": ada.name, "password": f"correct horse {ada.name}"}
    with Client(SimpleNamespace(url=site.api.url)) as visitor:  # type: ignore[arg-type]
        payload = visitor.ask("mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }", i=form)["signIn"]
    assert [error["code"] for error in payload["errors"]] == ["TOO_BUSY"]
    until(lambda: open_breaker(site, "redis"))
    assert min(seconds(lambda: ada.ask(QUERY, id=made)) for _ in range(5)) < PROMPT_SECONDS
    stack.proxy("redis").heal()
    until(site.is_well)


def test_what_is_followed_while_redis_is_away_is_told_in_the_end(site: Site, stack: Stack) -> None:
    async def scene() -> None:
        api: Any = SimpleNamespace(url=site.api.url)
        made = await told(submit_post, site.ada, site.community)
        async with signed_in(api, site.ada) as socket:
            await socket.subscribe("s", SCORE, variables={"id": made})
            await socket.next("s")
            stack.proxy("redis").cut()
            await told(lambda: until(lambda: vote(site.ada, made)))
            stack.proxy("redis").heal()
            assert (await socket.next("s"))["scoreChanged"]["score"] == {"up": 1, "down": 0}

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["cut", "partition"])
def test_without_kafka_commands_are_taken_and_views_stand_still_and_say_so(site: Site, stack: Stack, how: str) -> None:
    stack.proxy("kafka").partition() if how == "partition" else stack.proxy("kafka").cut()
    other = "DOWN" if how == "cut" else "UP"  # than before, or nothing would happen
    site.ada.position = None
    answer = site.ada.post(
        "mutation($i: CastVoteInput!) { castVote(input: $i) { position errors { code } } }",
        {"i": {"targetId": site.post, "value": other}},
    )["data"]["castVote"]
    assert answer["errors"] == []
    assert answer["position"], "it is durable, so it is acknowledged"
    site.ada.position = answer["position"]
    found = site.ada.post(QUERY, {"id": site.post})
    assert found["extensions"]["consistency"]["stale"] is True
    assert site.readiness()[0] == 200, "the API serves"
    assert until(lambda: (site.relay.metric("moot_relay_lag_events") or 0) >= 1)
    stack.proxy("kafka").heal()
    site.ada.position = answer["position"]
    until(
        lambda: (
            site.ada.post(QUERY, {"id": site.post})["data"]["node"]["score"]["total"] == (1 if other == "UP" else -1)
        )
    )
    until(site.is_well)


@pytest.mark.parametrize("role", ["relay", "worker"])
def test_without_a_relay_or_a_worker_commands_are_taken_and_views_stand_still(site: Site, role: str) -> None:
    ended: Role = getattr(site, role)
    assert ended.stop() == 0
    made = site.ada.do("submitPost", communityId=site.community, title="Later")
    assert not made["errors"]
    assert site.ada.post(QUERY, {"id": site.post})["extensions"]["consistency"]["stale"] is True
    setattr(site, role, getattr(site.fleet, role)())
    until(lambda: site.ada.post(QUERY, {"id": site.post})["extensions"]["consistency"]["stale"] is False)


def test_everything_slowed_by_300_ms_is_slow_and_right(site: Site, stack: Stack) -> None:
    for name in ("postgres", "redis", "kafka"):
        stack.proxy(name).slow(150)
    made = until(lambda: submit_post(site.ada, site.community, title="Slow"))
    assert site.readiness()[0] == 200
    until(lambda: site.ada.post(QUERY, {"id": made})["data"]["node"]["title"] == "Slow")
    for name in ("postgres", "redis", "kafka"):
        stack.proxy(name).heal()


def test_a_doctor_says_of_each_what_is_wrong_and_of_the_others_that_they_are_well(site: Site, stack: Stack) -> None:
    for name, check in (("redis", "redis"), ("kafka", "kafka"), ("cassandra", "cassandra")):
        stack.proxy(name).cut()
        found = site.fleet.findings()
        assert not found[check]["ok"]
        assert found[check]["fix"]
        assert found["postgresql"]["ok"]
        stack.proxy(name).heal()
    stack.proxy("postgres").cut()
    found = site.fleet.findings()
    assert [name for name, one in found.items() if one["ok"]] == ["replica", "redis", "kafka", "cassandra"]
    stack.proxy("postgres").heal()
    until(lambda: all(one["ok"] for one in site.fleet.findings().values()))
