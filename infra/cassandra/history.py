"""The history of a channel read from Cassandra: pages in both directions, over months that hold nothing.

PostgreSQL says which months of a channel there are, and which table is live, in one look; only those are asked, from
the cursor on. So a page costs the same wherever it is in a channel's life: a read of each month it has messages of.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from domain.event import Id
from infra.cassandra.errors import CassandraUnready
from infra.cassandra.log import LIVE_SQL, LogStore
from infra.queries.messages import Reader
from infra.queries.rows import Connection, Page, Slice, sliced
from infra.single_flight import SingleFlight
from projections.core import Projection

MONTHS_AT_ONCE_MAX: Final = 16
"""Asked at the same time, where those before held too little: a channel may have one message a month."""

_BEFORE_ALL, _AFTER_ALL = -1, 2**63 - 1


MonthsOf = Callable[[Connection, Id], Awaitable[Sequence[int]]]
"""The months of a channel that hold messages, in ascending order."""


_Asked = tuple[str, Id, tuple[int, ...], int, bool, int]
"""A read of Cassandra that may be shared: table, channel, months from the near end on, cursor, backward, how many."""


class CassandraHistory:
    """Reads a view of the message log whose rows are of channels, months and ids. For one event loop.

    ``month_of`` tells the month of an id. Methods raise ``CassandraError`` and what ``reader`` raises; rows are those
    of the view, deleted messages among them.
    """

    def __init__(
        self, log: LogStore, projection: Projection, *, month_of: Callable[[int], int], months_of: MonthsOf
    ) -> None:
        self._log = log
        self._projection = projection
        self._month_of = month_of
        self._months_of = months_of
        self._pages: SingleFlight[_Asked, Sequence[Any]] = SingleFlight(self._walk)

    async def page(self, reader: Reader, channel_id: Id, where: Slice) -> Page[Any]:
        """Messages of a channel, the newest first. The cursor is an id.

        Those who ask for the same page at the same time share one read of Cassandra.
        """
        live, months = await reader.run(lambda connection: self._look(connection, channel_id))
        cursor = where.cursor
        if cursor is None:
            cursor = _BEFORE_ALL if where.backward else _AFTER_ALL
        elif where.backward:
            months = months[bisect_left(months, self._month_of(cursor)) :]
        else:
            months = months[: bisect_right(months, self._month_of(cursor))]
        nearest_first = tuple(months if where.backward else reversed(months))
        rows = await self._pages.ask((live, channel_id, nearest_first, cursor, where.backward, where.size + 1))
        return sliced(list(rows), where)

    async def by_ids(self, reader: Reader, channel_id: Id, message_ids: Sequence[int]) -> Mapping[int, Any]:
        """Those of the messages that there are."""
        found = await self.by_keys(reader, [(channel_id, one) for one in message_ids])
        return {message_id: row for (_, message_id), row in found.items()}

    async def by_keys(self, reader: Reader, keys: Collection[tuple[Id, int]]) -> Mapping[tuple[Id, int], Any]:
        """Those of the messages, by channel and id, that there are."""
        table = self._log.named(self._projection, await reader.run(self._live))
        wanted = table.lookups((channel, self._month_of(one), one) for channel, one in dict.fromkeys(keys))
        found = await self._log.client.ask_all(table.load_cql, wanted)
        rows: list[Any] = [table.made(values) for each in found for values in each]
        return {(row.key[0], row.key[2]): row for row in rows}

    async def _look(self, connection: Connection, channel_id: Id) -> tuple[str, Sequence[int]]:
        return await self._live(connection), await self._months_of(connection, channel_id)

    async def _live(self, connection: Connection) -> str:
        found = await (await connection.execute(LIVE_SQL.encode(), (self._projection.name,))).fetchone()
        if found is None:
            raise CassandraUnready(f"{self._projection.name} has no table in Cassandra yet: moot migrate")
        return str(found[0])

    async def _walk(self, asked: _Asked) -> Sequence[Any]:
        """So many rows from the cursor on, month by month; more months at a time the less there was in those before."""
        live, channel_id, months, cursor, backward, wanted = asked
        table = self._log.named(self._projection, live)
        statement = table.back_cql if backward else table.page_cql
        rows: list[Any] = []
        begin, at_once = 0, 1
        while begin < len(months) and len(rows) < wanted:
            some = months[begin : begin + at_once]
            parameters = [[*table.partition_values((channel_id, month)), cursor, wanted - len(rows)] for month in some]
            for found in await self._log.client.ask_all(statement, parameters):
                rows.extend(map(table.made, found))
            begin, at_once = begin + at_once, min(2 * at_once, MONTHS_AT_ONCE_MAX)
        return rows[:wanted]
