"""What a projection is, and the one function that runs it.

A projection is a table that is a function of the log. It is declared once::

    scores = Projection("scores", version=1, row=Score)

    @scores.on(VoteCast, key=lambda e: e.target_id)
    def _(row: Score, e: VoteCast) -> Score:
        return row.moved(e.previous, e.value)

and run everywhere by ``step``: live, in a bulk rebuild, up to a past position. A fold takes the row as it
is (or a new one with nothing but its key) and the event, and gives the row as it is after it, or ``None``
when there is no such row any more. A third parameter, if the fold has one, receives the ``Recorded`` event,
for position and times.
"""

import inspect
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence, Set
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from domain.event import Event
from schemas.envelope import Recorded, Undecodable

Key = Hashable
"""The key of a row: the value of its key field, or the tuple of the values where it has several."""


class Row(Struct, frozen=True, gc=False):
    """Base of all rows. Fields are the columns of the table, in its order; all but the key have defaults."""

    key_fields: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> Key:
        """The value of the key field, or the tuple of the values where there are several."""
        values = tuple(getattr(self, name) for name in self.key_fields)
        return values[0] if len(values) == 1 else values


KeysOf = Callable[[Any, Recorded], Iterable[Key]]
Fold = Callable[..., Row | None]


class Handler(Struct, frozen=True):
    """How one kind of event changes the rows it touches: which ones, and each one into what.

    Either ``key`` (at most one row) or ``keys`` (any number) is set. ``whole`` says that the fold takes the
    ``Recorded`` event as its third parameter.
    """

    key: Callable[[Any], Key | None] | None
    keys: KeysOf | None
    fold: Fold
    whole: bool

    def touched(self, recorded: Recorded) -> Iterable[Key]:
        """The keys of the rows that the event changes."""
        if self.key is not None:
            key = self.key(recorded.event)
            return () if key is None else (key,)
        assert self.keys is not None
        return self.keys(recorded.event, recorded)


class Parked(Struct, frozen=True):
    """An event that a fold could not take, or that came after such a one for the same key.

    ``key`` is a row's key, or ``stream_key`` of a stream whose events cannot be told apart any further.
    """

    key: Key
    position: int
    error: str


def stream_key(recorded: Recorded) -> str:
    """The key under which a whole stream waits: its first such event could not be decoded, or has no keys."""
    return f"stream:{recorded.stream_id}"


