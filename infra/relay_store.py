"""What the relay asks of PostgreSQL: to be the leader, the events to send, and to keep how far it has come."""

import select
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct
from psycopg import Connection

from domain.event import Id
from infra.codec import Row
from infra.postgres import connect
from infra.recorders import CHANNEL
from infra.rows import forget_offsets

LOCK: Final = 0x6D6F6F74_72656C79
"""PostgreSQL's advisory lock of the leading relay: ``mootrely`` in ASCII."""
APPLICATION: Final = "moot relay"
"""What the relay's connection is called."""
EVERYTHING: Final = -1
"""In ``log.relayed``, the row of the whole log: everything up to its position is in Kafka."""

STORED: Final = "SELECT notification_id, originator_id, originator_version, topic, state FROM log.stored_events"
"""Stored events as ``Row``."""

_PAGE = """
SELECT notification_id, originator_id, originator_version, topic, state FROM (
    SELECT notification_id, originator_id, originator_version, topic, state,
           sum(octet_length(state)) OVER (ORDER BY notification_id) AS bytes,
           row_number() OVER (ORDER BY notification_id) AS number
    FROM log.stored_events WHERE notification_id > %b ORDER BY notification_id LIMIT %b
) page
WHERE bytes <= %b OR number = 1 ORDER BY notification_id
"""

_STANDING = """
SELECT coalesce((SELECT max(notification_id) FROM log.stored_events), 0),
       coalesce((SELECT position FROM log.relayed WHERE partition = %s), 0),
       coalesce(host(leader.client_addr), 'this machine') || ', connection ' || leader.pid,
       leader.backend_start AT TIME ZONE 'UTC'
FROM (SELECT) AS always LEFT JOIN (
    SELECT activity.* FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = %s AND objid::bigint = %s
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS leader ON true
"""

_RELAYED = """
INSERT INTO log.relayed AS kept (partition, position) SELECT * FROM unnest(%b::integer[], %b::bigint[])
ON CONFLICT (partition) DO UPDATE SET position = excluded.position WHERE excluded.position > kept.position
"""


_KEYS_THERE = """
CREATE TEMPORARY TABLE IF NOT EXISTS keys_there (author_id uuid PRIMARY KEY, digest bytea); TRUNCATE keys_there
"""
_KEYS_COMPARED = "DROP TABLE IF EXISTS keys_there"
_KEY_THERE = """
INSERT INTO keys_there SELECT * FROM unnest(%b::uuid[], %b::bytea[])
ON CONFLICT (author_id) DO UPDATE SET digest = excluded.digest
"""
# What is looked at is limited, not what is found: usually nothing is, and a million keys are not looked at in one go.
_KEYS_NOT_THERE = """
SELECT author_id, CASE WHEN k.created_at < %b AND t.digest IS DISTINCT FROM sha256(k.wrapped) THEN k.wrapped END
FROM (SELECT author_id, wrapped, created_at FROM log.author_keys WHERE author_id > %b::uuid
    ORDER BY author_id LIMIT %b) k LEFT JOIN keys_there t USING (author_id)
ORDER BY author_id
"""


class Standing(Struct, frozen=True):
    """How far the log is in Kafka, as PostgreSQL knows it.

    ``leader`` is the address and the connection of the relay that leads, ``since`` when it connected, UTC.
    """

    head: int
    sent: int
    behind: int
    leader: str | None
    since: datetime | None


def standing(connection: Connection[Any]) -> Standing:
    """How far the relay has come, and who leads."""
    row = connection.execute(_STANDING, (EVERYTHING, LOCK >> 32, LOCK & 0xFFFFFFFF)).fetchone()
    assert row is not None
    head, sent, address, since = row
    return Standing(head, sent, max(0, head - sent), address, since)


def kept(connection: Connection[Any]) -> dict[int, int]:
    """What ``relayed`` has kept, as far as a crash of PostgreSQL left it: it may be behind, and is never ahead."""
    return dict(connection.execute("SELECT partition, position FROM log.relayed").fetchall())


def state(connection: Connection[Any], position: int) -> bytes | None:
    """The event at that position as stored, or ``None``."""
    row = connection.execute(
        "SELECT state FROM log.stored_events WHERE notification_id = %s", (position,), binary=True
    ).fetchone()
    return None if row is None else bytes(row[0])


