"""The client of Cassandra on a real one: what it gives, what it refuses, and how it comes back from every outage."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.breaker import BreakerLimits
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient, CassandraLimits
from infra.cassandra.errors import CassandraAway, CassandraRefused, CassandraUnready
from infra.cassandra.opening import cassandra_client
from infra.settings import load_settings
from infra.stack import Stack
from infra.telemetry import metrics
from tests.stack.keyspaces import keyspace_on
from tests.stack.roles import until

TABLE = "CREATE TABLE {} (a uuid, b bigint, c text, PRIMARY KEY ((a), b)) WITH CLUSTERING ORDER BY (b DESC)"
LIMITS = CassandraLimits(request_seconds_max=1.0, connect_seconds_max=1.0)
BREAKER = BreakerLimits(failures_max=3, open_seconds_min=0.1, open_seconds_max=0.2)


@pytest.fixture
def client(stack: Stack) -> Iterator[CassandraClient]:
    """A client by way of the fault proxy, over a keyspace with the table ``rows``."""
    with keyspace_on(stack) as address:
        made = CassandraClient(parse(address.behind_proxy), LIMITS, BREAKER)
        made.change_schema(TABLE.format(made.named("rows")))
        yield made
        stack.cassandra.start()
        stack.proxy("cassandra").heal()
        made.close()


def put(client: CassandraClient, rows: list[tuple[UUID, int, Any, int]]) -> None:
    client.run_all(f"INSERT INTO {client.named('rows')} (a, b, c) VALUES (?, ?, ?) USING TIMESTAMP ?", rows)


def texts(client: CassandraClient, key: UUID) -> list[str]:
    return [text for (text,) in client.run(f"SELECT c FROM {client.named('rows')} WHERE a = ?", [key])]


def retries() -> float:
    return metrics.RETRIES.labels("cassandra")._value.get()


def test_everything_that_is_written_is_read_in_its_order_and_an_older_write_loses(client: CassandraClient) -> None:
    key = uuid4()
    put(client, [(key, number, f"text {number}", 7) for number in range(1_000)])
    assert texts(client, key) == [f"text {number}" for number in reversed(range(1_000))]
    put(client, [(key, 5, "older", 6), (key, 6, "newer", 8)])
    assert texts(client, key)[-7:-4] == ["newer", "text 5", "text 4"]
    found = client.pages(f"SELECT b FROM {client.named('rows')}", 64)
    assert [number for page in found for (number,) in page] == list(reversed(range(1_000)))


def test_no_more_are_under_way_at_once_than_the_limit(stack: Stack, client: CassandraClient) -> None:
    narrow = CassandraClient(client.address, CassandraLimits(in_flight_max=3))
    under_way, most, lock = 0, 0, threading.Lock()
    session = narrow._connected()
    execute = session.execute_async

    def left(_: Any) -> None:
        nonlocal under_way
        with lock:
            under_way -= 1

    def counted(statement: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        future = execute(statement)
        future.add_callbacks(left, left)
        return future

    session.execute_async = counted
    key = uuid4()
    writers = [
        threading.Thread(target=put, args=(narrow, [(key, n, "x", 1) for n in range(start, start + 50)]))
        for start in (0, 50)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(texts(client, key)) == 100
    assert most == 3
    narrow.close()


@pytest.mark.parametrize(
    "wrong",
    [("no id", 1, "a", 1), (uuid4(), 2**70, "a", 1), (uuid4(), 1, "\ud800", 1), (uuid4(), 1, "x" * 5_000_000, 1)],
)
def test_what_cannot_be_stored_is_refused_and_says_nothing_of_the_server(
    client: CassandraClient, wrong: tuple[Any, ...]
) -> None:
    for _ in range(2 * BREAKER.failures_max):
        with pytest.raises(CassandraRefused):
            put(client, [wrong])  # type: ignore[list-item]  # that is the point
    key = uuid4()
    put(client, [(key, 1, "a\0b", 1)])
    assert texts(client, key) == ["a\0b"]


@pytest.mark.parametrize("statement", ["SELECT a FROM {}.gone", "SELECT z FROM {}.rows", "SELEC"])
def test_a_table_that_is_missing_is_no_value_at_fault(client: CassandraClient, statement: str) -> None:
    with pytest.raises(CassandraUnready):
        client.run(statement.format(client.keyspace))
    with pytest.raises(CassandraUnready):
        list(client.pages(statement.format(client.keyspace), 10))


def test_a_table_that_goes_away_under_it_is_no_value_at_fault(client: CassandraClient) -> None:
    put(client, [(uuid4(), 1, "a", 1)])
    client.change_schema(f"DROP TABLE {client.named('rows')}")
    with pytest.raises(CassandraUnready):
        put(client, [(uuid4(), 1, "a", 1)])


def test_a_wrong_password_is_said_and_nothing_is_left_behind(stack: Stack) -> None:
    before = set(threading.enumerate())
    client = CassandraClient(parse(stack.cassandra.url.replace(stack.cassandra.entry.password, "guessed")), LIMITS)
    with pytest.raises(CassandraAway, match="password") as failure:
        client.version()
    assert "guessed" not in str(failure.value)
    client.close()
    until(lambda: not [thread for thread in set(threading.enumerate()) - before if not thread.daemon])


def away(client: CassandraClient, hurt: Callable[[], None]) -> None:
    """It is said in time, then at once, and the client comes back by itself."""
    key = uuid4()
    put(client, [(key, 1, "before", 1)])
    hurt()
    for _ in range(BREAKER.failures_max + 1):
        with pytest.raises(CassandraAway):
            texts(client, key)
    with pytest.raises(CassandraAway, match=r"was not asked|did not answer"):
        texts(client, key)
    assert client.breaker.state.name != "CLOSED"


def back(client: CassandraClient) -> None:
    key = uuid4()

    def works() -> bool:
        try:
            put(client, [(key, 1, "after", 1)])
        except CassandraAway:
            return False
        return texts(client, key) == ["after"]

    until(works)
    assert client.breaker.state.name == "CLOSED"


def test_it_comes_back_after_a_cut(stack: Stack, client: CassandraClient) -> None:
    away(client, stack.proxy("cassandra").cut)
    stack.proxy("cassandra").heal()
    back(client)


def test_it_comes_back_after_a_network_that_swallowed_everything(stack: Stack, client: CassandraClient) -> None:
    away(client, stack.proxy("cassandra").partition)
    stack.proxy("cassandra").heal()
    back(client)


def test_it_comes_back_after_a_kill_and_what_was_acknowledged_is_there(stack: Stack, client: CassandraClient) -> None:
    key = uuid4()
    put(client, [(key, number, "kept", 1) for number in range(200)])
    away(client, stack.cassandra.kill)
    stack.cassandra.start()
    back(client)
    assert texts(client, key) == ["kept"] * 200


def test_it_comes_to_a_server_that_was_not_there_at_first(stack: Stack, client: CassandraClient) -> None:
    stack.proxy("cassandra").cut()
    late = CassandraClient(client.address, LIMITS, BREAKER)
    with pytest.raises(CassandraAway):
        late.version()
    stack.proxy("cassandra").heal()
    until(lambda: _answers(late))
    late.close()


def _answers(client: CassandraClient) -> bool:
    try:
        return client.version().startswith("5.")
    except CassandraAway:
        return False


def test_what_was_not_answered_is_sent_once_more(stack: Stack, client: CassandraClient) -> None:
    patient = CassandraClient(
        client.address, CassandraLimits(request_seconds_max=1.0, attempts_max=60), BreakerLimits(failures_max=1_000)
    )
    key, before = uuid4(), retries()
    put(patient, [(key, 0, "first", 1)])
    stack.proxy("cassandra").partition()
    writer = threading.Thread(target=put, args=(patient, [(key, 1, "second", 1)]))
    writer.start()
    until(lambda: retries() > before)
    stack.proxy("cassandra").heal()
    writer.join()
    assert texts(patient, key) == ["second", "first"]
    patient.close()


def test_an_event_loop_goes_on_while_it_is_asked(client: CassandraClient) -> None:
    key = uuid4()
    put(client, [(key, 1, "a", 1)])

    async def asked() -> list[Any]:
        one = f"SELECT c FROM {client.named('rows')} WHERE a = ?"
        return list(await asyncio.gather(*(client.ask(one, [key]) for _ in range(100))))

    assert asyncio.run(asked()) == [[("a",)]] * 100


def test_the_settings_say_whether_there_is_one(stack: Stack) -> None:
    assert cassandra_client(load_settings({})) is None
    made = cassandra_client(load_settings({"MOOT_CASSANDRA_IN_FLIGHT_MAX": "7"}, cassandra_url=stack.cassandra.url))
    assert made is not None
    assert made.limits == CassandraLimits(in_flight_max=7)
    assert made.version() == "5.0.5"
    made.close()
