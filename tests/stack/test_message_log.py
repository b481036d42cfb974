"""The rows of a view in a real Cassandra, kept in one step with PostgreSQL: whoever dies wherever, nothing is lost or
doubled.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from psycopg import Connection, OperationalError

from infra.cassandra.errors import CassandraUnready
from infra.cassandra.log import LogStore
from infra.cassandra.schema import make_missing, missing
from infra.cassandra.tables import LogTable
from infra.log_memory import MemoryLog
from infra.partitions import enter_fleet
from infra.postgres import connect
from infra.rows import read_reached
from infra.secrets import load_or_create_secrets
from infra.settings import load_settings
from infra.stack import Stack
from projections.catalogue import ALL, GROUPS
from projections.core import Row, StaleCheckpoint
from schemas.envelope import Recorded
from streams import dead_letters
from streams.cli.session import NotSetUp, check_set_up, set_up
from streams.partitions import Delivery, PartitionFolder, join_fleet
from streams.worker.watchdog import Watchdog
from tests.partitions.delivering import by_place, deliveries, of
from tests.relay.world import declare
from tests.stack.log_site import SCORES, SECONDS, Crash, Site, log_site
from tests.stack.logged import LINES, lines, straight
from tests.stack.roles import until
from tests.worker.test_watchdog import LIMITS, Group, relayed


@pytest.fixture
def site(stack: Stack, server_database: str) -> Iterator[Site]:
    with log_site(stack, server_database) as made:
        yield made


class Worker:
    """Who folds both views from partitions, wherever they stand."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = PartitionFolder([LINES, SCORES], site.messages)
        self.connection: Connection[Any] = connect(site.database)
        join_fleet(self.connection, [LINES, SCORES])
        self.look()

    def look(self) -> None:
        self._folder.look(self.connection, self._folder.partitions)

    def take(self, partition: int, events: Sequence[Recorded]) -> None:
        for _ in self._folder.take(self.connection, [Delivery(partition, events)]):
            pass

    def close(self) -> None:
        self.connection.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_deliveries_in_any_order_with_deaths_and_late_writes_give_the_rows_of_a_straight_replay(
    site: Site, seed: int
) -> None:
    site.grow(1_500)
    random = Random(seed)
    workers = [Worker(site), Worker(site)]
    partitions = of(LINES, by_place(site.log))
    site.messages.dies = 0.2
    died = 0
    for delivery in deliveries(partitions, random, 60):
        while True:
            worker = random.choice(workers)
            try:
                worker.take(delivery.partition, delivery.events)
            except Crash:
                died += 1
                worker.look()
            except StaleCheckpoint:
                worker.look()
            else:
                break
    site.messages.dies = 0.0
    for number, events in partitions.items():
        workers[0].look()
        workers[0].take(number, events)
    for worker in workers:
        worker.close()
    assert died > 5
    assert site.rows() == straight(site.log)
    assert site.scores() == straight(site.log, SCORES)


