"""When a worker is taken for stuck, and when it is not."""

import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import psycopg
import pytest

from infra import migrate
from infra.log_memory import MemoryLog
from infra.partitions import enter_fleet
from infra.postgres import connect
from projections.catalogue import GROUPS
from streams.worker.limits import WorkerLimits
from streams.worker.watchdog import Watchdog
from tests.relay.world import declare

LIMITS = WorkerLimits(stall_seconds_max=60)


class Group:
    """A group that does as it is told."""

    group = "people"

    def __init__(self) -> None:
        self.held: list[int] = [1000, 1001]
        self.read: dict[int, int] = {}

    def views(self) -> Collection[str]:
        return ["profiles", "follows"]

    def holds(self) -> Collection[int]:
        return self.held

    def furthest(self) -> Mapping[int, int]:
        return self.read


@pytest.fixture
def connection(database: str) -> Iterator[Any]:
    migrate.migrate(database)
    with connect(database) as connection:
        enter_fleet(connection, GROUPS["people"])
        yield connection


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    declare(log)
    return log


@pytest.fixture
def watchdog(database: str, log: MemoryLog, connection: Any, ended: list[str]) -> Iterator[tuple[Watchdog, Group]]:
    group = Group()
    dog = Watchdog(database, log, lambda: [group], LIMITS, end=ended.append)
    yield dog, group
    dog.stop()


def relayed(connection: Any, partition: int, position: int) -> None:
    connection.execute(
        "INSERT INTO log.relayed VALUES (%s, %s) ON CONFLICT (partition) DO UPDATE SET position = excluded.position",
        (partition, position),
    )


def folded(connection: Any, name: str, partition: int, position: int) -> None:
    connection.execute(
        "UPDATE views.checkpoints SET position = %s WHERE projection = %s AND partition = %s",
        (position, name, partition),
    )


def test_what_does_not_move_while_there_is_more_is_ended(
    watchdog: tuple[Watchdog, Group], connection: Any, ended: list[str]
) -> None:
    dog, _ = watchdog
    relayed(connection, 1000, 5)
    dog.look(0)
    dog.look(59)
    assert not ended
    dog.look(60)
    assert "people has committed nothing for 60 s, in 1 partitions" in ended[0]


def test_every_commit_starts_the_clock_again(
    watchdog: tuple[Watchdog, Group], connection: Any, ended: list[str]
) -> None:
    dog, _ = watchdog
    relayed(connection, 1000, 5)
    dog.look(0)
    folded(connection, "profiles", 1000, 5)
    dog.look(50)
    dog.look(109)
    assert not ended
    dog.look(110)
    assert ended, "one view of two does not move"


def test_reading_what_is_known_is_getting_on(
    watchdog: tuple[Watchdog, Group], connection: Any, ended: list[str]
) -> None:
    dog, group = watchdog
    relayed(connection, 1000, 5)
    for now in range(0, 300, 30):
        group.read[1000] = now
        dog.look(now)
    assert not ended


def test_who_has_nothing_to_fold_is_left_alone(
    watchdog: tuple[Watchdog, Group], connection: Any, ended: list[str]
) -> None:
    dog, group = watchdog
    for now in range(0, 300, 30):
        dog.look(now)
    relayed(connection, 1003, 5)
    for now in range(300, 600, 30):
        dog.look(now)
    group.held = []
    relayed(connection, 1000, 5)
    for now in range(600, 900, 30):
        dog.look(now)
    assert not ended, "the partition is not its own"


def test_while_the_log_is_away_nothing_is_held_against_it(
    watchdog: tuple[Watchdog, Group], log: MemoryLog, connection: Any, ended: list[str]
) -> None:
    """What was sent and not read when the broker went cannot be read: its time begins when the broker is back."""
    dog, _ = watchdog
    relayed(connection, 1000, 5)
    dog.look(0)
    log.refuse = True
    for now in range(5, 300, 5):
        dog.look(now)
    log.refuse = False
    dog.look(354)
    assert not ended
    dog.look(356)
    assert "people has committed nothing for 6" in ended[0]


def test_while_postgresql_is_away_nothing_is_held_against_it(
    watchdog: tuple[Watchdog, Group], connection: Any, ended: list[str]
) -> None:
    dog, _ = watchdog
    relayed(connection, 1000, 5)
    dog.look(0)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(psycopg.Error):
        dog.look(70)
    assert not ended


def test_a_watchdog_that_stumbles_goes_on(database: str, log: MemoryLog, connection: Any, ended: list[str]) -> None:
    looked = threading.Semaphore(0)

    def watched() -> list[Group]:
        looked.release()
        raise RuntimeError("for the test")

    dog = Watchdog(database, log, watched, WorkerLimits(watch_seconds=0.01), end=ended.append)
    dog.start()
    assert all(looked.acquire(timeout=10) for _ in range(3))
    dog.stop()
    assert not ended
