"""Connections to PostgreSQL that wait for one answer for so long and no longer: a network may say nothing."""

from typing import Any

import psycopg
from psycopg import AsyncConnection, BaseConnection, Connection
from psycopg.errors import _WaitTimeout


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL took too long over one answer. The connection is given up, and what it did is not known."""


def _given_up(connection: BaseConnection[Any], seconds_max: float) -> NoAnswer:
    connection.pgconn.finish()
    return NoAnswer(f"PostgreSQL did not answer within {seconds_max:g} s")


class BoundedAsync(AsyncConnection[Any]):
    """A connection that raises ``NoAnswer`` rather than wait longer than ``answer_seconds_max`` for one answer."""

    answer_seconds_max: float

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the library's
        """As the library's."""
        try:
            return await super().wait(gen, interval, self.answer_seconds_max if timeout is None else timeout)
        except _WaitTimeout:
            if timeout is not None:
                raise
            raise _given_up(self, self.answer_seconds_max) from None


def bounded_async(seconds_max: float) -> type[BoundedAsync]:
    """A class of such connections."""
    return type("Bounded", (BoundedAsync,), {"answer_seconds_max": seconds_max})


def bounded(seconds_max: float) -> type[Connection[Any]]:
    """A class of connections for threads that raise ``NoAnswer`` rather than wait longer for one answer."""

    class Bounded(Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, seconds_max if timeout is None else timeout)
            except _WaitTimeout:
                if timeout is not None:
                    raise
                raise _given_up(self, seconds_max) from None

    return Bounded
