"""Views rebuilt from the topics beside workers and a relay at work: none of them stops, and every row is right."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.settings import ROOT
from infra.stack import Stack
from projections.catalogue import ALL, GROUPS
from tests.stack.workers import Pauses, Site

EVENTS = 10_000
"""In the topics before the first rebuild."""
REBUILDS, REBUILDS_LONG = 3, 20
PAUSE_SECONDS_MAX = 5.0
SAMPLE_SECONDS = 0.05


@pytest.fixture
def site(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Site]:
    """A site on empty topics."""
    with Site(stack, server_database, tmp_path) as made:
        yield made


def test_all_views_are_rebuilt_beside_workers_at_work_again_and_again(
    request: pytest.FixtureRequest, site: Site
) -> None:
    with site.relayed():
        site.grow(EVENTS)
        workers = [site.worker(), site.worker()]
        site.caught_up()
        pauses = {group: Pauses(site, [projection.name for projection in GROUPS[group]]) for group in GROUPS}

        def look() -> None:
            for each in pauses.values():
                each.sample()

        with site.load():
            for _ in range(REBUILDS_LONG if request.config.getoption("--long") else REBUILDS):
                before = site.head
                done = _rebuilt(site, look, (0, 2))
                assert {view["differences"] for view in done["views"]} <= {0, None}, done
                assert {view["name"] for view in done["views"]} == ALL.keys()
                assert all(view["position"] >= before and view["parked"] == 0 for view in done["views"]), done
        site.caught_up()
        assert all(worker.alive for worker in workers)
        site.assert_right()
        # Nothing happens any more, so no live view is too far behind to be held against what is in the topics.
        assert {view["differences"] for view in _rebuilt(site, look)["views"]} == {0}
    longest = {group: round(each.longest, 1) for group, each in pauses.items()}
    sys.stderr.write(f"longest pauses of a partition beside rebuilds, in seconds: {longest}\n")
    assert max(longest.values()) < PAUSE_SECONDS_MAX, longest


def _rebuilt(site: Site, look: Callable[[], None], codes: Collection[int] = (0,)) -> Any:
    """What ``moot projections rebuild --all --compare`` says in the end; ``look`` is called often meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli", "projections", "rebuild", "--all", "--compare", "--output", "json"],
        cwd=ROOT,
        env=site.variables(site.workers[0].folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            look()
            time.sleep(SAMPLE_SECONDS)
        said, words = process.communicate()
    assert process.returncode in codes, words
    return json.loads(said)
