"""A page of history from a channel with very many messages: the newest, from the middle, the oldest; on both logs.

The messages are spread over five years, so a partition of Cassandra is a month. A page of 50 is read as the API reads
it: PostgreSQL says which months there are, Cassandra has the rows. The baseline is that page from PostgreSQL, by the
same keys. Both are real servers on this machine, with everything in memory; the network is the loopback interface.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar, TypeVar

from psycopg import AsyncConnection

from domain.event import Id
from domain.ids import derived
from infra import migrate
from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient
from infra.cassandra.history import CassandraHistory
from infra.cassandra.log import LogStore
from infra.cassandra.schema import make_keyspace, make_missing
from infra.postgres import connect
from infra.queries.rows import Connection, Page, Slice, columns, fetch, sliced
from infra.stack import start_stack
from projections.core import Projection, Row

MESSAGES, MESSAGES_LONG = 50_000, 1_000_000
MONTHS = 60
PAGES, PAGES_LONG = 400, 2_000
SIZE = 50
CHUNK = 2_000
GROWTH_MAX = 2.0
"""The oldest page may take so many times as long as the newest."""
CHANNEL = derived("bench", "channel")
PLACES = ("newest", "middle", "oldest")

T = TypeVar("T")


class Message(Row, frozen=True):
    """A message as the message log keeps it. Its id is the month, and a number in it."""

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "month", "message_id")
    channel_id: Id
    month: int
    message_id: int
    author_id: Id | None = None
    body: str = ""
    attachments: str = ""
    mentions: bytes = b""
    reply_to_id: int | None = None
    sent_at: datetime | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    position: int = 0


VIEW = Projection("bench_messages", version=1, row=Message, local=True, message_log=True)
TABLE = """
CREATE TABLE views.bench_pages (
    channel_id uuid NOT NULL, month bigint NOT NULL, message_id bigint NOT NULL, author_id uuid, body text NOT NULL,
    attachments text NOT NULL, mentions bytea NOT NULL, reply_to_id bigint, sent_at timestamptz, edited_at timestamptz,
    deleted_at timestamptz, position bigint NOT NULL, PRIMARY KEY (channel_id, month, message_id));
CREATE TABLE views.bench_months (channel_id uuid, month bigint, PRIMARY KEY (channel_id, month));
"""
IN_A_MONTH = 10**9


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``p99_newest``, ``p99_middle`` and ``p99_oldest``, in milliseconds."""
    count, pages = (MESSAGES_LONG, PAGES_LONG) if long else (MESSAGES, PAGES)
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
        start_stack(Path(folder) / "stack", ("postgres", "cassandra"), say=say) as stack,
        closing(CassandraClient(parse(stack.cassandra.url))) as client,
    ):
        migrate.migrate(stack.postgres.url)
        make_keyspace(client)
        yield stack.postgres.url, client


def number(at: int, count: int) -> tuple[int, int]:
    """Month and id of a message."""
    month = at * MONTHS // count
    return month, month * IN_A_MONTH + at


def fill(log: LogStore, conninfo: str, count: int) -> None:
    """The same messages into both."""
    began, random = time.perf_counter(), Random(1)
    with connect(conninfo) as connection:
        make_missing(log, connection, [VIEW])
        connection.execute(TABLE.encode())
        connection.execute(
            "INSERT INTO views.bench_months SELECT %s::uuid, n FROM generate_series(0, %s) n", (CHANNEL, MONTHS - 1)
        )
        (live,) = connection.execute("SELECT live FROM views.logs").fetchone() or ("",)
        table = log.named(VIEW, live)
        authors = [derived("bench", "author", str(each)) for each in range(100)]
        start = datetime(2020, 1, 1, tzinfo=UTC)
        names = ", ".join(Message.__struct_fields__)
        for begin in range(0, count, CHUNK):
            rows = [
                Message(
                    CHANNEL,
                    *number(at, count),
                    author_id=random.choice(authors),
                    body="word " * random.randrange(2, 40),
                    sent_at=start + timedelta(seconds=at),
                    position=at + 1,
                )
                for at in range(begin, min(count, begin + CHUNK))
            ]
            log.save(table, rows)
            with connection.cursor().copy(f"COPY views.bench_pages ({names}) FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row([getattr(row, name) for name in Message.__struct_fields__])
            if begin % (CHUNK * 25) == 0:
                say(f"{begin:,} of {count:,} messages after {time.perf_counter() - began:.0f} s")
        connection.execute("VACUUM ANALYZE views.bench_pages")


class On:
    """Reads PostgreSQL on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What ``read`` gives."""
        return await read(self._connection)


async def months_of(connection: Connection, channel_id: Id) -> Sequence[int]:
    """Those of the channel, from their own small table."""
    sql = "SELECT month FROM views.bench_months WHERE channel_id = %(id)s::uuid ORDER BY month"
    return await fetch(connection, sql, {"id": channel_id}, int)


async def from_postgres(reader: On, channel_id: Id, where: Slice) -> Page[Message]:
    """The page by the keys of the table in PostgreSQL."""
    cursor = where.cursor if where.cursor is not None else (-1 if where.backward else 2**62)
    compared, order = (">", "ASC") if where.backward else ("<", "DESC")
    sql = f"""SELECT {columns(Message, "m")} FROM views.bench_pages m WHERE m.channel_id = %(channel)s::uuid
        AND (m.month, m.message_id) {compared} (%(month)s::bigint, %(cursor)s::bigint)
        ORDER BY m.month {order}, m.message_id {order} LIMIT %(limit)s"""
    parameters = {"channel": channel_id, "month": cursor // IN_A_MONTH, "cursor": cursor, "limit": where.size + 1}
    return sliced(await reader.run(lambda connection: fetch(connection, sql, parameters, Message)), where)


async def measure(log: LogStore, conninfo: str, count: int, pages: int) -> tuple[dict[str, float], dict[str, float]]:
    """The 99th percentiles in milliseconds by place: Cassandra's and PostgreSQL's."""
    history = CassandraHistory(log, VIEW, month_of=lambda one: one // IN_A_MONTH, months_of=months_of)
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        reader = On(connection)
        for read, found in ((history.page, ours), (from_postgres, theirs)):
            for place in PLACES:
                for warm in (True, False):
                    taken = await timed(read, reader, count, place, pages // 4 if warm else pages)
                found[place] = taken[int(len(taken) * 0.99)] * 1000
                say(f"{read.__qualname__} {place}: p50 {taken[len(taken) // 2] * 1000:.2f} ms, p99 {found[place]:.2f}")
    return ours, theirs


async def timed(
    read: Callable[[Any, Id, Slice], Awaitable[Page[Any]]], reader: On, count: int, place: str, pages: int
) -> list[float]:
    """How long each of some pages took, in seconds, the shortest first."""
    random, taken = Random(2), []
    for _ in range(pages):
        near = random.randrange(min(count // 10, 5_000))
        at = {"newest": count - 1 - near, "middle": count // 2 + near, "oldest": SIZE + 1 + near}[place]
        where = Slice(SIZE, number(at, count)[1])
        began = time.perf_counter()
        page = await read(reader, CHANNEL, where)
        taken.append(time.perf_counter() - began)
        assert [one.message_id for one in page.items] == [number(at - step, count)[1] for step in range(1, SIZE + 1)]
    return sorted(taken)


def say(line: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
