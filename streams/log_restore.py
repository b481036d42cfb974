"""An event store made whole again from the topics: the same events at the same positions, and their authors' keys.

All of it is one transaction. What is not whole is refused, and leaves the store as empty as it was.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.event import Id
from infra.event_log import EventLog, settled
from infra.failures import Failure
from infra.keyring import Keyring, MemoryKeys, WrongMasterKey
from infra.log_records import EVENT_TOPICS, NotOurs, Unplaceable, is_foreign, names, outgoing, row_of
from streams.log_audit import read_keys

MISSING_LISTED_MAX: Final = 10


class NotRestored(Failure):
    """The store was not restored, and is as it was."""


class Restored(Struct, frozen=True):
    """What was brought back. ``unreadable`` authors have events and neither a key nor word that it was destroyed.

    ``foreign`` records were passed over: they are in the topics, and no relay has sent them.
    """

    events: int
    streams: int
    keys: int
    destroyed_keys: int
    unreadable: list[Id]
    foreign: int = 0


def restore(
    connection: Connection[Any],
    log: EventLog,
    master_key: bytes,
    *,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Restored:
    """Fill an empty store from the topics. Raises ``NotRestored`` and ``LogUnavailable``."""
    ends = settled(log, names(EVENT_TOPICS))
    of = sum(end - first for first, end in ends.values())
    keys = check_master_key(log, master_key)
    try:
        with connection.transaction():
            connection.execute("LOCK TABLE log.stored_events IN EXCLUSIVE MODE")
            _check_empty(connection)
            authors: set[Id] = set()
            done = foreign = 0
            with connection.cursor().copy(
                "COPY log.stored_events (notification_id, originator_id, originator_version, topic, state)"
                " FROM STDIN (FORMAT binary)"
            ) as copy:
                copy.set_types(["int8", "uuid", "int8", "text", "bytea"])
                for page in log.read(ends):
                    rows = [row_of(record) for record in page if not is_foreign(record)]
                    foreign += len(page) - len(rows)
                    authors |= outgoing(rows).authors
                    for position, stream_id, *others in rows:
                        copy.write_row((position, UUID(stream_id), *others))
                    done += len(rows)
                    progress(done + foreign, of)
            streams = _check_whole(connection)
            _put_keys(connection, keys)
            # They came partition by partition; pages of the log are read by position.
            connection.execute("CLUSTER log.stored_events USING stored_events_notification_id_idx")
            connection.execute("SELECT pg_notify('stored_events', '')")
    except psycopg.errors.UniqueViolation as error:
        raise _not_whole(f"Something is in the topics twice: {error.diag.message_detail or error}.") from error
    except (NotOurs, Unplaceable) as error:
        raise _not_whole(f"{error}.") from error
    connection.execute("ANALYZE log.stored_events")
    destroyed = sum(wrapped is None for wrapped in keys.values())
    return Restored(done, streams, len(keys) - destroyed, destroyed, sorted(authors - keys.keys()), foreign)


def check_master_key(log: EventLog, master_key: bytes) -> Mapping[Id, bytes | None]:
    """The keys in the topics. Raises ``NotRestored`` unless the secrets at hand open them."""
    keys = read_keys(log)
    there = {author: wrapped for author, wrapped in keys.items() if wrapped is not None}
    if not there:
        return keys
    store = MemoryKeys()
    author = next(iter(there))
    store.create({author: there[author]})
    try:
        Keyring(store, master_key).fetch([author])
    except WrongMasterKey as error:
        raise NotRestored(
            "The secrets at hand do not belong to these topics.",
            "The authors' keys in Kafka were wrapped with another master key: nobody could read what they wrote.",
            "Put secrets.json of the lost installation into the data directory first.",
        ) from error
    return keys


def _check_empty(connection: Connection[Any]) -> None:
    for table in ("stored_events", "author_keys"):
        row = connection.execute(SQL("SELECT EXISTS (SELECT FROM log.{})").format(Identifier(table))).fetchone()
        if row is not None and row[0]:
            raise NotRestored(
                "The event store is not empty.",
                f"log.{table} has rows already. Two histories cannot be mixed, and nothing is overwritten.",
                "Restore into a new database: MOOT_DATABASE_URL=… moot log restore",
            )


def _check_whole(connection: Connection[Any]) -> int:
    """Make sure that no position and no version is missing; the number of streams."""
    row = connection.execute(
        "SELECT count(*), coalesce(min(notification_id), 1), coalesce(max(notification_id), 0) FROM log.stored_events"
    ).fetchone()
    assert row is not None
    count, first, last = row
    if (first, last) != (1, count):
        missing = connection.execute(
            "SELECT position FROM generate_series(1, %s) AS position"
            " WHERE NOT EXISTS (SELECT FROM log.stored_events WHERE notification_id = position) LIMIT %s",
            (last, MISSING_LISTED_MAX),
        ).fetchall()
        listed = ", ".join(str(position) for (position,) in missing)
        raise _not_whole(f"{last - count:,} of {last:,} events are missing, the first at {listed}.")
    torn = connection.execute(
        "SELECT originator_id FROM log.stored_events GROUP BY originator_id"
        " HAVING min(originator_version) <> 1 OR max(originator_version) <> count(*) LIMIT 1"
    ).fetchone()
    if torn is not None:
        raise _not_whole(f"The versions of stream {torn[0]} do not follow each other.")
    row = connection.execute("SELECT count(DISTINCT originator_id) FROM log.stored_events").fetchone()
    return int(row[0]) if row is not None else 0


def _put_keys(connection: Connection[Any], keys: Mapping[Id, bytes | None]) -> None:
    connection.cursor().execute(
        "INSERT INTO log.author_keys (author_id, wrapped, destroyed_at)"
        " SELECT author, wrapped, CASE WHEN wrapped IS NULL THEN now() END"
        " FROM unnest(%s::uuid[], %s::bytea[]) AS kept(author, wrapped)",
        (list(keys), list(keys.values())),
    )


def _not_whole(why: str) -> NotRestored:
    return NotRestored(
        "The topics do not hold the whole log.",
        why,
        "Nothing was changed. See what there is with moot log audit against the store, if it still exists.",
    )
