"""Dead letters: events that a fold could not take, by key, in order; what to do with them once the cause is gone.

They hold up nothing but their own key. The events stay in the log; a dead letter is the position of one. A rebuild
of the view folds the whole log afresh, so it empties the view's dead letters as well.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct
from psycopg import Connection

from infra.rows import Transaction, key_of, key_text
from infra.tables import Table
from projections.core import Key, Projection, View, fold, narrowed, touched_keys
from schemas.envelope import Recorded
from streams.batches import UNSTORABLE

LIST_KEYS_MAX = 1000
"""Keys listed at once, unless told otherwise."""


class Log(Protocol):
    """The log as a thread reads it."""

    def read_sync(self, after: int, limit: int) -> Sequence[Recorded]:
        """At most ``limit`` events with a position greater than ``after``, in order."""
        ...


class DeadLetters(Struct, frozen=True):
    """One parked key: its first event is poison for the reason given, the others wait behind it."""

    projection: str
    key: Key
    events: int
    first_position: int
    last_position: int
    error: str
    parked_at: datetime


class Retried(Struct, frozen=True):
    """What a retry did: ``applied`` events are in the view now, ``left`` still wait, the first for ``error``."""

    applied: int
    left: int
    error: str | None


class NotParked(LookupError):
    """There are no dead letters of that projection under that key."""

    def __init__(self, projection: str, key: Key) -> None:
        super().__init__(f"{projection} has no dead letters under {key_text(key)}; list them to see the keys")


def dead_letters(
    connection: Connection[Any], projection: str | None = None, *, limit: int = LIST_KEYS_MAX
) -> list[DeadLetters]:
    """The parked keys, of one projection or of all, those parked longest first."""
    found = connection.execute(
        "SELECT projection, key, count(*), min(position), max(position), (array_agg(error ORDER BY position))[1],"
        " min(parked_at) FROM views.dead_letters"
        " WHERE projection = %(name)s OR %(name)s::text IS NULL AND right(projection, 9) <> '_previous'"
        " GROUP BY projection, key ORDER BY min(parked_at), min(position), projection, key LIMIT %(limit)s",
        {"name": projection, "limit": limit},
    )
    return [
        DeadLetters(name, key_of(key), count, first, last, error, parked_at)
        for name, key, count, first, last, error, parked_at in found.fetchall()
    ]


def positions(connection: Connection[Any], projection: str, key: Key) -> list[int]:
    """Where in the log the dead letters of one key are, in order. Raises ``NotParked``."""
    found = connection.execute(
        "SELECT position FROM views.dead_letters WHERE projection = %s AND key = %s ORDER BY position",
        (projection, key_text(key)),
    ).fetchall()
    if not found:
        raise NotParked(projection, key)
    return [position for (position,) in found]


def discard(connection: Connection[Any], projection: str, key: Key, position: int | None = None) -> int:
    """Forget the dead letters of a key, or the one at that position; gives how many. The view never sees them.

    Discarding the poison one alone lets the others be retried without it. Raises ``NotParked``.
    """
    gone = connection.execute(
        "DELETE FROM views.dead_letters WHERE projection = %(name)s AND key = %(key)s"
        " AND (%(at)s::bigint IS NULL OR position = %(at)s)",
        {"name": projection, "key": key_text(key), "at": position},
    ).rowcount
    if not gone:
        raise NotParked(projection, key)
    return gone


def retry(connection: Connection[Any], log: Log, projection: Projection, key: Key) -> Retried:
    """Fold the dead letters of a key into the view, in order, up to the first that still fails.

    Rows and dead letters change together, while the runner and all workers wait. Raises ``NotParked``.
    """
    with connection.transaction():
        opened = Transaction(connection, {projection.name: Table(projection)}, {})
        waiting = positions(connection, projection.name, key)
        try:
            with connection.transaction():
                outcome = _fold_again(log, opened, projection, key, waiting)
        except UNSTORABLE as error:
            reason = f"{type(error).__name__}: {error}"
            _explain(connection, projection.name, key, waiting[0], reason)
            outcome = Retried(0, len(waiting), reason)
    return outcome


def _fold_again(log: Log, opened: Transaction, projection: Projection, key: Key, waiting: Sequence[int]) -> Retried:
    events = [log.read_sync(position - 1, 1)[0] for position in waiting]
    rows = opened.rows(projection.name)
    if isinstance(key, str) and key.startswith("stream:"):
        touched = touched_keys(projection, events)
        view = View(projection, dict(rows.load(touched)) if touched else {}, set(rows.parked_keys(touched)))
    else:
        touched = {key}
        view = View(narrowed(projection, touched), dict(rows.load(touched)), set())
    elsewhere = frozenset(view.blocked)
    fold((view,), events)
    failed = [parked for parked in view.parked if parked.key == key]
    applied = [position for position in waiting if not failed or position < failed[0].position]
    changed = {one: view.rows.get(one) for one in touched if one not in elsewhere}
    if changed:
        rows.save(changed)
    rows.park([parked for parked in view.parked if parked.key != key])
    opened.execute(
        "DELETE FROM views.dead_letters WHERE projection = %s AND key = %s AND position = ANY(%s)",
        (projection.name, key_text(key), applied),
    )
    if failed:
        _explain(opened.connection, projection.name, key, failed[0].position, failed[0].error)
    return Retried(len(applied), len(waiting) - len(applied), failed[0].error if failed else None)


def _explain(connection: Connection[Any], projection: str, key: Key, position: int, error: str) -> None:
    connection.execute(
        "UPDATE views.dead_letters SET error = %s WHERE projection = %s AND key = %s AND position = %s",
        (error.replace("\0", "\\0"), projection, key_text(key), position),
    )
