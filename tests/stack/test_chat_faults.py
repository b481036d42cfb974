"""A busy channel of a whole fleet while processes and servers die: log, live and history say the same of it.

Its people write as fast as they are answered, through two API processes, and follow it from sockets that are cut off at
random moments and go on at a random process from their last cursor.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.postgres import connect
from infra.stack import Stack
from projections.catalogue import ALL
from tests.stack.roles import until
from tests.stack.talkers import Channel
from tests.stack.whole import Whole

MESSAGES = 10_000
LINES = 4
"""Of each of four people. So many commands are under way at a time that store, relay and workers get batches:
one a person costs twice the processor time a message."""
DEVICES = 6
"""Of each of four people."""
SECONDS_MAX = 240.0
"""Until a quarter of the messages are acknowledged, on a machine that is busy with other things."""
SETTINGS = {
    # Nobody may write so fast.
    "messages_burst": 100_000,
    "messages_seconds_each": 0.001,
    # Workers that were killed are missed soon, and those who were cut off meanwhile lack more than a screen.
    "worker_session_seconds": 2,
    "worker_heartbeat_seconds": 0.3,
    "subscription_backfill_max": 2 * MESSAGES,
    # PostgreSQL stays: that it is slow on a busy machine is no reason to refuse anybody.
    "pool_answer_seconds_max": 20,
}
FEW = 50
"""Messages acknowledged before Cassandra goes, while it does not answer, while it is gone, and once it is back."""
PAUSE_SECONDS = 0.1
"""Between two of one person while Cassandra starts, which takes a processor for some seconds."""

Start = Callable[..., Whole]


@pytest.fixture
def start(stack: Stack, tmp_path: Path) -> Iterator[Start]:
    """A fleet, ended afterwards."""
    with ExitStack() as begun:
        yield lambda **more: begun.enter_context(Whole(stack, tmp_path, **SETTINGS, **more))


def test_ten_thousand_messages_while_a_gateway_and_the_workers_are_killed(start: Start) -> None:
    whole = start()
    channel, gone = Channel(whole, DEVICES), whole.apis[1]
    with channel.following:
        with channel.talkers(lines=LINES) as talkers:
            talkers.gets_on(MESSAGES // 4, SECONDS_MAX)
            with whole.appending_waits() as waiting:
                # In the middle of an append: whether it is recorded, nobody is told.
                waiting(len(whole.apis))
                gone.stop(signal.SIGKILL)
                until(lambda: talkers.unanswered)
            talkers.gets_on(MESSAGES // 4, SECONDS_MAX)
            whole.again(gone)
            talkers.gets_on(MESSAGES // 4, SECONDS_MAX)
            for worker in whole.workers:  # one of them folds the channel
                worker.stop(signal.SIGKILL)
                whole.fleet.roles.remove(worker)
            whole.workers = [whole.fleet.worker()]
            talkers.gets_on(MESSAGES // 4, SECONDS_MAX)
            until(whole.all_alive)
        whole.caught_up()
        assert channel.assert_told(talkers) >= MESSAGES
    assert channel.refusals() == set(), "whoever has a cursor is let in everywhere"


def test_cassandra_is_away_for_a_while(start: Start, stack: Stack) -> None:
    """It does not answer until nobody waits for it any more (the breakers are open); then it is gone, and comes back.

    Away for longer it shows no more: by then all that could time out has, and attempts are as far apart as they get.
    """
    whole = start(cassandra=True)
    channel = Channel(whole, DEVICES)
    with channel.following, ExitStack() as later:
        with channel.talkers(pause_seconds=PAUSE_SECONDS) as talkers:
            talkers.gets_on(FEW)
            stack.cassandra.pause()
            talkers.gets_on(FEW)
            until(lambda: channel.unavailable() and broken(whole))
            stack.cassandra.kill()
            talkers.gets_on(FEW)
            assert channel.unavailable()
            later.enter_context(channel.one_more())
            until(channel.refusals)
            assert reached(whole) < whole.head(), "what it did not take is late and not left out"
            stack.cassandra.start()
            talkers.gets_on(FEW)
        assert talkers.unanswered == 0, "commands need no Cassandra"
        whole.caught_up()
        assert whole.all_alive()
        channel.assert_told(talkers)
    assert channel.refusals() == {"UNAVAILABLE"}


def broken(whole: Whole) -> bool:
    """Whether nobody asks Cassandra any more: neither who answers nor who folds the channel."""
    apis, workers = (
        [role.metric("moot_breaker_state", dependency="cassandra") for role in roles]
        for roles in (whole.apis, whole.workers)
    )
    return all(apis) and any(workers)


def reached(whole: Whole) -> int:
    """How far the messages are."""
    with connect(whole.conninfo) as connection:
        row = connection.execute("SELECT views.reached(%s)", ([ALL["messages"].name],)).fetchone()
    assert row is not None
    return int(row[0])
