"""Rows and checkpoints of views in a PostgreSQL server, and rows in Cassandra beside it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from domain.ids import derived
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient, CassandraLimits
from infra.cassandra.log import LogStore, table_of
from infra.cassandra.schema import make_missing
from infra.cassandra.tables import LogTable
from infra.stack import Stack
from infra.tables import Table
from projections.core import Projection
from tests.conformance.test_rows import *
from tests.conformance.test_rows import FULL, ROWS, Everything, InPostgres, Store, _opened, everything, keyed
from tests.stack.keyspaces import keyspace_on


class InCassandra(InPostgres):
    """Rows there; checkpoint and dead letters in PostgreSQL."""

    def __init__(self, conninfo: str, client: CassandraClient) -> None:
        self.log = LogStore(client)
        super().__init__(conninfo)

    def made(self) -> Table:
        """The table of the view, which is not there yet."""
        make_missing(self.log, self.connection, [everything])
        return table_of(everything, self.log)


@pytest.fixture
def cassandra(stack: Stack, server_database: str) -> Iterator[InCassandra]:
    limits = CassandraLimits(request_seconds_max=5.0)
    with keyspace_on(stack) as address, closing(CassandraClient(parse(address.url), limits)) as client:
        opened = InCassandra(server_database, client)
        yield opened
        opened.connection.close()


@pytest.fixture(params=["memory", "postgres", "weak", "cassandra"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "cassandra":
        yield request.getfixturevalue("cassandra")
    else:
        yield from _opened(request)


def test_an_older_state_of_a_row_loses_whichever_comes_last(cassandra: InCassandra) -> None:
    newer = Everything(FULL.id, FULL.kind, text=None, count=1, position=9)
    older = Everything(FULL.id, FULL.kind, text="was there", count=2, position=8)
    for state in (older, newer, older):
        with cassandra.transaction() as rows:
            rows.save(keyed(state))
    with cassandra.transaction() as rows:
        assert rows.load({FULL.key}) == keyed(newer)


def test_rows_past_the_checkpoint_are_ahead(cassandra: InCassandra) -> None:
    near, far = (Everything(derived("r"), str(at), position=at) for at in (5, 6))
    with cassandra.transaction() as rows:
        rows.save(keyed(near, far))
        rows.advance(0, 5)
    with cassandra.transaction() as rows:
        rows.load({near.key, far.key})
        assert rows.ahead({near.key, far.key, FULL.key}) == {far.key: 6}


def test_rows_are_not_deleted(cassandra: InCassandra) -> None:
    with cassandra.transaction() as rows:
        rows.save(keyed(*ROWS))

    def delete() -> None:
        with cassandra.transaction() as rows:
            rows.load({FULL.key})
            rows.save({FULL.key: None})

    with pytest.raises(TypeError, match="not deleted"):
        delete()


def test_more_rows_of_a_partition_than_one_look_up_takes(cassandra: InCassandra) -> None:
    many = [Everything(derived("many"), f"{number:04}", position=1) for number in range(350)]
    with cassandra.transaction() as rows:
        rows.save(keyed(*many))
    with cassandra.transaction() as rows:
        assert rows.load({row.key for row in many}) == keyed(*many)


def test_a_view_that_cannot_live_there_is_refused() -> None:
    with pytest.raises(TypeError, match="local"):
        Projection("odd", version=1, row=Everything, message_log=True)

    class NoMark(Everything, frozen=True):
        key_fields = ("id",)

    with pytest.raises(TypeError, match="a partition, an order and a position"):
        LogTable(Projection("odd", version=1, row=NoMark, local=True, message_log=True), "k", "t")
