"""A view in a real Cassandra is built anew beside the live one, compared, exchanged and taken back."""

from collections.abc import Iterator

import pytest

from infra.cassandra.schema import tables
from infra.cassandra.shadow import LogShadow
from infra.postgres import connect
from infra.stack import Stack
from projections.stepping import step
from streams import dead_letters
from streams.careful import step_carefully
from streams.rebuild import RebuildFailure
from streams.views import NoPrevious, roll_back
from tests.stack.log_site import SECONDS, Crash, Site, log_site
from tests.stack.logged import LINES, lines, straight


@pytest.fixture
def site(stack: Stack, server_database: str) -> Iterator[Site]:
    with log_site(stack, server_database) as made:
        yield made


def test_a_rebuild_stands_beside_takes_the_place_and_can_be_taken_back(site: Site) -> None:
    head = site.grow(2_000)
    runner = site.running()
    assert runner.wait(head, SECONDS), runner.trouble
    first, before = site.named()[0], straight(site.log)
    assert site.rebuild(compare=True).differences == 0
    second, previous, left = site.named()
    assert (previous, left) == (first, None)
    head = site.grow(500)
    assert runner.wait(head, SECONDS), runner.trouble
    assert site.rows(second) == straight(site.log), "the runner went on in the new table"
    assert site.rows(first) == before, "and left the old one as it was"
    assert site.rebuild().differences is None
    assert tables(site.messages.client) == {site.named()[0], second}, "the one before the last is gone"
    stands = roll_back(site.connection, LINES, message_log=site.messages)
    assert stands == head
    assert site.named() == (second, None, None)
    assert tables(site.messages.client) == {second}
    with pytest.raises(NoPrevious):
        roll_back(site.connection, LINES, message_log=site.messages)
    head = site.grow(200)
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    assert site.rows() == straight(site.log)


def test_a_rebuild_while_the_log_grows_loses_nothing(site: Site) -> None:
    head = site.grow(1_000)
    runner = site.running()
    for _ in range(3):
        head = site.grow(400)
        assert site.rebuild(compare=True).differences == 0
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    assert site.rows() == straight(site.log)


def test_a_comparison_counts_what_is_not_in_both(site: Site) -> None:
    head = site.grow(1_000)
    runner = site.running()
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    table = site.messages.named(LINES, site.named()[0])
    of = " AND ".join(f"{name} = ?" for name in (*table.partition, table.clustering))
    keys = sorted(site.rows())[:3]  # type: ignore[type-var]  # tuples
    for key in keys:
        site.messages.client.run(
            f"DELETE FROM {table.name} WHERE {of}",
            [*table.partition_values(key[:-1]), key[-1]],  # type: ignore[index]
        )
    assert site.rebuild(compare=True).differences == 3
    assert site.rows() == straight(site.log)


def test_another_version_is_built_beside_and_a_killed_rebuild_leaves_nothing_for_good(site: Site) -> None:
    head = site.grow(800)
    runner = site.running()
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    second = lines(version=2, word="v2 ")
    live = site.named()[0]
    site.messages.dies = 1.0
    with pytest.raises(Crash):
        site.rebuild(second)
    site.messages.dies = 0.0
    assert site.named()[0] == live
    left = site.named()[2]
    assert left in tables(site.messages.client)
    site.rebuild(second)
    assert tables(site.messages.client) == {site.named()[0], live}
    assert site.rows(projection=second) == straight(site.log, second)
    assert site.rows(live) == straight(site.log)


def test_a_rebuild_that_meets_what_cannot_be_stored_parks_it_as_the_runner_does(site: Site) -> None:
    site.grow(1_000)
    poisoned = lines(word="poison")
    runner = site.running(poisoned)
    assert runner.wait(len(site.log), SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    rows, parked = site.rows(), sorted(map(str, dead_letters.parked_keys(site.connection, "lines")))
    assert parked
    assert site.rebuild(poisoned, compare=True).differences == 0
    assert site.rows() == rows
    assert sorted(map(str, dead_letters.parked_keys(site.connection, "lines"))) == parked


def test_a_step_of_a_rebuild_that_was_given_up_is_not_folded_twice(site: Site) -> None:
    site.grow(600)
    page = site.log[:400]

    def give_up(shadow: LogShadow) -> None:
        with shadow.attempt():
            step(LINES, page, shadow.stepping(), expected=0, to=page[-1].position)
            raise Crash

    with connect(site.database) as connection:
        shadow = LogShadow(connection, LINES, site.messages)
        shadow.create()
        shadow.index()
        with pytest.raises(Crash):
            give_up(shadow)
        assert shadow.position == 0
        assert site.rows(site.named()[2]) == straight(page), "the rows were written"
        step_carefully(shadow, page)
        assert site.rows(site.named()[2]) == straight(page)


def test_a_rebuild_without_its_store_says_so_and_changes_nothing(site: Site, stack: Stack) -> None:
    site.grow(300)
    before = site.named()
    stack.proxy("cassandra").cut()
    with pytest.raises(RebuildFailure, match="did not answer"):
        site.rebuild()
    assert site.named()[:2] == before[:2]
