"""Dead letters: events that a fold could not take, by key, in order; what to do with them once the cause is gone.

They hold up nothing but their own key. The events stay in the log; a dead letter is the position of one. A rebuild
of the view folds the whole log afresh, so it empties the view's dead letters as well.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import psycopg
import structlog
from msgspec import Struct
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from infra.cassandra.log import LogStore, table_of
from infra.postgres import in_short
from infra.rows import Transaction, key_of, key_text, lock_checkpoints
from infra.signals import late
from projections.core import Key, Projection, Row, Rows, View, fold, narrowed, touched_keys, touching
from projections.stepping import Stepped
from schemas.envelope import Recorded
from streams.announcing import channels_of, to_wake
from streams.batches import UNSTORABLE
from streams.runner import Publisher

LIST_KEYS_MAX = 1000
"""Keys listed at once, unless told otherwise."""

LOCK_SECONDS_MAX = 10.0
"""How long a change waits for the view: a batch takes less, and only the comparison of a rebuild takes more."""

READ_EVENTS_MAX = 1000
"""Events of the log read at once; what lies between dead letters nearer to each other than that is read, too."""

_log = structlog.get_logger(__name__)


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
    """What a retry did: ``applied`` events are in the view now, ``left`` still wait, the first for ``error``.

    ``moved`` are those of a stream that wait under the keys of their rows now.
    """

    applied: int
    left: int
    error: str | None
    moved: int = 0


class NotParked(LookupError):
    """There are no dead letters of that projection under that key."""

    def __init__(self, projection: str, key: Key) -> None:
        super().__init__(f"{projection} has no dead letters under {key_text(key)}")


class OtherVersion(Exception):
    """Another version built the view: these folds are not for its rows. Nothing was changed."""


class ViewHeld(Exception):
    """Others held the view for too long. Nothing was changed; try again."""


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


def parked_keys(connection: Connection[Any], projection: str) -> list[Key]:
    """All parked keys of the projection, in the order of their first dead letters."""
    found = connection.execute(
        "SELECT key FROM views.dead_letters WHERE projection = %s GROUP BY key ORDER BY min(position), key",
        (projection,),
    )
    return [key_of(key) for (key,) in found.fetchall()]


def discard(connection: Connection[Any], projection: str, key: Key, at: Collection[int] | None = None) -> int:
    """Forget the dead letters of a key, or those at these positions; gives how many. The view never sees them.

    Discarding the poison one alone lets the others be retried without it. Raises ``NotParked`` and ``ViewHeld``.
    """
    with _changing(connection, projection):
        # Or the runner, which knows the key for a parked one, would put its next event into an empty place.
        lock_checkpoints(connection, [projection])
        gone = connection.execute(
            "DELETE FROM views.dead_letters WHERE projection = %(name)s AND key = %(key)s"
            " AND (%(at)s::bigint[] IS NULL OR position = ANY(%(at)s))",
            {"name": projection, "key": key_text(key), "at": None if at is None else list(at)},
        ).rowcount
    if not gone:
        raise NotParked(projection, key)
    _log.warning("views.discarded", projection=projection, key=key, events=gone)
    return gone


def retry(
    connection: Connection[Any],
    log: Log,
    projection: Projection,
    key: Key,
    publisher: Publisher | None = None,
    *,
    message_log: LogStore | None = None,
) -> Retried:
    """Fold the dead letters of a key into the view, in order, up to the first that still fails.

    Rows and dead letters change together, while the runner and all workers wait; what changed is signalled after the
    commit, as of the first event: what it led to bears positions that readers may be past. Raises ``NotParked``,
    ``OtherVersion`` and ``ViewHeld``.
    """
    # Most of them are read before anybody has to wait.
    read = _events(log, positions(connection, projection.name, key))
    changed: dict[Key, Row | None] = {}
    with _changing(connection, projection.name):
        opened = Transaction(connection, {projection.name: table_of(projection, message_log)}, {})
        _check_version(opened, projection)
        waiting = positions(connection, projection.name, key)
        read |= _events(log, [position for position in waiting if position not in read])
        try:
            with connection.transaction():
                outcome = _fold_again(opened, projection, key, [read[position] for position in waiting], changed)
        except UNSTORABLE as error:
            changed.clear()
            reason = in_short(error)
            _explain(connection, projection.name, key, waiting[0], reason)
            outcome = Retried(0, len(waiting), reason)
    _log.info("views.retried", projection=projection.name, key=key, applied=outcome.applied, left=outcome.left)
    if publisher is not None and changed:
        done, only, signalled = {projection.name: Stepped(changed, ())}, {projection.name: projection}, late(waiting[0])
        try:
            publisher.publish(to_wake(connection, only, done, signalled), None)
        except psycopg.Error as error:  # it is done all the same: whomever it concerns is to read anew
            _log.warning("views.retried_unsaid", projection=projection.name, error=in_short(error))
            publisher.publish(channels_of(only, done, signalled), None)
            publisher.say_lost()
    return outcome


@contextmanager
def _changing(connection: Connection[Any], projection: str) -> Iterator[None]:
    """A transaction that waits for the view for a while."""
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_SECONDS_MAX * 1000:.0f}ms",))
            yield
    except LockNotAvailable as error:
        raise ViewHeld(f"others held {projection} for {LOCK_SECONDS_MAX:.0f} s") from error


def _check_version(opened: Transaction, projection: Projection) -> None:
    built = {checkpoint.version for checkpoint in opened.checkpoints.values()}
    if built != {projection.version}:
        raise OtherVersion(f"{projection.name} was built by another version of its declaration")


def _events(log: Log, at: Sequence[int]) -> dict[int, Recorded]:
    """The events at those positions, which are in order."""
    found: dict[int, Recorded] = {}
    begin = 0
    while begin < len(at):
        end = bisect_left(at, at[begin] + READ_EVENTS_MAX)
        wanted = set(at[begin:end])
        page = log.read_sync(at[begin] - 1, at[end - 1] - at[begin] + 1)
        found |= {event.position: event for event in page if event.position in wanted}
        begin = end
    return found


def _fold_again(
    opened: Transaction, projection: Projection, key: Key, events: Sequence[Recorded], changed: dict[Key, Row | None]
) -> Retried:
    """Fold what waits under the key; ``changed`` is told of the rows."""
    rows = opened.rows(projection.name)
    if isinstance(key, str) and key.startswith("stream:"):
        touched = touched_keys(projection, events)
        loaded = dict(rows.load(touched)) if touched else {}
        view = View(_behind(projection, rows, touched), loaded, set(rows.parked_keys(touched)))
    else:
        touched = {key}
        loaded = dict(rows.load(touched))
        view = View(_behind(narrowed(projection, touched), rows, touched), loaded, set())
    elsewhere = frozenset(view.blocked)
    fold((view,), events)
    failed = [parked for parked in view.parked if parked.key == key]
    moved = [parked for parked in view.parked if parked.key != key]
    done = [event.position for event in events if not failed or event.position < failed[0].position]
    if done:
        changed.update((one, view.rows.get(one)) for one in touched if one not in elsewhere)
        rows.save(changed)
    rows.park(moved)
    opened.execute(
        "DELETE FROM views.dead_letters WHERE projection = %s AND key = %s AND position = ANY(%s)",
        (projection.name, key_text(key), done),
    )
    if failed:
        _explain(opened.connection, projection.name, key, failed[0].position, failed[0].error)
    again = {parked.position for parked in moved}
    return Retried(len(done) - len(again), len(events) - len(done), failed[0].error if failed else None, len(again))


def _behind(projection: Projection, rows: Rows, touched: Collection[Key]) -> Projection:
    """The same projection for those events alone that are not in the rows yet: an earlier try may have been cut off."""
    ahead = rows.ahead(touched)
    return touching(projection, lambda key, at: ahead.get(key, 0) < at.position) if ahead else projection


def _explain(connection: Connection[Any], projection: str, key: Key, position: int, error: str) -> None:
    connection.execute(
        "UPDATE views.dead_letters SET error = %s WHERE projection = %s AND key = %s AND position = %s",
        (error.replace("\0", "\\0"), projection, key_text(key), position),
    )
