"""A poison event on a whole fleet: its key parked, the rest moving, told of, and retried by command once it can be."""

import asyncio
import json
from typing import Any

from infra.postgres import connect
from read_api.ids import parse_id
from tests.live.forum import submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import SCORE, told
from tests.stack.roles import Role, until
from tests.stack.whole import Whole, at

BUSY = 60
"""Commands acknowledged before the retry and after it."""
FOLLOWING_SECONDS_MAX = 60.0


def test_a_poison_event_is_told_of_and_retried_by_command_while_all_else_goes_on(whole: Whole) -> None:
    sick, fleet = submit_post(whole.people[0], whole.community), whole.fleet
    key = parse_id(sick)[1]
    crowd, parked_before = whole.crowd(), told_by(whole, "moot_view_parked_total")

    def column(change: str) -> None:
        with connect(whole.conninfo) as connection:
            connection.execute(f"ALTER TABLE views.scores {change}".encode())

    def retried(code: int) -> Any:
        done = fleet.run("projections", "retry", "scores", key, "--output", "json")
        assert done.returncode == code, done.stderr
        (one,) = json.loads(done.stdout)["retried"]
        return one

    async def follow() -> None:
        async with asyncio.timeout(FOLLOWING_SECONDS_MAX), signed_in(at(whole.apis[1]), whole.people[1]) as socket:
            await socket.subscribe("f", SCORE, variables={"id": sick})
            assert (await socket.next("f"))["scoreChanged"]["score"] == {"up": 2, "down": 0}
            assert await told(retried, 0) == {"key": key, "applied": 2, "left": 0, "moved": 0, "error": None}
            assert (await socket.next("f"))["scoreChanged"]["score"] == {"up": 4, "down": 0}

    with crowd:
        # No column holds such a score, so the row of this one post cannot be written; two of four votes wait.
        column(f"ADD CONSTRAINT planted CHECK (up <= 2 OR target_id <> '{key}')")
        for number, who in enumerate(whole.people):
            vote(whole.same(who, number), sick)
        whole.caught_up()
        waiting = json.loads(fleet.run("projections", "parked", "scores", "--output", "json").stdout)["parked"]
        assert [(one["key"], one["events"]) for one in waiting] == [(key, 2)]
        until(lambda: told_by(whole, "moot_view_parked_total") == parked_before + 2)
        until(lambda: [worker.metric("moot_dead_letters", projection="scores") for worker in whole.workers] == [2, 2])
        assert not fleet.findings()["dead letters"]["ok"]
        still = retried(2)
        assert (still["applied"], still["left"]) == (0, 2)
        assert "planted" in still["error"]
        crowd.gets_on(BUSY)
        column("DROP CONSTRAINT planted")
        asyncio.run(follow())
        crowd.gets_on(BUSY)
    until(lambda: [worker.metric("moot_dead_letters", projection="scores") for worker in whole.workers] == [0, 0])
    head, log = whole.caught_up(), whole.log()
    whole.assert_topics(head)
    whole.assert_views(log)
    said = [line for worker in whole.workers for line in logged(worker) if line["event"] == "views.parked"]
    (first,) = [line for line in said if line["key"] == key and "planted" in line["error"]]
    poison = log[first["position"] - 1]
    assert first["trace_id"] == poison.meta.correlation_id.replace("-", "")


def told_by(whole: Whole, name: str) -> float:
    """The sum of that series of the view of scores over the workers."""
    return sum(worker.metric(name, projection="scores") or 0 for worker in whole.workers)


def logged(role: Role) -> list[dict[str, Any]]:
    """What it has logged so far; words for people are left out."""
    return [json.loads(line) for line in role.log.read_text().splitlines() if line.startswith("{")]