def test_what_was_written_and_not_committed_is_not_folded_twice(site: Site) -> None:
    site.grow(600)
    worker = Worker(site)
    number, events = max(of(LINES, by_place(site.log)).items(), key=lambda item: len(item[1]))
    worker.connection.execute(
        "CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION USING ERRCODE = '57P01', MESSAGE = 'the commit fails'; END $$"
    )
    worker.connection.execute(
        "CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON views.checkpoints"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.fail()"
    )
    with pytest.raises(OperationalError, match="the commit fails"):
        worker.take(number, events)
    worker.connection.execute("DROP TRIGGER fail ON views.checkpoints")
    mine = straight(events)
    assert site.rows() == mine, "the rows were there before the commit"
    assert read_reached(site.connection)["lines"] == 0
    worker.look()
    worker.take(number, events[: len(events) // 2])
    assert site.rows() == mine, "rows that are ahead are left as they are"
    worker.take(number, events[len(events) // 2 :])
    assert site.rows() == mine
    worker.close()


def test_a_row_that_no_retry_can_store_parks_its_key_and_nothing_else(site: Site) -> None:
    head = site.grow(1_500)
    poisoned = lines(word="poison")
    runner = site.running(poisoned)
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    parked = set(dead_letters.parked_keys(site.connection, "lines"))
    assert parked
    expected = straight(site.log, lines(word="poison"))
    found = site.rows()
    assert {key: row for key, row in expected.items() if key not in parked} == {
        key: row for key, row in found.items() if key not in parked
    }
    for key in parked:
        # The next version of the fold takes them, after what was folded before.
        dead_letters.retry(site.connection, site.store, lines(word="ok"), key, message_log=site.messages)
    assert not dead_letters.parked_keys(site.connection, "lines")
    for key, row in site.rows().items():
        assert row.words.count("@") == expected[key].words.count("@")  # type: ignore[attr-defined]


def test_a_retry_that_was_cut_off_after_its_rows_were_written_folds_nothing_twice(site: Site) -> None:
    head = site.grow(1_500)
    runner = site.running(lines(word="poison"))
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    key = next(iter(dead_letters.parked_keys(site.connection, "lines")))

    def retry(log: LogStore) -> None:
        dead_letters.retry(site.connection, site.store, lines(word="ok"), key, message_log=log)

    class CutOff(LogStore):
        def save(self, table: LogTable, rows: Collection[Row]) -> None:
            super().save(table, rows)
            raise Crash

    with pytest.raises(Crash):
        retry(CutOff(site.messages.client))
    written = site.rows()[key]
    retry(site.messages)
    assert site.rows()[key] == written
    assert key not in dead_letters.parked_keys(site.connection, "lines")


def test_while_it_is_away_nothing_is_committed_and_then_everything(site: Site, stack: Stack) -> None:
    head = site.grow(500)
    runner = site.running()
    assert runner.wait(head, SECONDS), runner.trouble
    stack.proxy("cassandra").cut()
    head = site.grow(500)
    until(lambda: "CassandraAway" in (runner.trouble or ""))
    assert read_reached(site.connection)["lines"] < head
    stack.proxy("cassandra").heal()
    assert runner.wait(head, SECONDS), runner.trouble
    stack.cassandra.kill()
    head = site.grow(500)
    until(lambda: "CassandraAway" in (runner.trouble or ""))
    stack.cassandra.start()
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    assert site.rows() == straight(site.log)


def test_a_worker_that_waits_for_it_is_not_ended_by_its_watchdog(site: Site, stack: Stack) -> None:
    ended: list[str] = []
    log = MemoryLog()
    declare(log)
    enter_fleet(site.connection, GROUPS["people"])
    relayed(site.connection, 1000, 5)
    dog = Watchdog(site.database, log, lambda: [Group()], LIMITS, messages=site.messages, end=ended.append)
    dog.look(0)
    stack.proxy("cassandra").cut()
    until(site.messages.trouble)
    for now in range(5, 300, 5):
        dog.look(now)
    assert not ended
    stack.proxy("cassandra").heal()
    until(lambda: site.messages.trouble() is None)
    dog.look(310)
    assert not ended
    dog.look(400)
    assert ended
    dog.stop()


def test_tables_are_made_once_and_anew_where_they_were_lost(site: Site) -> None:
    head = site.grow(300)
    runner = site.running()
    assert runner.wait(head, SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    assert missing(site.messages, site.connection, [LINES, SCORES]) == []
    assert make_missing(site.messages, site.connection, [LINES, SCORES]) == []
    live = site.named()[0]
    site.messages.client.change_schema(f"DROP TABLE {site.messages.client.named(live)}")
    runner = site.running()
    until(lambda: "CassandraUnready" in (runner.trouble or "")) if site.grow(50) else None
    assert runner.stop(SECONDS)
    assert make_missing(site.messages, site.connection, [LINES]) == ["lines"]
    assert site.named()[0] != live
    runner = site.running()
    assert runner.wait(len(site.log), SECONDS), runner.trouble
    assert runner.stop(SECONDS)
    assert site.rows() == straight(site.log)


def test_nobody_looks_for_messages_where_they_are_not(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALL, "lines", LINES)
    load_or_create_secrets(tmp_path, has_data=False)
    with pytest.raises(NotSetUp, match="MOOT_CASSANDRA_URL is not set"):
        set_up(site.database, tmp_path)
    set_up(site.database, tmp_path, site.messages)
    engines = {"database_url": site.database, "redis_url": "redis://nowhere", "data_dir": tmp_path}
    check_set_up(load_settings({}, cassandra_url=site.url, **engines))
    with pytest.raises(NotSetUp, match="MOOT_CASSANDRA_URL is not set"):
        check_set_up(load_settings({}, **engines))
    assert site.connection.execute("SELECT to_regclass('views.lines')").fetchone() == (None,)
    site.connection.execute("DELETE FROM views.logs")
    with pytest.raises(NotSetUp, match="not kept in Cassandra yet") as failure:
        check_set_up(load_settings({}, cassandra_url=site.url, **engines))
    assert failure.value.fix == "moot migrate"


def test_a_view_without_a_table_is_said(site: Site) -> None:
    site.grow(100)
    worker = Worker(site)
    site.connection.execute("DELETE FROM views.logs")
    number, events = max(of(LINES, by_place(site.log)).items(), key=lambda item: len(item[1]))
    with pytest.raises(CassandraUnready, match="moot migrate"):
        worker.take(number, events)
    worker.close()
