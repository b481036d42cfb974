"""The history of a channel in Cassandra."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeVar

import pytest
from psycopg import AsyncConnection

from domain.event import Id
from infra import migrate
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient, CassandraLimits
from infra.cassandra.errors import CassandraAway
from infra.cassandra.history import MONTHS_AT_ONCE_MAX, CassandraHistory
from infra.cassandra.log import LogStore
from infra.cassandra.schema import make_missing
from infra.postgres import connect
from infra.queries.rows import Connection, Page, Slice
from infra.stack import Stack
from tests.conformance.history import *
from tests.conformance.history import CHANNEL, MONTH, run
from tests.stack.keyspaces import keyspace_on
from tests.stack.logged import LINES, Line

T = TypeVar("T")
A_MONTH = 10_000
"""Ids."""


class Counting(CassandraClient):
    """Counts what is read."""

    reads = 0

    def run_all(self, statement: str, every: Sequence[Sequence[Any]]) -> list[Any]:
        self.reads += len(every)
        return super().run_all(statement, every)


class Said:
    """A row with an id."""

    def __init__(self, row: Line) -> None:
        self.id = row.number
        self.row = row


class InCassandra:
    """The store of the suite."""

    def __init__(self, database: str, client: Counting) -> None:
        self.database = database
        self.client = client
        self.log = LogStore(client)
        self._months: dict[Id, set[int]] = {}
        migrate.migrate(database)
        with connect(database) as connection:
            make_missing(self.log, connection, [LINES])
            row = connection.execute("SELECT live FROM views.logs").fetchone()
        assert row is not None
        self.table = self.log.named(LINES, row[0])
        self.history = CassandraHistory(
            self.log, LINES, month_of=lambda number: number // A_MONTH, months_of=self._months_of
        )

    @property
    def reads(self) -> int:
        return self.client.reads

    def id_in(self, month: int, number: int) -> int:
        return month * A_MONTH + number

    def put(self, channel_id: Id, ids: Collection[int]) -> None:
        rows = [Line(channel_id, number // A_MONTH, number, position=7) for number in ids]
        self._months.setdefault(channel_id, set()).update(row.month for row in rows)
        self.log.save(self.table, rows)

    async def page(self, channel_id: Id, where: Slice) -> Page[Any]:
        return (await self.history.page(self, channel_id, where)).map(Said)

    async def by_ids(self, channel_id: Id, ids: Sequence[int]) -> Mapping[int, Any]:
        found = await self.history.by_ids(self, channel_id, ids)
        return {key: Said(row) for key, row in found.items()}

    async def by_keys(self, keys: Sequence[tuple[Id, int]]) -> Mapping[tuple[Id, int], Any]:
        found = await self.history.by_keys(self, keys)
        return {key: Said(row) for key, row in found.items()}

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """As a ``Reader``."""
        async with await AsyncConnection.connect(self.database, autocommit=True) as connection:
            return await read(connection)

    async def _months_of(self, _: Connection, channel_id: Id) -> Sequence[int]:
        return sorted(self._months.get(channel_id, ()))


class Together:
    """A reader whose readers go on together, once all have read."""

    def __init__(self, store: InCassandra, readers: int) -> None:
        self._store = store
        self._all = asyncio.Barrier(readers)

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """See ``Reader``."""
        found = await self._store.run(read)
        await self._all.wait()
        return found


@pytest.fixture
def store(stack: Stack, server_database: str) -> Iterator[InCassandra]:
    limits = CassandraLimits(request_seconds_max=5.0)
    with keyspace_on(stack) as address, closing(Counting(parse(address.behind_proxy), limits)) as client:
        yield InCassandra(server_database, client)
        stack.proxy("cassandra").heal()


def test_a_crowd_that_asks_for_the_same_page_costs_two_reads(store: InCassandra) -> None:
    store.put(CHANNEL, [store.id_in(MONTH, number) for number in range(100)])
    run(store.page(CHANNEL, Slice(10)))

    async def crowd() -> list[Page[Any]]:
        reader = Together(store, 30)
        return list(await asyncio.gather(*(store.history.page(reader, CHANNEL, Slice(10)) for _ in range(30))))

    before = store.reads
    pages = run(crowd())
    assert {len(page.items) for page in pages} == {10}
    assert len({tuple(page.items) for page in pages}) == 1
    assert store.reads - before == 2


def test_a_channel_with_one_message_a_month_is_read_in_a_few_rounds(store: InCassandra) -> None:
    months = 5 * MONTHS_AT_ONCE_MAX
    ids = [store.id_in(MONTH + month, 1) for month in range(months)]
    store.put(CHANNEL, ids)
    rounds = 0
    ask_all = store.client.ask_all

    async def counted(statement: str, every: Sequence[Sequence[Any]]) -> list[Any]:
        nonlocal rounds
        rounds += 1
        return await ask_all(statement, every)

    store.client.ask_all = counted  # type: ignore[method-assign]  # to count
    page = run(store.page(CHANNEL, Slice(50)))
    assert [one.id for one in page.items] == sorted(ids, reverse=True)[:50]
    assert rounds <= 7


def test_an_outage_is_that_of_this_read_alone(store: InCassandra, stack: Stack) -> None:
    store.put(CHANNEL, [store.id_in(MONTH, 1)])
    stack.proxy("cassandra").cut()
    with pytest.raises(CassandraAway):
        run(store.page(CHANNEL, Slice(10)))
    with pytest.raises(CassandraAway):
        run(store.by_ids(CHANNEL, [store.id_in(MONTH, 1)]))
