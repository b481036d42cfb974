"""PostgreSQL behind a network that falls silent for good, while another way leads to it: nobody waits there for ever.

The proxy is frozen, so that not even the end of a connection comes through. A conninfo that names both ways, the silent
one first, leads back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.log_memory import MemoryLog
from infra.migrate import migrate
from infra.postgres import connect
from infra.stack import Stack
from infra.watch import Listener
from streams.worker.limits import WorkerLimits
from streams.worker.watchdog import Watchdog
from tests.relay.world import declare
from tests.stack.relays import Fleet
from tests.stack.roles import proxied
from tests.worker.test_watchdog import Group

Silence = Callable[[], None]

SECONDS_MAX = 60.0
SILENT_SECONDS = 2


def both_ways(conninfo: str, stack: Stack) -> str:
    """Through the fault proxy, and where that does not answer, directly."""
    ways = [conninfo_to_dict(proxied(conninfo, stack)), conninfo_to_dict(conninfo)]
    hosts, ports = (",".join(str(way[name]) for way in ways) for name in ("host", "port"))
    return make_conninfo(conninfo, host=hosts, port=ports)


@pytest.fixture
def ways(server_database: str, stack: Stack) -> str:
    return both_ways(server_database, stack)


@pytest.fixture
def silence(stack: Stack) -> Iterator[Silence]:
    """Has nothing go through the proxy any more, for the rest of the test."""
    yield stack.servers["toxiproxy"].pause
    stack.servers["toxiproxy"].resume()


@pytest.fixture
def fleet(stack: Stack, server_database: str, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(stack, server_database, tmp_path, relay_silent_seconds_max=SILENT_SECONDS) as fleet:
        yield fleet


def test_a_relay_lets_go_says_so_and_leads_again(fleet: Fleet, silence: Silence, ways: str) -> None:
    fleet.begin_load()
    relay = fleet.relay(database_url=ways)
    relay.says("is leading")
    fleet.moves_on()
    silence()
    relay.says("is waiting: NoAnswer")
    relay.says("is leading from event", times=2)
    fleet.moves_on()
    fleet.finish()


def test_another_relay_leads_meanwhile(fleet: Fleet, stack: Stack, silence: Silence, server_database: str) -> None:
    fleet.begin_load()
    lost = fleet.relay(database_url=proxied(server_database, stack))
    lost.says("is leading")
    other = fleet.relay()
    other.says("standing by")
    silence()
    lost.says("is waiting: NoAnswer")
    other.says("is leading")
    fleet.moves_on()
    assert lost.alive
    fleet.finish()


def test_a_watchdog_is_blind_and_no_more(server_database: str, stack: Stack, silence: Silence) -> None:
    migrate(server_database)
    log = MemoryLog()
    declare(log)
    dog = Watchdog(proxied(server_database, stack), log, lambda: [Group()], WorkerLimits())
    dog.look(0)
    silence()
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        dog.look(5)
    assert time.monotonic() - began < SECONDS_MAX / 2
    dog.stop()


def test_who_listens_hears_again(server_database: str, silence: Silence, ways: str) -> None:
    heard = threading.Semaphore(0)
    listener = Listener(ways, "silence", heard.release, silent_seconds_max=SILENT_SECONDS)
    try:
        assert heard.acquire(timeout=SECONDS_MAX), "connected"
        silence()
        with connect(server_database) as connection:
            while heard.acquire(timeout=3 * SILENT_SECONDS):
                pass
            connection.execute("NOTIFY silence")
            assert heard.acquire(timeout=SECONDS_MAX)
    finally:
        listener.close()
