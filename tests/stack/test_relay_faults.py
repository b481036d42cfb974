"""The relay against faults of every kind, on real servers; after each, every event is in Kafka exactly once."""

import json
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from secrets import token_bytes

import pytest

from commands.ports import Append
from domain.name import NameClaimed
from infra.event_log import LogRecord
from infra.postgres import connect
from infra.secrets import FILE_NAME, KEY_LENGTH, Secrets
from infra.settings import ROOT
from infra.stack import Stack
from schemas.topics import AUTHOR_KEYS, PEOPLE, THREADS, partition_of
from streams.log_audit import audit
from tests.conformance.event_store import meta, new_id
from tests.databases import database_on
from tests.relay.world import MASTER_KEY, store_of, stored
from tests.stack.relays import Fleet
from tests.stack.roles import proxied, until
from tests.stack.segments import cut_tail

Start = Callable[..., Fleet]

ROUNDS = 5
GONE_SECONDS = 60.0
"""How long a broker is gone in the longest of these tests."""
FROZEN_SECONDS = 8.0
SMALL = 40
"""Events in a batch, so few that the relay is nearly always in the middle of one."""


@pytest.fixture
def start(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Start]:
    """A fleet under load, on empty topics."""
    fleets: list[Fleet] = []

    def one(**settings: object) -> Fleet:
        fleet = Fleet(stack, server_database, tmp_path, **settings)
        fleets.append(fleet)
        fleet.begin_load()
        return fleet

    yield one
    for fleet in fleets:
        with fleet:
            pass


@pytest.mark.parametrize("seed", [1, 2])
def test_a_relay_killed_at_any_moment(start: Start, seed: int) -> None:
    random = Random(seed)
    fleet = start(relay_batch_events_max=random.choice([100, 5000]))
    for _ in range(ROUNDS):
        relay = fleet.relay()
        relay.says("is leading")
        fleet.moves_on()
        time.sleep(random.uniform(0, 0.5))
        relay.kill()
    fleet.relay()
    fleet.finish()


def test_a_relay_killed_while_it_catches_up(start: Start) -> None:
    """The backlog is sent in many transactions, so that a kill is nearly always in one."""
    random = Random(3)
    fleet = start(relay_batch_events_max=200)
    time.sleep(1)
    fleet.end_load()
    fleet.head = fleet.history.grow(60_000)
    sent = 0
    for _ in range(ROUNDS):
        relay = fleet.relay()
        relay.says("is leading")
        time.sleep(random.uniform(0.05, 0.3))
        relay.kill()
        assert fleet.standing().sent >= sent
        sent = fleet.standing().sent
    fleet.relay()
    fleet.finish()


def test_of_two_relays_the_other_takes_over_each_time(start: Start) -> None:
    fleet = start()
    leader = fleet.relay()
    leader.says("is leading")
    for _ in range(4):
        other = fleet.relay()
        other.says("standing by")
        fleet.moves_on()
        leader.kill()
        assert fleet.moves_on() < 30
        other.says("is leading")
        leader = other
    fleet.finish()


def test_a_relay_told_to_stop_does_so_cleanly_and_soon(start: Start) -> None:
    fleet = start()
    relay = fleet.relay()
    fleet.moves_on()
    assert relay.stop(20) == 0
    assert "has stopped after event" in relay.said()
    fleet.relay()
    fleet.finish()


def test_a_frozen_leader_is_replaced_and_does_no_harm_when_it_wakes(start: Start) -> None:
    fleet = start(relay_silent_seconds_max=2, relay_batch_events_max=SMALL)
    zombie = fleet.relay()
    zombie.says("is leading")
    other = fleet.relay()
    other.says("standing by")
    for _ in range(3):
        fleet.moves_on()
        zombie.pause()
        other.says("is leading")
        fleet.moves_on()
        zombie.resume()
        fleet.moves_on()
        zombie.says("standing by")
        fresh = fleet.relay()
        fresh.says("standing by")
        other, zombie = fresh, other
        fleet.relays[-3].kill()
    fleet.finish()


def test_two_that_both_believe_to_lead(start: Start) -> None:
    """The lock of one is given to another without its knowledge: only the log itself stands between them."""
    fleet = start(relay_batch_events_max=SMALL)
    first = fleet.relay()
    first.says("is leading")
    second = fleet.relay()
    second.says("standing by")
    for relay in (first, second, first):
        fleet.moves_on()
        relay.pause()
        with connect(fleet.conninfo) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        fleet.moves_on()
        relay.resume()
        fleet.moves_on()
    assert first.alive
    assert second.alive
    fleet.finish()


