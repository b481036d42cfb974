"""A page of history from a channel with very many messages: the newest, from the middle, the oldest; on both logs.

The messages are spread over five years, so a partition of Cassandra is a month. A page of 50 is read by what the API
reads it by: PostgreSQL says which months there are, Cassandra has the rows. The baseline is that page by what reads it
where PostgreSQL keeps the messages. Both are real servers on this machine, with everything in memory; the network is
the loopback interface.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from domain import snowflake
from domain.event import Id
from domain.ids import derived
from infra import migrate
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient
from infra.cassandra.history import CassandraHistory
from infra.cassandra.log import LIVE_SQL, LogStore
from infra.cassandra.schema import make_keyspace, make_missing
from infra.postgres import connect, connect_async
from infra.queries.messages import On, PostgresMessages, months
from infra.queries.rows import Page, Slice
from infra.rows import create_missing
from infra.stack import start_stack
from infra.tables import Table, definition
from projections.message_counts import MONTH, MessageCount, message_counts
from projections.messages import Message, messages
from tests.bench.serving import said

MESSAGES = 1_000_000
MONTHS = 60
SPAN_MS = 157_766_400_000
"""Five years: the first message is of the first millisecond that an id can have."""
PAGES, PAGES_LONG = 400, 2_000
SIZE = 50
CHUNK = 2_000
GROWTH_MAX = 2.0
"""The oldest page may take so many times as long as the newest."""
CHANNEL = derived("bench", "channel")
PLACES = ("newest", "middle", "oldest")


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``p99_newest``, ``p99_middle`` and ``p99_oldest``, in milliseconds."""
    count, pages = MESSAGES, PAGES_LONG if long else PAGES
    with servers() as (conninfo, client):
        log = LogStore(client)
        fill(log, conninfo, count)
        ours, theirs = asyncio.run(measure(log, conninfo, count, pages))
    return [
        {
            "name": f"p99_{place}",
            "value": round(ours[place], 2),
            "unit": "ms",
            "baseline": round(theirs[place], 2),
            "ratio": round(theirs[place] / ours[place], 2),
            "goal": f"{count:,} messages in {MONTHS} months: at most {GROWTH_MAX:g} times the newest page; the baseline"
            " is PostgreSQL",
            "holds": ours[place] <= GROWTH_MAX * ours["newest"],
        }
        for place in PLACES
    ]


@contextmanager
def servers() -> Iterator[tuple[str, CassandraClient]]:
    """A PostgreSQL and a Cassandra of this run's own."""
    with (
        tempfile.TemporaryDirectory(prefix="moot-bench-") as folder,
        start_stack(Path(folder) / "stack", ("postgres", "cassandra"), say=said) as stack,
        closing(CassandraClient(parse(stack.cassandra.url))) as client,
    ):
        migrate.migrate(stack.postgres.url)
        make_keyspace(client)
        yield stack.postgres.url, client


def number(at: int, count: int) -> int:
    """The id of a message."""
    return snowflake.made(snowflake.EPOCH_MS + SPAN_MS * at // count, 0, 0)


def fill(log: LogStore, conninfo: str, count: int) -> None:
    """The same messages into both, in the tables of the view, and how many there are a month."""
    began, random = time.perf_counter(), Random(1)
    months_sent = Counter(snowflake.month(number(at, count)) for at in range(count))
    here, counts = Table(messages), Table(message_counts)
    with connect(conninfo) as connection:
        make_missing(log, connection, [messages])
        connection.execute(definition(messages, here.name))
        create_missing(connection, [message_counts])
        sent = [MessageCount(CHANNEL, MONTH, month, many, many) for month, many in months_sent.items()]
        connection.execute(counts.save_sql.encode(), counts.row_arrays(sent))
        (live,) = connection.execute(LIVE_SQL, (messages.name,)).fetchone() or ("",)
        there = log.named(messages, live)
        authors = [derived("bench", "author", str(each)) for each in range(100)]
        for begin in range(0, count, CHUNK):
            rows = [
                message(number(at, count), random.choice(authors), "word " * random.randrange(2, 40), at + 1)
                for at in range(begin, min(count, begin + CHUNK))
            ]
            log.save(there, rows)
            connection.execute(here.save_sql.encode(), here.row_arrays(rows))
            if begin % (CHUNK * 25) == 0:
                said(f"{begin:,} of {count:,} messages after {time.perf_counter() - began:.0f} s")
        connection.execute(f"VACUUM ANALYZE {here.name}, {counts.name}".encode())


def message(message_id: int, author_id: Id, body: str, position: int) -> Message:
    """A message as the view has it."""
    at = datetime.fromtimestamp(snowflake.milliseconds(message_id) / 1000, UTC)
    month = snowflake.month(message_id)
    return Message(CHANNEL, month, message_id, author_id=author_id, body=body, sent_at=at, position=position)


async def measure(log: LogStore, conninfo: str, count: int, pages: int) -> tuple[dict[str, float], dict[str, float]]:
    """The 99th percentiles in milliseconds by place: Cassandra's and PostgreSQL's."""
    history = CassandraHistory(log, messages, month_of=snowflake.month, months_of=months)
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    async with await connect_async(conninfo) as connection:
        reader = On(connection)
        for read, found in ((history.page, ours), (PostgresMessages().page, theirs)):
            for place in PLACES:
                for warm in (True, False):
                    taken = await timed(read, reader, count, place, pages // 4 if warm else pages)
                found[place] = taken[int(len(taken) * 0.99)] * 1000
                said(f"{read.__qualname__} {place}: p50 {taken[len(taken) // 2] * 1000:.2f} ms, p99 {found[place]:.2f}")
    return ours, theirs


async def timed(
    read: Callable[[Any, Id, Slice], Awaitable[Page[Any]]], reader: On, count: int, place: str, pages: int
) -> list[float]:
    """How long each of some pages took, in seconds, the shortest first."""
    random, taken = Random(2), []
    for _ in range(pages):
        near = random.randrange(min(count // 10, 5_000))
        at = {"newest": count - 1 - near, "middle": count // 2 + near, "oldest": SIZE + 1 + near}[place]
        where = Slice(SIZE, number(at, count))
        began = time.perf_counter()
        page = await read(reader, CHANNEL, where)
        taken.append(time.perf_counter() - began)
        assert [one.message_id for one in page.items] == [number(at - step, count) for step in range(1, SIZE + 1)]
    return sorted(taken)
