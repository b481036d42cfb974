"""A whole fleet under load behind a network that swallows or delays: nobody is told anything that is not so.

Every process has every connection through the fault proxy. What clients were told is compared with the log, the topics
and the views, and with what those heard who follow posts live.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from infra.stack import Stack
from infra.stack.proxies import DIRECTIONS
from tests.stack.crowd import Crowd
from tests.stack.followers import Audience
from tests.stack.roles import until
from tests.stack.whole import Whole

BUSY, FEW = 24, 12
"""Commands acknowledged before a fault, during it where it keeps nobody, and after it; and while things are slow."""
DELAY_MS = 300
"""Of a request and its answer together; half of it each way."""
IMPATIENT = {"kafka_request_seconds_max": 4, "kafka_transaction_seconds_max": 10}
"""A relay that soon says that Kafka is away, so that the tests need not wait for it."""
PARTITIONS = (DIRECTIONS, ("upstream",), ("downstream",))
SLOW = (("postgres",), ("redis",), ("kafka",), ("postgres", "redis", "kafka"))


@pytest.fixture(scope="module")
def running(sound_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The fleet, for all tests of this module."""
    folder = tmp_path_factory.mktemp("network")
    with Whole(sound_stack, folder, behind_proxy=True, **IMPATIENT) as whole:
        yield whole


def readiness(whole: Whole, need: str = "") -> list[tuple[int, dict[str, bool]]]:
    """What the API processes say of themselves."""
    answers = [httpx.get(f"{api.url}/readyz{need}", timeout=30) for api in whole.apis]
    return [(answer.status_code, answer.json()["checks"]) for answer in answers]


@pytest.mark.parametrize("service", ["postgres", "redis", "kafka"])
def test_a_server_behind_a_network_that_swallows_everything(whole: Whole, stack: Stack, service: str) -> None:
    def hurt(crowd: Crowd) -> None:
        for directions in PARTITIONS:
            if service == "postgres":
                # In the middle of an append of each process. One of the two is recorded: which, only PostgreSQL knows.
                with whole.appending_waits() as waiting:
                    waiting(len(whole.apis))
                    stack.proxy(service).partition(directions)
                    whole.end_an_append()
            else:
                stack.proxy(service).partition(directions)
            match service:
                case "postgres":
                    crowd.suffers()
                    until(lambda: {(s, c["postgres"]) for s, c in readiness(whole)} == {(503, False)})
                case "redis":
                    crowd.gets_on(BUSY)
                    until(lambda: readiness(whole) == [(503, {"postgres": True, "redis": False})] * len(whole.apis))
                    assert {status for status, _ in readiness(whole, "?need=postgres")} == {200}
                case _:
                    crowd.gets_on(BUSY)
                    until(lambda: not whole.relay.ready())
                    assert {status for status, _ in readiness(whole)} == {200}, "the API serves"
            stack.proxy(service).heal()
            crowd.gets_on(BUSY)
            until(whole.all_alive)

    _holds(whole, hurt, answered=service != "postgres")


def test_servers_that_are_300_ms_away(whole: Whole, stack: Stack) -> None:
    def hurt(crowd: Crowd) -> None:
        for services in SLOW:
            for service in services:
                stack.proxy(service).slow(DELAY_MS // 2)
            crowd.gets_on(FEW)
            assert {status for status, _ in readiness(whole)} == {200}, "slow is not away"
            for service in services:
                stack.proxy(service).heal()

    _holds(whole, hurt, answered=True)


def _holds(whole: Whole, hurt: Callable[[Crowd], Any], *, answered: bool) -> None:
    """Whatever is done to the crowd's servers for a while: all that is told is so, and all is well again unaided.

    ``answered`` says that nobody is to be left without an answer.
    """
    crowd = whole.crowd(asks_again=True)
    before, audience = whole.head(), Audience(whole, crowd)
    with audience.following:
        with crowd:
            crowd.gets_on(BUSY)
            hurt(crowd)
            whole.caught_up()
        if answered:
            assert crowd.unanswered == 0, "nothing was away that commands need"
        whole.assert_right(crowd, before)
        audience.assert_told()