def test_a_broker_killed_and_started_again(start: Start) -> None:
    fleet = start()
    relay = fleet.relay()
    for _ in range(2):
        fleet.moves_on()
        fleet.stack.kafka.kill()
        time.sleep(1)
        fleet.stack.kafka.start()
        fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_a_broker_that_lost_the_end_of_some_partitions_in_a_power_cut(start: Start) -> None:
    """It acknowledges from its page cache: each partition ends where the disk did, the others have what came later."""
    fleet = start(relay_batch_events_max=SMALL)
    relay = fleet.relay()
    fleet.until(lambda found: found.sent > 2_000)
    assert relay.stop() == 0
    fleet.stack.kafka.kill()
    for partition, transactions in ((2, 1), (5, 4), (7, 9)):
        cut_tail(fleet.stack.kafka.folder, THREADS.name, partition, transactions)
    cut_tail(fleet.stack.kafka.folder, AUTHOR_KEYS.name, 0, 4)
    fleet.stack.kafka.start()
    with connect(fleet.conninfo) as connection:
        found = audit(connection, fleet.log, erased_seconds_max=0)
    assert found.missing.count > 3
    assert found.keys_missing.count > 0
    fleet.relay().says("lost events that Kafka had acknowledged: they are sent again")
    fleet.moves_on()

    def keys_are_there() -> bool:
        with connect(fleet.conninfo) as connection:
            return not audit(connection, fleet.log, erased_seconds_max=0).keys_missing.count

    until(keys_are_there)
    fleet.finish()


def test_a_broker_that_lost_its_end_while_the_relay_had_nothing_to_send(start: Start) -> None:
    """The relay asked for nothing meanwhile, so nothing failed; what it sends next must not hide what is missing.

    A partition that is written to by the producers in turn, and lost what one of them wrote: the other knows nothing.
    """
    fleet = start()
    relay = fleet.relay()
    fleet.moves_on()
    fleet.end_load()
    holder = new_id()
    with store_of(fleet.conninfo) as store:

        def grow() -> None:
            claim = Append(new_id(), 0, (NameClaimed("account", holder),))
            fleet.head = store.append_sync([claim], meta())
            fleet.moves_on()

        for _ in range(4):
            grow()
        fleet.stack.kafka.kill()
        cut_tail(fleet.stack.kafka.folder, PEOPLE.name, partition_of(holder, PEOPLE.partitions), 1)
        fleet.stack.kafka.start()
        for _ in range(4):
            grow()
    assert relay.alive
    fleet.finish()


def test_a_broker_that_is_frozen(start: Start) -> None:
    fleet = start()
    relay = fleet.relay()
    for _ in range(2):
        fleet.moves_on()
        fleet.stack.kafka.pause()
        time.sleep(FROZEN_SECONDS)
        fleet.stack.kafka.resume()
        fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_a_broker_frozen_for_longer_than_a_transaction_may_take(start: Start) -> None:
    fleet = start(kafka_transaction_seconds_max=3, kafka_request_seconds_max=1)
    relay = fleet.relay()
    fleet.moves_on()
    fleet.stack.kafka.pause()
    relay.says("is waiting")
    time.sleep(FROZEN_SECONDS)
    fleet.stack.kafka.resume()
    fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_answers_that_are_cut_off(start: Start, stack: Stack) -> None:
    """Connections are cut in the middle of replies: what was asked for has happened, and nobody was told."""
    random = Random(4)
    fleet = start(
        kafka_url=stack.kafka.proxied_url,
        relay_batch_events_max=SMALL,
        kafka_transaction_seconds_max=2,
        kafka_request_seconds_max=1,
    )
    relay = fleet.relay()
    for _ in range(ROUNDS):
        fleet.moves_on()
        stack.proxy("kafka").cut_after(random.randrange(50, 3_000))
        time.sleep(random.uniform(0.5, 3))
        stack.proxy("kafka").heal()
    fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_answers_that_never_come(start: Start, stack: Stack) -> None:
    """The broker hears the relay and does what it is asked; the relay does not hear the broker."""
    fleet = start(
        kafka_url=stack.kafka.proxied_url,
        relay_batch_events_max=SMALL,
        kafka_transaction_seconds_max=2,
        kafka_request_seconds_max=1,
    )
    relay = fleet.relay()
    for _ in range(3):
        fleet.moves_on()
        stack.proxy("kafka").partition(["downstream"])
        time.sleep(3)
        stack.proxy("kafka").heal()
    fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_a_postgresql_frozen_for_longer_than_a_relay_waits(start: Start) -> None:
    """It lets go of the leader, and finds itself followed by nobody, or by the other, when all go on."""
    fleet = start(relay_silent_seconds_max=2)
    leader = fleet.relay()
    leader.says("is leading")
    other = fleet.relay()
    other.says("standing by")
    for _ in range(2):
        fleet.moves_on()
        waited = leader.said().count("is waiting") + other.said().count("is waiting")
        fleet.stack.postgres.pause()
        time.sleep(FROZEN_SECONDS)
        fleet.stack.postgres.resume()
        assert leader.said().count("is waiting") + other.said().count("is waiting") >= waited + 2
        fleet.moves_on()
    assert leader.alive
    assert other.alive
    fleet.finish()


