"""What ends for thousands of topics at once: one look serves all of them."""

import asyncio
from collections.abc import Callable

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.event import Id
from infra.queries import servers
from read_api.live.following import Pool

_log = structlog.get_logger(__name__)


class Endings:
    """Whether servers are still there, asked once for all topics that were told of a change at the same time.

    A look that failed is not repeated: each topic looks in its turn as well.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: dict[Id, set[Callable[[], None]]] = {}
        self._looking: dict[Id, asyncio.Task[None]] = {}

    def ask(self, server_id: Id, gone: Callable[[], None]) -> None:
        """Have this called if the server is deleted by now. For one event loop; returns at once."""
        self._asked.setdefault(server_id, set()).add(gone)
        if server_id not in self._looking:
            self._looking[server_id] = asyncio.create_task(self._look(server_id))

    async def _look(self, server_id: Id) -> None:
        try:
            while asked := self._asked.pop(server_id, None):  # whoever asks from now on has been told of more
                async with self._pool.connection() as connection:
                    there = await servers.is_there(connection, server_id)
                if not there:
                    for gone in asked:
                        gone()
        except (psycopg.OperationalError, PoolTimeout) as error:
            _log.warning("server.unread", server_id=server_id, error=f"{type(error).__name__}: {error}")
        finally:
            del self._looking[server_id]
            self._asked.pop(server_id, None)
