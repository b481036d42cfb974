"""Workers killed at random moments: 20 of them while 300,000 votes are cast, and every score and karma is right.

All seeds run on one site, one after the other. Each casts its part of the votes and kills one of three workers at a
moment of its own: by how much of its part is folded, and up to a few milliseconds later, so that it is in the middle of
folding, of a commit or between two. One of the three has only just been started, so that it often is in the middle of a
rebalance as well. The next seed begins when what the killed one had is folded by the others.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from domain.ballot import VoteCast
from infra.postgres import connect
from infra.rows_memory import MemoryViews
from infra.stack import Stack
from projections.catalogue import ALL, GROUPS
from projections.stepping import step
from tests.equivalence.histories import MIXED
from tests.equivalence.recording import Recording
from tests.equivalence.test_equivalence import table_rows
from tests.stack.workers import Site

SEEDS, RUNS_LONG = 20, 20
"""Of a run; with ``--seeds`` as many as that says, and with ``--long`` so many runs, each with seeds of its own."""
VOTES = 15_000
"""Of each seed."""
WEIGHTS = MIXED | {"vote": 10 * MIXED["vote"]}
EVENTS = 16_600
"""Of each seed: enough for its votes, of which there are some more, with all else that happens on a site."""
GROUP = "votes"
"""Of the workers: all views that votes are folded into, scores and karma among them."""
VIEWS = [projection.name for projection in GROUPS[GROUP]]
COMPARED = ("scores", "karma")
"""After each seed; all views of the group in the end."""
LATER_SECONDS_MAX = 0.05


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each run with its seeds."""
    if "seeds" in metafunc.fixturenames:
        count = metafunc.config.getoption("--seeds") or SEEDS
        runs = RUNS_LONG if metafunc.config.getoption("--long") else 1
        every = [range(1 + run * count, 1 + (run + 1) * count) for run in range(runs)]
        metafunc.parametrize("seeds", every, ids=[f"{seeds[0]}-{seeds[-1]}" for seeds in every])


class Straight:
    """Some views of a site as they must be, folded as its history grows."""

    def __init__(self, site: Site, names: Sequence[str]) -> None:
        self._site = site
        self._names = names
        self._recording = Recording()
        self._views = MemoryViews()

    def assert_right(self) -> None:
        """Every row of theirs is as if the log had been folded straight."""
        before = self._recording.position
        new = self._recording.go_on(self._site.history.happened[before:])
        with connect(self._site.conninfo) as connection:
            connection.execute("SET timezone = 'UTC'")
            for name in self._names:
                with self._views.transaction(ALL[name]) as rows:
                    step(ALL[name], new, rows, expected=before, to=self._recording.position)
                assert table_rows(connection, ALL[name]) == self._views.tables[name], f"{name}\n{self._site.said()}"


@pytest.fixture
def site(stack: Stack, server_database: str, tmp_path: Path, seeds: Sequence[int]) -> Iterator[Site]:
    """One on empty topics, whose workers are missed soon."""
    with Site(
        stack,
        server_database,
        tmp_path,
        seed=seeds[0],
        weights=WEIGHTS,
        worker_session_seconds=2,
        worker_heartbeat_seconds=0.3,
    ) as site:
        yield site


def test_workers_killed_at_random_moments(site: Site, seeds: Sequence[int]) -> None:
    straight = Straight(site, COMPARED)
    with site.relayed(), ThreadPoolExecutor(1) as aside:
        workers = [site.worker(GROUP), site.worker(GROUP)]
        for seed in seeds:
            random, before = Random(seed), site.head
            workers.append(site.worker(GROUP))
            growing = aside.submit(site.grow, EVENTS)
            due = before + random.random() * EVENTS
            site.until(lambda due=due: site.about("scores") >= due, 60)  # type: ignore[misc]
            time.sleep(random.uniform(0, LATER_SECONDS_MAX))
            workers.pop(random.randrange(3)).kill()
            growing.result()
            site.caught_up(names=VIEWS)
            straight.assert_right()
    assert sum(type(one.event) is VoteCast for one in site.history.happened) >= VOTES * len(seeds)
    assert sum(not worker.alive for worker in site.workers) == len(seeds)
    Straight(site, VIEWS).assert_right()
    with connect(site.conninfo) as connection:
        assert connection.execute("SELECT FROM views.dead_letters LIMIT 1").fetchall() == []