def test_answers_of_postgresql_that_are_cut_off(start: Start, server_database: str, stack: Stack) -> None:
    """In the middle of a page, or of what is kept of the progress: what Kafka has is what counts."""
    random = Random(5)
    fleet = start(database_url=proxied(server_database, stack), relay_batch_events_max=SMALL)
    relay = fleet.relay()
    for direction in ("downstream", "upstream") * ROUNDS:
        fleet.moves_on()
        waited = relay.said().count("is waiting")
        stack.proxy("postgres").cut_after(random.randrange(2_000, 200_000), direction)
        relay.says("is waiting", times=waited + 1)
        stack.proxy("postgres").heal()
    fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_a_broker_that_is_gone_for_a_minute(start: Start) -> None:
    fleet = start()
    relay = fleet.relay()
    fleet.moves_on()
    fleet.stack.kafka.kill()
    time.sleep(GONE_SECONDS)
    assert "is waiting" in relay.said()
    fleet.stack.kafka.start()
    fleet.moves_on()
    assert relay.alive
    fleet.finish()


def test_a_relay_stops_also_while_its_broker_is_frozen(start: Start) -> None:
    fleet = start()
    relay = fleet.relay()
    fleet.moves_on()
    fleet.stack.kafka.pause()
    time.sleep(1)
    began = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - began < 20
    fleet.stack.kafka.resume()
    fleet.relay()
    fleet.finish()


def moot(fleet: Fleet, folder: Path, *words: str, database_url: str | None = None) -> tuple[int, str, str]:
    """Run ``moot``; its exit code, what it gave and what it said."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "streams.cli", *words],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "MOOT_DATA_DIR": str(folder),
            "MOOT_DATABASE_URL": database_url or fleet.conninfo,
            "MOOT_REDIS_URL": fleet.stack.redis.url,
            "MOOT_KAFKA_URL": fleet.stack.kafka.url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def keep_secrets(folder: Path) -> None:
    """The secrets.json of the installation whose events these are."""
    folder.mkdir()
    keys = {name: MASTER_KEY if name == "master_key" else token_bytes(KEY_LENGTH) for name in Secrets.__struct_fields__}
    path = folder / FILE_NAME
    path.touch(mode=0o600)
    path.write_text(json.dumps({name: b64encode(key).decode() for name, key in keys.items()}), encoding="ascii")


@pytest.fixture
def empty(server_database: str) -> Iterator[str]:
    """A second database on the same server, with nothing in it."""
    with database_on(server_database, "restored") as conninfo:
        yield conninfo


def test_a_lost_store_is_restored_and_its_views_with_it(start: Start, empty: str, tmp_path: Path) -> None:
    fleet = start()
    fleet.relay()
    fleet.moves_on()
    fleet.finish()
    somebody_else = fleet.log.writer()
    somebody_else.write([LogRecord(THREADS.name, 0, b"k", b"garbage")])
    somebody_else.close()
    folder = tmp_path / "data"
    keep_secrets(folder)
    code, given, said = moot(fleet, folder, "log", "restore", "--output", "json", database_url=empty)
    assert code == 0, said
    assert (json.loads(given)["events"], json.loads(given)["foreign"]) == (fleet.head, 1)
    assert "1 record passed over" in said
    assert stored(empty) == stored(fleet.conninfo)
    code, given, said = moot(fleet, folder, "projections", "rebuild", "--all", "-o", "json", database_url=empty)
    assert code == 0, said
    assert json.loads(given)["foreign"] == 1
    assert {view["position"] for view in json.loads(given)["views"]} == {fleet.head}
    assert {view["parked"] for view in json.loads(given)["views"]} == {0}
    code, _, said = moot(fleet, folder, "log", "restore", database_url=empty)
    assert (code, "not empty" in said) == (3, True)
    code, given, _ = moot(fleet, folder, "log", "audit", "-o", "json", database_url=empty)
    assert (code, json.loads(given)["foreign"]["count"], json.loads(given)["missing"]["count"]) == (1, 1, 0)


def test_the_commands(start: Start, tmp_path: Path) -> None:
    fleet = start()
    folder = tmp_path / "data"
    assert moot(fleet, folder, "topics", "apply", "--check") == (0, "", "The topics are as they are declared.\n")
    assert moot(fleet, folder, "log", "status")[0] == 1
    fleet.relay()
    fleet.finish()
    code, given, _ = moot(fleet, folder, "log", "audit", "--output", "json")
    assert (code, json.loads(given)["perfect"], json.loads(given)["records"]) == (0, True, fleet.head)
    code, given, _ = moot(fleet, folder, "log", "status", "--output", "json")
    assert (code, json.loads(given)["sent"]) == (0, fleet.head)
    code, _, said = moot(fleet, folder, "log", "restore")
    assert (code, "secrets.json is missing" in said) == (1, True)
    assert stored(fleet.conninfo)