class RelayStore:
    """One connection: the lock that makes the leader goes with it. A context manager; used from one thread.

    All methods raise ``psycopg.Error``, and ``NoAnswer`` when PostgreSQL is silent for so long: whoever waited longer
    would say that he leads, while he cannot know it. ``wake`` may be called from any thread.
    """

    def __init__(self, conninfo: str, silent_seconds_max: float) -> None:
        self._silent_seconds_max = silent_seconds_max
        self._connection = connect(conninfo, answer_seconds_max=silent_seconds_max)
        self._woken, self._wake = socket.socketpair()
        self._news = True
        self._connection.add_notify_handler(self._heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the lock with the connection."""
        self._connection.close()
        self._woken.close()
        self._wake.close()

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        with suppress(OSError):
            self._wake.send(b"\0")

    def elected(self) -> bool:
        """Whether this relay leads; then it hears of news from here on.

        It leads no more when PostgreSQL has heard nothing of it for as long as it may be silent itself.
        """
        self._connection.execute("SELECT set_config('application_name', %s, false)", (APPLICATION,))
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        if row is None or not row[0]:
            return False
        # The frontier is found again from Kafka, so its commits need not wait for the disk.
        self._connection.execute(
            f"SET synchronous_commit = off; SET timezone = 'UTC'; LISTEN {CHANNEL};"
            f" SET idle_session_timeout = {round(1000 * self._silent_seconds_max)}"
        )
        return True

    def beat(self) -> None:
        """Say that this relay is alive. Raises ``psycopg.Error`` when it does not lead any more."""
        self._connection.execute("SELECT")

    def page(self, after: int, events_max: int, bytes_max: int) -> list[Row]:
        """The events after that position, in order: so many at most, and no more bytes, but one in any case."""
        self._news = False
        cursor = self._connection.cursor(binary=True)
        return cursor.execute(_PAGE, (after, events_max, bytes_max), prepare=True).fetchall()

    def wait(self, timeout: float) -> bool:
        """Wait for news since the last ``page``, or for ``wake``; whether there may be any."""
        if not self._news:
            waiting = select.poll()
            waiting.register(self._connection.fileno(), select.POLLIN)
            waiting.register(self._woken, select.POLLIN)
            return bool(waiting.poll(1000 * timeout))
        return True

    def head(self) -> int:
        """The position of the newest event, or 0."""
        return self._number("SELECT coalesce(max(notification_id), 0) FROM log.stored_events")

    def state(self, position: int) -> bytes | None:
        """The event at that position as stored, or ``None``."""
        return state(self._connection, position)

    def keys(self, authors: Collection[Id]) -> Mapping[Id, bytes | None]:
        """The wrapped keys of those of these authors who have one; ``None``: it was destroyed."""
        found = self._connection.execute(
            "SELECT author_id, wrapped FROM log.author_keys WHERE author_id = ANY(%s::uuid[])",
            (list(authors),),
            prepare=True,
            binary=True,
        )
        return {Id(str(author)): None if box is None else bytes(box) for author, box in found}

    def destroyed(self, since: datetime | None, margin_seconds: float) -> list[tuple[Id, datetime]]:
        """The authors whose keys were destroyed since then, or so long before, and when; oldest first."""
        found = self._connection.execute(
            "SELECT author_id, destroyed_at FROM log.author_keys"
            " WHERE destroyed_at > coalesce(%s::timestamptz - %s * interval '1 second', '-infinity')"
            " ORDER BY destroyed_at",
            (since, margin_seconds),
        )
        return [(Id(str(author)), at) for author, at in found]

    def compare_keys(self) -> datetime:
        """Begin to compare the keys that are in Kafka with those here; nothing is known of what is there. The time."""
        self._connection.execute(_KEYS_THERE)
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        found: datetime = row[0]
        return found

    def there(self, keys: Mapping[Id, bytes | None]) -> None:
        """These keys are in Kafka, in place of what was there of the same authors."""
        digests = [None if wrapped is None else sha256(wrapped).digest() for wrapped in keys.values()]
        self._connection.execute(_KEY_THERE, (list(keys), digests), prepare=True)

    def not_there(self, made_before: datetime, after: Id, authors_max: int) -> tuple[Mapping[Id, bytes], Id | None]:
        """Looks at so many authors in the order of their ids, from after that one.

        Gives those of their wrapped keys that are not there as they are here, and the last author that was looked at;
        ``None`` if there was none.
        """
        looked_at = self._connection.execute(
            _KEYS_NOT_THERE, (made_before, after, authors_max), binary=True, prepare=True
        ).fetchall()
        last = Id(str(looked_at[-1][0])) if looked_at else None
        return {Id(str(author)): bytes(box) for author, box in looked_at if box is not None}, last

    def compared_keys(self) -> None:
        """The comparison is over: what was known of the keys in Kafka is forgotten."""
        self._connection.execute(_KEYS_COMPARED)

    def kept(self) -> dict[int, int]:
        """What ``relayed`` has kept."""
        return kept(self._connection)

    def forget_offsets(self, partitions: Collection[int]) -> None:
        """Have the views' workers read those partitions from their beginning: offsets there are another event's now."""
        forget_offsets(self._connection, partitions)

    def relayed(self, positions: Mapping[int, int], frontier: int) -> None:
        """Keep the position last sent to each partition, by its number, and that of the whole; never goes back."""
        partitions = sorted({*positions, EVERYTHING})
        reached = [frontier if number == EVERYTHING else positions[number] for number in partitions]
        self._connection.execute(_RELAYED, (partitions, reached), prepare=True)

    def _heard(self, _: object) -> None:
        self._news = True

    def _number(self, statement: str, params: Sequence[Any] = ()) -> int:
        row = self._connection.execute(statement, params).fetchone()
        return 0 if row is None else int(row[0])