class Rows(Protocol):
    """The rows of one projection inside one transaction of a store, with what must change together with them.

    A store without transactions may apply ``save`` again with the same rows: it is idempotent.
    """

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        ...

    def has_parked(self) -> bool:
        """Whether any event of this projection is parked. Usually not, and then no key is looked up."""
        ...

    def parked_keys(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that a poison event has parked: later events of theirs must wait behind it."""
        ...

    def save(self, changed: Mapping[Key, Row | None]) -> None:
        """Write the rows; delete those that are ``None``."""
        ...

    def park(self, events: Sequence[Parked]) -> None:
        """Put events into the dead-letter table, in the order given."""
        ...

    def advance(self, expected: int, to: int) -> None:
        """Move the checkpoint by compare-and-set. Raises ``StaleCheckpoint`` if another worker moved it."""
        ...


class StaleCheckpoint(Exception):
    """Another worker already folded this batch; the transaction must be rolled back and the checkpoint read again."""


class Projection:
    """A named, versioned view: its row, the events it handles, and how each is folded into which rows.

    ``version`` grows whenever the same log would give other rows. ``signal`` names the live channel to wake, from
    a row that changed, once the change is committed; it is never called in a rebuild.
    """

    def __init__(
        self, name: str, *, version: int, row: type[Row], signal: Callable[[Any], str | None] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.row = row
        self.signal = signal
        self.handlers: dict[type[Event], list[Handler]] = {}
        self.new: Callable[[Any], Row] = row if len(row.key_fields) == 1 else lambda key: row(*key)
        """Makes the row that nothing has happened to yet, from its key."""

    def on(
        self, *kinds: type[Event], key: Callable[[Any], Key | None] | None = None, keys: KeysOf | None = None
    ) -> Callable[[Fold], Fold]:
        """Fold these kinds of events into the row with that ``key`` (``None``: into no row), or into those ``keys``.

        ``keys`` of one event are distinct.
        """
        if (key is None) == (keys is None):
            raise TypeError("a handler needs one of key= and keys=")

        def register(fold: Fold) -> Fold:
            handler = Handler(key, keys, fold, len(inspect.signature(fold).parameters) == 3)
            for kind in kinds:
                self.handlers.setdefault(kind, []).append(handler)
            return fold

        return register


class Touches(Struct, frozen=True):
    """Which rows a batch touches, in the order of the log; in place of a handler, why there is none."""

    keys: Set[Key]
    each: Sequence[tuple[Key, Handler | str, Recorded]]
    streams: Set[Key]
    """Streams with an event in this batch that has no keys because it is poison."""


def touches(projection: Projection, batch: Sequence[Recorded]) -> Touches:
    """What a batch will touch, before anything is loaded."""
    handlers = projection.handlers
    each: list[tuple[Key, Handler | str, Recorded]] = []
    streams: set[Key] = set()
    for recorded in batch:
        kind = type(recorded.event)
        found = handlers.get(kind)
        if found is None:
            if kind is Undecodable:
                streams.add(stream_key(recorded))
                each.append((stream_key(recorded), recorded.event.reason, recorded))  # type: ignore[attr-defined]
            continue
        for handler in found:
            try:
                if handler.key is not None:
                    key = handler.key(recorded.event)
                    if key is not None:
                        each.append((key, handler, recorded))
                else:
                    each.extend([(key, handler, recorded) for key in handler.touched(recorded)])
            except Exception as error:  # noqa: BLE001 - recorded: the event's stream is parked with this reason
                streams.add(stream_key(recorded))
                each.append((stream_key(recorded), f"{type(error).__name__}: {error}", recorded))
    return Touches({key for key, _, _ in each} - streams, each, streams)


class Stepped(Struct, frozen=True):
    """What a step did: the rows that changed, by key (``None``: deleted), and what it parked."""

    changed: Mapping[Key, Row | None]
    parked: Sequence[Parked]


BEHIND = "an earlier event of this key is parked"


def step(
    projection: Projection,
    batch: Sequence[Recorded],
    rows: Rows,
    *,
    expected: int,
    to: int,
    touched: Touches | None = None,
) -> Stepped:
    """Fold a batch of the log into the rows and move the checkpoint from ``expected`` to ``to``.

    The batch holds the events of positions greater than ``expected`` up to ``to``, in order; kinds that the
    projection does not handle may be left out. An exception of a fold parks its key: that event and all later
    ones of the key go to the dead letters, in order, and every other key moves on. An event that cannot even be
    decoded parks its stream likewise. Nothing is committed here: ``rows`` is one transaction of its owner.
    ``touched`` is ``touches(projection, batch)`` for a caller that already knows it.
    """
    if touched is None:
        touched = touches(projection, batch)
    if not touched.each:
        rows.advance(expected, to)
        return Stepped({}, ())
    current: dict[Key, Row | None] = dict(rows.load(touched.keys)) if touched.keys else {}
    blocked: set[Key] = set()
    if rows.has_parked():
        blocked.update(rows.parked_keys(touched.keys | {stream_key(recorded) for _, _, recorded in touched.each}))
    changed: dict[Key, Row | None] = {}
    parked = fold_touches(projection, touched.each, current, changed, blocked)
    if changed:
        rows.save(changed)
    if parked:
        rows.park(parked)
    rows.advance(expected, to)
    return Stepped(changed, parked)


def fold_touches(
    projection: Projection,
    each: Iterable[tuple[Key, Handler | str, Recorded]],
    current: dict[Key, Row | None],
    changed: dict[Key, Row | None],
    blocked: set[Key],
) -> list[Parked]:
    """Fold each touch into ``current`` and ``changed`` unless its key is ``blocked``; give what must be parked."""
    parked: list[Parked] = []
    new = projection.new
    get = current.get
    for key, handler, recorded in each:
        if blocked:
            stream = stream_key(recorded)
            if stream in blocked:
                last = parked[-1] if parked else None
                if last is None or (last.key, last.position) != (stream, recorded.position):
                    parked.append(Parked(stream, recorded.position, BEHIND))
                continue
            if key in blocked:
                parked.append(Parked(key, recorded.position, BEHIND))
                continue
        if isinstance(handler, str):
            blocked.add(key)
            parked.append(Parked(key, recorded.position, handler))
            continue
        row = get(key)
        if row is None:
            row = new(key)
        try:
            row = handler.fold(row, recorded.event, recorded) if handler.whole else handler.fold(row, recorded.event)
        except Exception as error:  # noqa: BLE001 - whatever a fold raises, it is recorded and the rest moves on
            blocked.add(key)
            parked.append(Parked(key, recorded.position, f"{type(error).__name__}: {error}"))
        else:
            current[key] = changed[key] = row
    return parked
