"""The history of a channel in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from psycopg import AsyncConnection

from domain import snowflake
from domain.event import Id
from infra import migrate
from infra.postgres import connect, connect_async
from infra.queries.messages import On, PostgresMessages
from infra.queries.rows import Page, Slice
from infra.rows import create_missing
from infra.tables import Table
from projections.messages import Message, messages
from tests.conformance.history import *


class InPostgres:
    """The store of the suite."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.reads = 0
        migrate.migrate(database)
        with connect(database) as connection:
            create_missing(connection, [messages])

    def id_in(self, month: int, number: int) -> int:
        return snowflake.first_of_month(month) + number

    def put(self, channel_id: Id, ids: Collection[int]) -> None:
        table = Table(messages)
        rows = [Message(channel_id, snowflake.month(one), one, position=7) for one in ids]
        with connect(self.database) as connection:
            connection.execute(table.save_sql.encode(), table.row_arrays(rows))

    async def page(self, channel_id: Id, where: Slice) -> Page[Any]:
        self.reads += 1
        async with await AsyncConnection.connect(self.database, autocommit=True) as connection:
            return (await PostgresMessages().page(On(connection), channel_id, where)).map(Said)

    async def by_ids(self, channel_id: Id, ids: Sequence[int]) -> Mapping[int, Any]:
        async with await AsyncConnection.connect(self.database, autocommit=True) as connection:
            found = await PostgresMessages().by_ids(On(connection), channel_id, ids)
        return {key: Said(row) for key, row in found.items()}

    async def by_keys(self, keys: Sequence[tuple[Id, int]]) -> Mapping[tuple[Id, int], Any]:
        async with await connect_async(self.database) as connection:
            found = await PostgresMessages().by_keys(On(connection), keys)
        return {key: Said(row) for key, row in found.items()}


class Said:
    """A message with its number."""

    def __init__(self, row: Message) -> None:
        self.id = row.message_id


@pytest.fixture
def store(database: str) -> InPostgres:
    return InPostgres(database)
