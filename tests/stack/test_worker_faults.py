"""Workers against faults, on real servers; after each, every view is as if the log had been folded straight."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import redis

from domain.ballot import VoteCast
from domain.ids import ballot_id, derived
from domain.post import PostImported
from infra.postgres import connect
from infra.signals import LOST
from infra.stack import Stack
from projections.catalogue import ALL, GROUPS
from projections.core import Projection, Row
from projections.scores import Score
from schemas.envelope import Recorded
from schemas.topics import TOPICS
from streams import dead_letters
from streams.worker.watchdog import STALLED
from tests.equivalence.histories import Happened
from tests.relay.world import declare
from tests.stack.roles import until
from tests.stack.workers import Pauses, Site, WorkerProcess

Start = Callable[..., Site]

ALONE = "votes is following 12 partitions"
TAKEOVER_SECONDS_MAX = 15.0
STALL_SECONDS = 10
"""The least that the setting allows."""
PAUSE_SECONDS_MAX = 5.0
VIEWS = [projection.name for group in ("people", "votes") for projection in GROUPS[group]]
FOUND_AGAIN_SECONDS_MAX = 60.0
"""Far less than the five minutes after which a client of Kafka looks for partitions by itself."""


@pytest.fixture
def start(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Start]:
    """A site with a relay, on empty topics."""
    sites: list[Site] = []

    def one(**settings: object) -> Site:
        sites.append(Site(stack, server_database, tmp_path, **settings))  # type: ignore[arg-type]
        return sites[-1]

    yield one
    for site in sites:
        with site:
            pass


def test_others_take_over_soon_from_a_killed_one(start: Start) -> None:
    site = start(worker_session_seconds=10)
    with site.relayed(), site.load():
        first, second = site.worker("votes"), site.worker("votes")
        first.says("votes is following 6 partitions")
        second.says("votes is following 6 partitions")
        site.until(lambda: _reached(site, "votes") >= site.head - 1000)
        time.sleep(1)
        second.kill()
        head = site.head
        taken = site.until(lambda: _reached(site, "votes") >= head, 60)
        say(f"takeover after SIGKILL: {taken:.1f} s")
        assert taken < TAKEOVER_SECONDS_MAX
    site.worker(*(name for name in GROUPS if name != "votes"))
    with site.relayed():
        site.caught_up()
    site.assert_right()


def say(line: str) -> None:
    """What was measured: shown when the test fails, and with ``-s``."""
    sys.stderr.write(f"{line}\n")


def _reached(site: Site, group: str) -> int:
    return site.reached([projection.name for projection in GROUPS[group]])


def test_workers_are_added_and_removed_under_load(start: Start) -> None:
    site = start()
    with site.relayed():
        with site.load():
            workers = [site.worker()]
            site.until(lambda: site.reached() > 0)
            pauses = Pauses(site, [projection.name for projection in GROUPS["votes"]])

            def watch(seconds: float) -> None:
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    pauses.sample()
                    time.sleep(0.02)

            watch(2)
            for change in ("add", "add", "remove", "add", "remove", "remove"):
                if change == "add":
                    workers.append(site.worker())
                    while "votes is following" not in workers[-1].said():
                        watch(0.1)
                else:
                    workers.pop(0).signal(signal.SIGTERM)
                watch(5)
            say(f"longest pause of a partition of votes in six changes of workers: {pauses.longest:.1f} s")
        site.caught_up()
    assert [worker.process.wait(20) for worker in site.workers if worker not in workers] == [0, 0, 0]
    assert pauses.longest < PAUSE_SECONDS_MAX
    site.assert_right()


def test_a_frozen_worker_is_replaced_and_does_no_harm_when_it_wakes(start: Start) -> None:
    site = start(worker_transaction_seconds_max=5, worker_session_seconds=3, worker_heartbeat_seconds=0.5)
    with site.relayed():
        with site.load():
            zombie, other = site.worker("votes"), site.worker()
            zombie.says("votes is following 6 partitions")
            other.says("votes is following 6 partitions")
            for _ in range(2):
                time.sleep(1)
                before = other.said().count(ALONE)
                zombie.signal(signal.SIGSTOP)
                other.says(ALONE, times=before + 1)
                head = site.head
                site.until(lambda head=head: _reached(site, "votes") >= head)  # type: ignore[misc]
                zombie.signal(signal.SIGCONT)
                time.sleep(5)
                assert zombie.alive
        site.caught_up()
    site.assert_right()


def test_engines_that_are_away_are_waited_for(start: Start, stack: Stack) -> None:
    site = start(worker_stall_seconds_max=STALL_SECONDS)
    with site.relayed():
        site.grow(2_000)
        worker = site.worker()
        site.caught_up()
        # Nothing is asked of Redis while Kafka is away; that it is away alone is the next test but one.
        for servers in ((stack.postgres,), (stack.kafka, stack.redis)):
            for server in servers:
                server.kill()
            time.sleep(12)
            assert worker.alive, worker.said()
            for server in servers:
                server.start()
            if stack.postgres in servers:
                site.history.connect_again()
            site.grow(500)
            site.caught_up(60)
        assert worker.alive
    site.assert_right()


def waited(worker: WorkerProcess) -> float:
    """For how many seconds the worker's watchdog has found that the log does not answer."""
    at = [line["timestamp"] for line in map(json.loads, worker.logged()) if line["event"] == "worker.watchdog_waits"]
    return (datetime.fromisoformat(at[-1]) - datetime.fromisoformat(at[0])).total_seconds() if at else 0.0


