"""Queries read from a streaming stand-by: it lags, is rebuilt under, dies and comes back, and nobody is told a lie."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from infra.stack import Stack
from projections.catalogue import ALL
from tests.api.stack import Client
from tests.equivalence.test_equivalence import all_rows
from tests.live.forum import a_community, submit_post, vote
from tests.stack.roles import Role, Roles, until
from tests.stack.standby import Standby

READ = "query($id: ID!) { node(id: $id) { id ... on Post { title score { total } } } }"

PROMPT_SECONDS = 5.0
"""A read that takes no longer has not waited in vain for long, on a machine that is busy with other things."""
PRIMARY_AWAY = {"postgres": False, "redis": True, "replica": True}


@pytest.fixture
def standby(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Standby]:
    """The stand-by, with the database of this test in it."""
    with Standby(stack, tmp_path) as made:
        yield made


def reads(api: Role, server: str) -> float:
    """How many it has had there."""
    return api.metric("moot_reads_total", server=server) or 0.0


def well(api: Role) -> bool:
    """Whether it says that nothing is away, the replica included."""
    answer = httpx.get(f"{api.url}/readyz", timeout=30)
    return (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_a_stand_by_that_lags_is_rebuilt_under_and_dies(
    stack: Stack, server_database: str, tmp_path: Path, standby: Standby
) -> None:
    replica = standby.conninfo(server_database)
    with Roles(stack, server_database, tmp_path, database_replica_url=replica, position_wait_seconds_max=10) as fleet:
        fleet.set_up()
        standby.has_replayed_all()
        api, relay, worker = fleet.api(), fleet.relay(), fleet.worker()
        until(lambda: relay.ready() and worker.ready() and well(api))
        at: Any = SimpleNamespace(url=api.url)
        with Client(at) as ada, Client(at) as visitor:
            ada.sign_up()
            community = a_community(ada)
            post = submit_post(ada, community, title="Seen")
            ada.ask(READ, id=post)
            standby.has_replayed_all()
            _is_read(api, visitor, post)
            _lags(standby, ada, visitor, community)
            _is_rebuilt_under(fleet, standby, api, visitor, post, server_database)
            _dies(standby, api, ada, visitor, post)
            _stays_alone(stack, api, visitor, post)


def _is_read(api: Role, visitor: Client, post: str) -> None:
    before, elsewhere = reads(api, "replica"), reads(api, "primary")
    assert visitor.ask(READ, id=post)["node"]["title"] == "Seen"
    assert (reads(api, "replica") > before, reads(api, "primary")) == (True, elsewhere)


def _lags(standby: Standby, ada: Client, visitor: Client, community: str) -> None:
    """Who knows of something newer reads it on the primary; who does not, what was so a moment ago."""
    standby.ask("SELECT pg_wal_replay_pause()")
    until(lambda: standby.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
    late = submit_post(ada, community, title="Late")
    found = ada.post(READ, {"id": late})
    assert (found["data"]["node"]["title"], found["extensions"]["consistency"]["stale"]) == ("Late", False)
    assert visitor.ask(READ, id=late)["node"] is None
    standby.ask("SELECT pg_wal_replay_resume()")
    until(lambda: (visitor.ask(READ, id=late)["node"] or {}).get("title") == "Late")


def _is_rebuilt_under(fleet: Roles, standby: Standby, api: Role, visitor: Client, post: str, primary: str) -> None:
    """Readers there are sent on, never away: a rebuild that is replayed takes the tables from under them."""
    enough, wrong = Event(), list[Any]()

    def look() -> None:
        while not enough.is_set():
            found = visitor.post(READ, {"id": post})
            if found.get("errors") or found["data"]["node"]["title"] != "Seen":
                wrong.append(found)

    reader, before = Thread(target=look), reads(api, "replica")
    reader.start()
    try:
        done = fleet.run("projections", "rebuild", "--all")
        assert done.returncode == 0, done.stderr
    finally:
        enough.set()
        reader.join()
    assert wrong == []
    assert reads(api, "replica") > before
    standby.has_replayed_all()
    here, there = all_rows(primary), all_rows(standby.conninfo(primary))
    for name in ALL:
        assert there[name] == here[name], name


def _dies(standby: Standby, api: Role, ada: Client, visitor: Client, post: str) -> None:
    """The primary answers in its place, in the same request; and the stand-by again once it is back."""
    standby.kill()
    for _ in range(5):
        began = time.monotonic()
        assert visitor.ask(READ, id=post)["node"]["title"] == "Seen"
        assert time.monotonic() - began < PROMPT_SECONDS
    vote(ada, post)
    assert ada.ask(READ, id=post)["node"]["score"] == {"total": 1}
    found = until(lambda: (one := httpx.get(f"{api.url}/readyz", timeout=30)).json()["status"] == "degraded" and one)
    assert (found.status_code, found.json()["checks"]["replica"]) == (200, False)
    standby.start()
    until(lambda: well(api))
    standby.has_replayed_all()
    before = reads(api, "replica")
    until(lambda: visitor.ask(READ, id=post)["node"]["score"] == {"total": 1} and reads(api, "replica") > before)


def _stays_alone(stack: Stack, api: Role, visitor: Client, post: str) -> None:
    """Without the primary whoever knows of nothing newer goes on reading."""
    stack.postgres.kill()
    until(lambda: httpx.get(f"{api.url}/readyz", timeout=30).json()["checks"] == PRIMARY_AWAY)
    for _ in range(5):
        assert visitor.ask(READ, id=post)["node"]["score"] == {"total": 1}
    stack.postgres.start()
    until(lambda: well(api))
