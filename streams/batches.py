"""One batch of the log into several views at once: a single transaction, and what to do with what cannot be stored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection, DataError, IntegrityError

from infra.rows import Transaction, transaction
from infra.tables import Table
from projections.core import Parked, Projection, Stepped, narrowed, step, touched_keys
from schemas.envelope import Recorded

UNSTORABLE = (DataError, IntegrityError, UnicodeEncodeError)
"""What PostgreSQL, or the way to it, says of a row that no retry can store: a NUL in a text, a number out of range."""


class Batch(Struct, frozen=True):
    """The events after ``expected`` up to ``to``, in order."""

    events: Sequence[Recorded]
    expected: int
    to: int


def fold_batch(
    connection: Connection[Any], tables: Mapping[str, Table], projections: Sequence[Projection], batch: Batch
) -> dict[str, Stepped]:
    """Fold a batch into views that all stand at ``expected``, in one transaction; give what each step did.

    A row that cannot be stored parks its key, as an exception of a fold does: the batch is then halved until the
    event at fault is alone. Raises ``StaleCheckpoint`` when a view is not at ``expected``.
    """
    try:
        return _together(connection, tables, projections, batch)
    except UNSTORABLE:
        done = {projection.name: Stepped({}, ()) for projection in projections}
        for projection in projections:
            for stepped in _in_halves(connection, tables, projection, batch):
                before = done[projection.name]
                done[projection.name] = Stepped(
                    {**before.changed, **stepped.changed}, [*before.parked, *stepped.parked]
                )
        return done


def _together(
    connection: Connection[Any], tables: Mapping[str, Table], projections: Sequence[Projection], batch: Batch
) -> dict[str, Stepped]:
    """All queries are sent before the first answer is needed, so the database loads while the folds run."""
    done = {}
    with transaction(connection, {projection.name: tables[projection.name] for projection in projections}) as opened:
        asked = []
        for projection in projections:
            touched = touched_keys(projection, batch.events)
            rows = opened.rows(projection.name)
            rows.ask(touched)
            asked.append((projection, touched, rows))
        for projection, touched, rows in asked:
            done[projection.name] = step(
                projection, batch.events, rows, expected=batch.expected, to=batch.to, touched=touched
            )
    return done


def _in_halves(
    connection: Connection[Any], tables: Mapping[str, Table], projection: Projection, batch: Batch
) -> Iterator[Stepped]:
    try:
        yield _together(connection, tables, [projection], batch)[projection.name]
    except UNSTORABLE:
        if len(batch.events) == 1:
            yield _key_by_key(connection, tables, projection, batch)
            return
        middle = len(batch.events) // 2
        left, right = batch.events[:middle], batch.events[middle:]
        reached = left[-1].position
        yield from _in_halves(connection, tables, projection, Batch(left, batch.expected, reached))
        yield from _in_halves(connection, tables, projection, Batch(right, reached, batch.to))


def _key_by_key(
    connection: Connection[Any], tables: Mapping[str, Table], projection: Projection, batch: Batch
) -> Stepped:
    """Fold one event into each row it touches apart from the others, and park those rows that cannot be stored."""
    changed: dict[Any, Any] = {}
    parked: list[Parked] = []
    with connection.transaction():
        opened = Transaction(connection, {projection.name: tables[projection.name]})
        rows = opened.rows(projection.name)
        for key in touched_keys(projection, batch.events):
            try:
                with connection.transaction():
                    stepped = step(
                        narrowed(projection, {key}), batch.events, rows, expected=batch.expected, to=batch.to
                    )
                changed.update(stepped.changed)
                parked.extend(stepped.parked)
            except UNSTORABLE as error:
                poison = Parked(key, batch.to, f"{type(error).__name__}: {error}")
                parked.append(poison)
                rows.park([poison])
        rows.advance(batch.expected, batch.to)
        opened.finish()
    return Stepped(changed, parked)
