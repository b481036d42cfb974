"""What ``moot doctor`` finds in a fleet, one check at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from infra.event_log import TopicState
from infra.event_store import postgres_store
from infra.migrate import migrate
from infra.postgres import connect
from infra.settings import load_settings
from streams.cli.doctor_fleet import CHECKS, topics_otherwise
from streams.cli.findings import CLOCK_SECONDS_MAX, Finding
from streams.topic_plan import plan
from tests.conformance.event_store import meta, new_id, one


def clock(database: str, off_seconds: Sequence[float]) -> Finding:
    """What is found of the clocks once machines that are so much off have written, one after another."""
    migrate(database)
    for seconds in off_seconds:
        off = timedelta(seconds=seconds)
        store = postgres_store(database, bytes(32), clock=lambda off=off: datetime.now(UTC) + off)
        store.append_sync(one(new_id()), meta())
        store.close()
    return CHECKS["clock"](load_settings({}, database_url=database))


@pytest.mark.parametrize("off", [[], [0.0], [0.0, 0.0], [CLOCK_SECONDS_MAX / 2, 0.0]])
def test_clocks_that_agree(database: str, off: list[float]) -> None:
    assert clock(database, off).ok


@pytest.mark.parametrize("off", [[3_600.0, 0.0], [0.0, -3_600.0], [0.0, -3_600.0, 0.0]])
def test_a_machine_that_writes_with_another_clock_is_named(database: str, off: list[float]) -> None:
    """By it the lag in seconds is too little, or too much, and nothing else would say so."""
    found = clock(database, off)
    assert not found.ok
    assert "before that of an earlier one" in found.found
    assert "RelayBehind" in found.fix


def test_a_machine_that_is_ahead_and_wrote_last(database: str) -> None:
    assert "before the newest event" in clock(database, [3_600.0]).found


def test_numbers_of_who_makes_ids(database: str) -> None:
    migrate(database)
    check, settings = CHECKS["message ids"], load_settings({}, database_url=database)
    assert check(settings) == Finding("message ids", True, "0 of 1,024 numbers are held by processes that make ids")
    with connect(database) as connection:
        connection.execute("UPDATE log.id_workers SET until_ms = log.id_clock_ms() + 60000")
    found = check(settings)
    assert (found.ok, found.found.split()[0]) == (False, "1,024")
    assert found.fix


def test_a_topic_with_other_partitions_is_not_for_topics_apply_to_mend() -> None:
    """That refuses: what it advises must not lead back to it."""
    missing = plan({}, replicas=1, record_bytes_max=1)
    assert topics_otherwise(missing).fix == "moot topics apply"
    otherwise = plan({"moot.people": TopicState(1, 1, {})}, replicas=1, record_bytes_max=1)
    found = topics_otherwise(otherwise)
    assert "moot.people: refused, it has 1 partition, declared are 4" in found.found
    assert "delete that topic" in found.fix