def test_a_broker_that_goes_before_all_is_read_is_waited_for(start: Start, stack: Stack) -> None:
    """There is something to fold, and it does not come: that is the broker's doing."""
    site = start(worker_stall_seconds_max=STALL_SECONDS, worker_watch_seconds=1, kafka_request_seconds_max=2)
    with site.relayed():
        site.grow(500)
        worker = site.worker()
        site.caught_up()
        worker.signal(signal.SIGSTOP)
        for _ in range(2):  # what comes first may have been on its way to it already
            site.grow(500)
        stack.kafka.kill()
        worker.signal(signal.SIGCONT)
        until(lambda: waited(worker) > 2 * STALL_SECONDS)
        assert worker.alive, worker.said()
        assert site.reached() < site.head
        stack.kafka.start()
        site.caught_up(60)
        assert worker.alive
    site.assert_right()


def test_what_could_not_be_signalled_is_made_good_although_nothing_happens_any_more(start: Start, stack: Stack) -> None:
    # Whoever follows is at a Redis that answers all the while: nothing tells him but the worker, once it can.
    site, proxy = start(redis_url=stack.redis.proxied_url, worker_watch_seconds=1), stack.proxy("redis")
    with (
        closing(redis.Redis.from_url(stack.redis.url)) as client,
        client.pubsub(ignore_subscribe_messages=True) as heard,
        site.relayed(),
    ):
        site.grow(500)
        worker = site.worker()
        site.caught_up()
        proxy.cut()
        site.grow(500)
        site.caught_up()
        until(lambda: any("signals.not_published" in line for line in worker.logged()))
        heard.subscribe(LOST)
        until(lambda: heard.get_message() is None and heard.subscribed)
        proxy.heal()
        assert until(lambda: heard.get_message(timeout=1))["channel"] == LOST.encode()
        assert worker.stop() == 0


def test_a_worker_that_does_not_get_on_ends_itself(start: Start) -> None:
    site = start(worker_stall_seconds_max=STALL_SECONDS, worker_watch_seconds=1, worker_batch_seconds_max=300)
    with site.relayed():
        site.grow(500)
        worker = site.worker("people")
        site.until(lambda: _reached(site, "people") >= site.head)
        with connect(site.conninfo) as other, other.transaction():
            other.execute("SELECT FROM views.checkpoints FOR UPDATE")
            site.grow(500)
            assert worker.process.wait(40) == STALLED
        assert "does not get on" in worker.said()
        assert "people has committed nothing" in worker.said()
        site.worker()
        site.caught_up()
    site.assert_right()


