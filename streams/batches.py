"""One batch of the log into several views at once: a single transaction, and what to do with what cannot be stored."""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, DataError, IntegrityError

from infra.postgres import in_short
from infra.rows import PARTITION, Transaction, transaction
from infra.tables import Table
from projections.core import Parked, Projection, narrowed, touched_keys
from projections.stepping import Stepped, after, fold_into, step
from schemas.envelope import Recorded
from streams.observing import Observed

UNSTORABLE = (DataError, IntegrityError, UnicodeEncodeError)
"""What PostgreSQL, or the way to it, says of a row that no retry can store: a NUL in a text, a number out of range."""


class Batch(Struct, frozen=True):
    """The events of a partition after ``expected`` up to ``to``, in order; ``offset`` is that in the topic after them.

    It may begin with events that the views have already: they were delivered again, and are left out. ``read_on``: it
    was read on from an offset that the checkpoint had, and has still, unless the topic was found to have lost its end.
    """

    events: Sequence[Recorded]
    expected: int
    to: int
    partition: int = PARTITION
    offset: int | None = None
    read_on: bool = False


def fold_batch(
    connection: Connection[Any], tables: Mapping[str, Table], projections: Sequence[Projection], batch: Batch
) -> dict[str, Stepped]:
    """Fold a batch into views that all stand at ``expected``, in one transaction; give what each step did.

    A row that cannot be stored parks its key, as an exception of a fold does: the batch is then halved until the
    event at fault is alone. Raises ``StaleCheckpoint`` when a view is not at ``expected``.
    """
    return fold_batches(connection, tables, projections, [batch])


def fold_batches(
    connection: Connection[Any],
    tables: Mapping[str, Table],
    projections: Sequence[Projection],
    batches: Sequence[Batch],
) -> dict[str, Stepped]:
    """Fold batches of several partitions, one each, as ``fold_batch`` does with one, in one transaction.

    Raises ``StaleCheckpoint`` when a view is not where one of them expects it; nothing of any is folded then.
    """
    done = {projection.name: Stepped({}, ()) for projection in projections}
    fresh = [_fresh(batch) for batch in batches if batch.to > batch.expected]
    if not fresh:
        return done
    try:
        return _together(connection, tables, projections, fresh)
    except UNSTORABLE:
        for projection in projections:
            for batch in fresh:
                for stepped in _in_halves(connection, tables, projection, batch):
                    before = done[projection.name]
                    done[projection.name] = Stepped(
                        {**before.changed, **stepped.changed}, [*before.parked, *stepped.parked]
                    )
        return done


def _fresh(batch: Batch) -> Batch:
    events = after(batch.events, batch.expected)
    if events is batch.events:
        return batch
    return replace(batch, events=events)


def _together(
    connection: Connection[Any],
    tables: Mapping[str, Table],
    projections: Sequence[Projection],
    batches: Sequence[Batch],
) -> dict[str, Stepped]:
    """All queries are sent before the first answer is needed, so the database loads while the folds run."""
    done = {}
    observed = Observed()
    over = {projection.name: tables[projection.name] for projection in projections}
    with transaction(connection, over, {batch.partition: batch.offset for batch in batches}) as opened:
        for name in over:
            for batch in batches:
                opened.require(name, batch.partition, batch.expected, read_on=batch.read_on)
        events = _merged(batches)
        asked = []
        for projection in projections:
            touched = touched_keys(projection, events)
            rows = opened.rows(projection.name)
            rows.ask(touched)
            asked.append((projection, touched, rows))
        for projection, touched, rows in asked:
            done[projection.name] = fold_into(projection, events, rows, touched)
            for batch in batches:
                opened.moves[projection.name, batch.partition] = (batch.expected, batch.to)
        observed.folded()
    observed.committed(events, list(over), relayed=batches[0].partition != PARTITION)
    return done


def _merged(batches: Sequence[Batch]) -> Sequence[Recorded]:
    """The events of all batches, those of each in order."""
    if len(batches) == 1:
        return batches[0].events
    return sorted((event for batch in batches for event in batch.events), key=attrgetter("position"))


def _in_halves(
    connection: Connection[Any], tables: Mapping[str, Table], projection: Projection, batch: Batch
) -> Iterator[Stepped]:
    try:
        yield _together(connection, tables, [projection], [batch])[projection.name]
    except UNSTORABLE:
        if len(batch.events) == 1:
            yield _key_by_key(connection, tables, projection, batch)
            return
        middle = len(batch.events) // 2
        left, right = batch.events[:middle], batch.events[middle:]
        reached = left[-1].position
        # Between the halves it is not known where to read on; the offset before the batch does.
        yield from _in_halves(connection, tables, projection, replace(batch, events=left, to=reached, offset=None))
        rest = replace(batch, events=right, expected=reached)
        yield from _in_halves(connection, tables, projection, rest)


def _key_by_key(
    connection: Connection[Any], tables: Mapping[str, Table], projection: Projection, batch: Batch
) -> Stepped:
    """Fold one event into each row it touches apart from the others, and park those rows that cannot be stored."""
    changed: dict[Any, Any] = {}
    parked: list[Parked] = []
    with connection.transaction():
        opened = Transaction(connection, {projection.name: tables[projection.name]}, {batch.partition: batch.offset})
        opened.require(projection.name, batch.partition, batch.expected, read_on=batch.read_on)
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
                poison = Parked(key, batch.to, in_short(error))
                parked.append(poison)
                rows.park([poison])
        rows.advance(batch.expected, batch.to)
        opened.finish()
    return Stepped(changed, parked)
