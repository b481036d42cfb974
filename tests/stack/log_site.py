"""A database, a keyspace of Cassandra and a log, for a view that lives in both; its worker may die anywhere."""

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from random import Random
from typing import Any

from infra import migrate
from infra.breaker import BreakerLimits
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient, CassandraLimits
from infra.cassandra.errors import CassandraUnready
from infra.cassandra.log import LogStore
from infra.cassandra.schema import make_missing
from infra.cassandra.tables import LogTable
from infra.event_store import GroupCommitStore, postgres_store
from infra.postgres import connect
from infra.stack import Stack
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import Key, Projection, Row
from schemas.envelope import Recorded
from streams.rebuild import rebuild
from streams.runner import Runner, RunnerLimits
from tests.equivalence.histories import Happened, World
from tests.equivalence.recording import Filler, recorded
from tests.stack.keyspaces import keyspace_on
from tests.stack.logged import LINES

SCORES = ALL["scores"]
SECONDS = 60.0
BREAKER = BreakerLimits(failures_max=3, open_seconds_min=0.1, open_seconds_max=0.2)


class Crash(Exception):
    pass


class Dying(LogStore):
    """Writes some of the rows and dies, as a worker does that is killed; or writes them all, and the commit fails."""

    def __init__(self, client: CassandraClient, random: Random) -> None:
        super().__init__(client)
        self._random = random
        self.dies = 0.0
        self.written: list[tuple[LogTable, list[Row]]] = []

    def save(self, table: LogTable, rows: Collection[Row]) -> None:
        kept = list(rows)
        if self._random.random() < self.dies:
            kept = self._random.sample(kept, self._random.randint(0, len(kept)))
            super().save(table, kept)
            raise Crash
        super().save(table, kept)
        self.written.append((table, kept))
        # A write of long ago that was thought lost arrives, or tries to.
        with suppress(CassandraUnready):
            super().save(*self._random.choice(self.written))


class Site:
    """A database, a keyspace, and a log that grows."""

    def __init__(self, database: str, client: CassandraClient, seed: int, url: str) -> None:
        self.database = database
        self.url = url
        self.random = Random(seed)
        migrate.migrate(database)
        self.connection = connect(database)
        self.messages = Dying(client, self.random)
        make_missing(self.messages, self.connection, [LINES])
        self.store: GroupCommitStore = postgres_store(database, bytes(32))
        self._filler = Filler(self.connection, self.store.codec)
        self._world = World(seed)
        self.happened: list[Happened] = []
        self.log: list[Recorded] = []

    def grow(self, events: int) -> int:
        more = list(self._world.happen(events))
        self.happened += more
        self.log = recorded(self.happened)
        return self._filler.fill(more)

    def rows(self, name: str | None = None, projection: Projection = LINES) -> dict[Key, Row]:
        """All rows of a table, the live one unless it is named."""
        live = name or self.named()[0]
        table = self.messages.named(projection, live)
        every = self.messages.client.pages(table.all_cql, 1_000)
        return {row.key: row for row in (table.made(values[1:]) for page in every for values in page)}

    def named(self) -> tuple[str, str | None, str | None]:
        """The tables that PostgreSQL knows: live, previous, and what is to be dropped."""
        found = self.connection.execute("SELECT live, previous, making FROM views.logs").fetchone()
        assert found is not None
        return found

    def scores(self) -> dict[Key, Row]:
        table = Table(SCORES)
        return table.by_key(self.connection.execute(table.all_sql).fetchall())

    def running(self, projection: Projection = LINES) -> Runner:
        runner = Runner(
            self.database,
            self.store,
            [projection, SCORES],
            limits=RunnerLimits(retry_seconds_min=0.01, idle_seconds=0.05, bulk_events_min=10**9),
            message_log=self.messages,
        )
        runner.start()
        return runner

    def rebuild(self, projection: Projection = LINES, **how: Any) -> Any:
        (view,) = rebuild(self.database, self.store, [projection], message_log=self.messages, **how).views
        return view


@contextmanager
def log_site(stack: Stack, database: str) -> Iterator[Site]:
    """All of it, by way of the fault proxy; well again afterwards."""
    with (
        keyspace_on(stack) as address,
        closing(CassandraClient(parse(address.behind_proxy), CassandraLimits(), BREAKER)) as client,
    ):
        made = Site(database, client, 7, address.behind_proxy)
        yield made
        made.messages.dies = 0.0
        made.store.close()
        made.connection.close()
        stack.cassandra.start()
        stack.proxy("cassandra").heal()