def test_topics_that_are_made_again_under_a_worker_are_found(start: Start) -> None:
    """While they are away it holds no partitions. Nobody tells it that they are back: it has to look."""
    site = start(worker_watch_seconds=1)
    with site.relayed():
        site.grow(500)
        worker = site.worker("people", "votes")
        site.caught_up(names=VIEWS)
        site.log.delete_topics([topic.name for topic in TOPICS])
        worker.says("votes is following 0 partitions")
        worker.says("people is following 0 partitions")
        declare(site.log)
        site.grow(500)
        site.caught_up(FOUND_AGAIN_SECONDS_MAX, VIEWS)
        assert worker.stop() == 0


def test_a_poison_event_parks_its_key_and_what_was_parked_is_applied_in_order(start: Start) -> None:
    site = start()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    where, voters = derived("poison", "community"), [derived("poison", "voter", str(n)) for n in range(30)]
    sick, well = derived("poison", "sick"), derived("poison", "well")

    def imported(post_id: str, up: int) -> Happened:
        event = PostImported(post_id, where, None, "text", "t", "", None, None, up, 0, False, False, False, post_id)  # type: ignore[arg-type]
        return Happened(post_id, event, now, None)  # type: ignore[arg-type]

    def vote(number: int, post_id: str, before: int, value: int) -> Happened:
        event = VoteCast(voters[number], post_id, "post", post_id, where, None, before, value)  # type: ignore[arg-type]
        return Happened(ballot_id(voters[number], post_id), event, now, voters[number])  # type: ignore[arg-type]

    with site.relayed():
        site.grow(500)
        worker = site.worker()
        # No column of PostgreSQL holds such a score, so the row of this one post cannot be written.
        site.history.add([imported(sick, 2**63), imported(well, 5)])
        for number in range(20):
            site.history.add([vote(number, post, 0, 1) for post in (sick, well)])
        site.history.add([vote(0, post, 1, -1) for post in (sick, well)])
        site.grow(500)
        site.caught_up()
        assert worker.alive
        assert _score(site, well) == (24, 1)
        assert _score(site, sick) is None
        with connect(site.conninfo) as connection:
            parked = {one.key: one for one in dead_letters.dead_letters(connection, "scores")}
            assert set(parked) == {sick}
            assert parked[sick].events == 22
            waiting = dead_letters.positions(connection, "scores", sick)
            assert waiting == sorted(waiting)
            again = dead_letters.retry(connection, site.history.store, ALL["scores"], sick)
            assert (again.applied, again.left) == (0, 22)
            done = dead_letters.retry(connection, site.history.store, mended(ALL["scores"]), sick)
            assert (done.applied, done.left) == (22, 0)
        assert _score(site, sick) == (26, 1)
        site.history.add([vote(25, sick, 0, 1)])
        site.grow(10)
        site.caught_up()
        assert _score(site, sick) == (27, 1)
        assert worker.stop() == 0


def mended(projection: Projection) -> Projection:
    """The view after the bug was found: an imported score that cannot be is taken for seven.

    The order matters: were the votes applied before it, they would be lost.
    """
    mended = Projection(projection.name, version=projection.version, row=projection.row)
    mended.handlers = dict(projection.handlers)
    (handler,) = projection.handlers[PostImported]

    def fold(row: Score, event: PostImported, at: Recorded) -> Row | None:
        if event.up < 2**63:
            return handler.fold(row, event, at)
        assert row == Score(row.target_id), "not the first"
        return handler.fold(row, msgspec.structs.replace(event, up=7), at)

    mended.handlers[PostImported] = [msgspec.structs.replace(handler, fold=fold)]
    return mended


def _score(site: Site, post_id: str) -> tuple[int, int] | None:
    with connect(site.conninfo) as connection:
        return connection.execute("SELECT up, down FROM views.scores WHERE target_id = %s", (post_id,)).fetchone()
