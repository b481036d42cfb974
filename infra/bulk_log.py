"""The log read from end to end as fast as one core can: pages in binary, kinds that nobody asks for left out."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from psycopg import Connection

from domain.event import Event
from infra.codec import Codec
from infra.postgres import connect
from schemas.envelope import Recorded
from schemas.registry import WIRE

_SELECT = (
    "SELECT notification_id, originator_id::text, originator_version, topic, state FROM log.stored_events"
    " WHERE notification_id > %s AND notification_id <= %s AND topic <> ALL (%s)"
    " ORDER BY notification_id LIMIT %s"
)


class BulkLog:
    """Pages of the kinds of events that are wanted, and of those that no version of this code knows.

    While the caller works on a page, the database and a thread have the next one ready. Close it.
    """

    def __init__(self, conninfo: str, codec: Codec, wanted: Iterable[type[Event]], *, page_events: int) -> None:
        kinds = set(wanted)
        self._codec = codec
        self._page_events = page_events
        self._unwanted = [wire for wire, kind in WIRE.items() if kind not in kinds]
        self._connection: Connection[Any] = connect(conninfo)
        self._reader = ThreadPoolExecutor(1, "bulk-log-reader")

    def close(self) -> None:
        """Let go of thread and connection."""
        self._reader.shutdown(cancel_futures=True)
        self._connection.close()

    def pages(self, after: int, to: int) -> Iterator[list[Recorded]]:
        """The events after one position up to another, in order, a page at a time."""
        following: Future[Sequence[Any]] | None = self._reader.submit(self._page, after, to)
        while following is not None:
            rows = following.result()
            full = len(rows) == self._page_events
            following = self._reader.submit(self._page, rows[-1][0], to) if full else None
            if rows:
                yield self._codec.decode_page(rows)

    def _page(self, after: int, to: int) -> Sequence[Any]:
        cursor = self._connection.cursor(binary=True)
        return cursor.execute(_SELECT, (after, to, self._unwanted, self._page_events), prepare=True).fetchall()
