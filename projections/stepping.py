"""The one function that runs a projection: a batch of events into rows and on with the checkpoint."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

from msgspec import Struct

from projections.core import Key, Parked, Projection, Row, Rows, View, fold, stream_key, touched_keys, touching
from schemas.envelope import Recorded


class Stepped(Struct, frozen=True):
    """What a step did: the rows that changed, by key (``None``: deleted), and what it parked."""

    changed: Mapping[Key, Row | None]
    parked: Sequence[Parked]


def step(
    projection: Projection,
    batch: Sequence[Recorded],
    rows: Rows,
    *,
    expected: int,
    to: int,
    touched: Collection[Key] | None = None,
) -> Stepped:
    """Fold a batch of the log into the rows, as ``fold`` does, and move the checkpoint from ``expected`` to ``to``.

    The batch holds the events of one partition of the log, in order, that are of positions greater than ``expected`` up
    to ``to``; kinds that the projection does not handle may be left out, and those up to ``expected``, which were
    delivered again, are. Nothing is committed here: ``rows`` is one transaction of its owner. ``touched`` is
    ``touched_keys(projection, batch)`` for a caller that already knows it.
    """
    if to <= expected:
        return Stepped({}, ())
    fresh = after(batch, expected)
    if touched is None or fresh is not batch:
        touched = touched_keys(projection, fresh)
    stepped = fold_into(projection, fresh, rows, touched)
    rows.advance(expected, to)
    return stepped


def after(batch: Sequence[Recorded], position: int) -> Sequence[Recorded]:
    """Those of the events, which are in order, that come after the position."""
    if not batch or batch[0].position > position:
        return batch
    return batch[bisect_right(batch, position, key=attrgetter("position")) :]


def fold_into(projection: Projection, batch: Sequence[Recorded], rows: Rows, touched: Collection[Key]) -> Stepped:
    """Fold a batch into the rows as ``step`` does, for whoever moves the checkpoints himself: of several partitions.

    The events of each partition are in order; ``touched`` is ``touched_keys(projection, batch)``.
    """
    loaded = dict(rows.load(touched)) if touched else {}
    ahead = rows.ahead(touched)
    folding = touching(projection, lambda key, at: ahead.get(key, 0) < at.position) if ahead else projection
    view = View(folding, loaded, set())
    if rows.has_parked():
        view.blocked.update(rows.parked_keys({*touched, *map(stream_key, batch)}))
    waiting = frozenset(view.blocked)
    fold((view,), batch)
    changed = {key: view.rows.get(key) for key in touched if key not in waiting}
    if changed:
        rows.save(changed)
    if view.parked:
        rows.park(view.parked)
    return Stepped(changed, view.parked)
