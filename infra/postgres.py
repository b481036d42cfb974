"""Connections to PostgreSQL on which a ``uuid`` is a ``str``, in text and in binary, alone and in arrays.

Ids are canonical text everywhere in Moot; making and hashing ``uuid.UUID`` objects costs ten times as much.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, BaseConnection, Connection
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.sql import Composable
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from infra.bounded import bounded

POOL_SIZE_MAX = 8
"""Connections of a pool at most, unless told otherwise: two cores are busy with fewer."""
CONNECT_SECONDS_MAX = 5.0
"""How long a caller waits for a connection, a free one of a pool included, before it is refused."""

TCP_SILENCE: Final[Mapping[str, int]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""When a connection over TCP counts as broken though nobody closed it: its machine did not answer three times after
ten seconds of silence, or has not acknowledged for 25 s what was sent (the last is in milliseconds). By the system's
own measure a machine that lost its power is waited for a quarter of an hour, or two hours where nothing was sent. They
are libpq's parameters of the same names; a conninfo that names one decides it."""


class _UuidTextLoader(Loader):
    """The 16 bytes of a ``uuid`` in binary format, as canonical text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        text = bytes(data).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def register(adapters: AdaptersMap) -> None:
    """Make ``uuid`` values arrive as ``str`` wherever these adapters are used."""
    adapters.register_loader("uuid", TextLoader)
    adapters.register_loader("uuid", _UuidTextLoader)


class _Context:
    """The adapters that every connection of Moot starts with."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        register(self.adapters)

    @property
    def connection(self) -> BaseConnection[Any] | None:
        return None


CONTEXT: AdaptContext = _Context()
"""Pass as ``context`` to whatever opens a connection of its own."""


def with_silence_max(conninfo: str) -> str:
    """The same with those of ``TCP_SILENCE`` that it does not decide."""
    decided: dict[str, Any] = {**TCP_SILENCE, **conninfo_to_dict(conninfo)}
    return make_conninfo(**decided)


def in_short(error: BaseException) -> str:
    """What went wrong, in a line, without what people wrote.

    PostgreSQL's details show the row that it refused: they are for no log, where no key that is destroyed reaches.
    """
    shown = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__}: {shown or error}".strip()


def connect(conninfo: str, *, autocommit: bool = True, answer_seconds_max: float | None = None) -> Connection[TupleRow]:
    """One connection, in autocommit unless told otherwise. Raises ``psycopg.OperationalError``.

    With ``answer_seconds_max`` it raises ``NoAnswer``, which is one, rather than wait longer for one answer.
    """
    kind: type[Connection[Any]] = Connection if answer_seconds_max is None else bounded(answer_seconds_max)
    return kind.connect(
        with_silence_max(conninfo),
        autocommit=autocommit,
        context=CONTEXT,
        connect_timeout=max(2, int(CONNECT_SECONDS_MAX)),
    )


async def connect_async(conninfo: str, *, autocommit: bool = True) -> AsyncConnection[TupleRow]:
    """One connection for an event loop, in autocommit unless told otherwise. Raises ``psycopg.OperationalError``."""
    return await AsyncConnection.connect(
        with_silence_max(conninfo),
        autocommit=autocommit,
        context=CONTEXT,
        connect_timeout=max(2, int(CONNECT_SECONDS_MAX)),
    )


def pool(
    conninfo: str, *, min_size: int = 1, max_size: int = POOL_SIZE_MAX, autocommit: bool = True
) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
    """A pool for an event loop, still closed: ``await pool.open()`` it there, ``await pool.close()`` it at the end.

    After an outage it tries afresh for each caller rather than at growing distances, so it is back as soon as the
    server is.
    """
    return AsyncConnectionPool(
        with_silence_max(conninfo),
        kwargs={"context": CONTEXT, "autocommit": autocommit},
        min_size=min_size,
        max_size=max_size,
        open=False,
        timeout=CONNECT_SECONDS_MAX,
        reconnect_timeout=CONNECT_SECONDS_MAX,
    )


def sync_pool(
    conninfo: str, *, min_size: int = 1, max_size: int = POOL_SIZE_MAX, autocommit: bool = True
) -> ConnectionPool[Connection[TupleRow]]:
    """The same for threads, also still closed."""
    return ConnectionPool(
        with_silence_max(conninfo),
        kwargs={"context": CONTEXT, "autocommit": autocommit},
        min_size=min_size,
        max_size=max_size,
        open=False,
        timeout=CONNECT_SECONDS_MAX,
        reconnect_timeout=CONNECT_SECONDS_MAX,
    )


def prepare(connection: Connection[Any], query: Composable) -> bytes:
    """Have a statement with parameters ``$1``, ``$2``, … ready for ``fetch_aside``. Gives the name it has there."""
    text = query.as_bytes(connection)
    name = b"aside_" + hashlib.blake2b(text, digest_size=8).hexdigest().encode()
    _checked(connection, connection.pgconn.prepare(name, text))
    return name


def fetch_aside(connection: Connection[Any], statement: bytes, parameters: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """The rows of a statement as ``bytes`` in binary format or ``None``: for megabytes, beside a thread that computes.

    The whole answer is waited for without Python's lock. A cursor takes that for every few kilobytes that come in, and
    a busy thread lets go of it every five milliseconds: beside one, pages of the log came 30 times slower. Nobody else
    may use the connection meanwhile. Raises ``psycopg.Error``.
    """
    formats = [Format.BINARY] * len(parameters)
    found = connection.pgconn.exec_prepared(statement, parameters, formats, Format.BINARY)
    _checked(connection, found)
    columns = range(found.nfields)
    return [tuple(found.get_value(row, column) for column in columns) for row in range(found.ntuples)]


def _checked(connection: Connection[Any], found: PGresult) -> None:
    if found.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
        state = found.error_field(DiagnosticField.SQLSTATE)
        kind = psycopg.errors.lookup(state.decode()) if state else psycopg.OperationalError
        raise kind(found.get_error_message(connection.info.encoding))
