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
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from domain.event import Event
from schemas.envelope import Recorded

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


KeyOf = Callable[[Any], Key | None]
Fold = Callable[[Any, Any, Recorded], Row | None]


class Handler(Struct, frozen=True):
    """How one kind of event changes the rows it touches: which ones, and each one into what."""

    keys: Callable[[Any, Recorded], Iterable[Key]]
    fold: Fold


class Parked(Struct, frozen=True):
    """An event that a fold could not take, or that came after such a one for the same key."""

    key: Key
    position: int
    error: str


class Rows(Protocol):
    """The rows of one projection inside one transaction of a store, with what must change together with them.

    A store without transactions may apply ``save`` again with the same rows: it is idempotent.
    """

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
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

    def on(
        self,
        *kinds: type[Event],
        key: Callable[[Any], Key | None] | None = None,
        keys: Callable[[Any, Recorded], Iterable[Key]] | None = None,
    ) -> Callable[[Callable[..., Row | None]], Callable[..., Row | None]]:
        """Fold these kinds of events into the row with that ``key`` (``None``: into no row), or into those ``keys``."""
        keys_of = keys if keys is not None else _single(key)

        def register(fold: Callable[..., Row | None]) -> Callable[..., Row | None]:
            for kind in kinds:
                self.handlers.setdefault(kind, []).append(Handler(keys_of, _with_three_parameters(fold)))
            return fold

        return register

    def new(self, key: Key) -> Row:
        """The row that nothing has happened to yet."""
        return self.row(*key) if isinstance(key, tuple) else self.row(key)


class Stepped(Struct, frozen=True):
    """What a step did: the rows that changed, by key (``None``: deleted), and what it parked."""

    changed: Mapping[Key, Row | None]
    parked: Sequence[Parked]


def step(projection: Projection, batch: Sequence[Recorded], rows: Rows, *, expected: int, to: int) -> Stepped:
    """Fold a batch of the log into the rows and move the checkpoint from ``expected`` to ``to``.

    The batch holds the events of positions greater than ``expected`` up to ``to``, in order; kinds that the
    projection does not handle may be left out. An exception of a fold parks its key: that event and all later
    ones of the key go to the dead letters, in order, and every other key moves on. Nothing is committed here:
    ``rows`` is one transaction of its owner.
    """
    touches = [
        (key, handler.fold, recorded)
        for recorded in batch
        for handler in projection.handlers.get(type(recorded.event), ())
        for key in handler.keys(recorded.event, recorded)
    ]
    keys = {key for key, _, _ in touches}
    current: dict[Key, Row | None] = dict(rows.load(keys))
    blocked = set(rows.parked_keys(keys))
    changed: dict[Key, Row | None] = {}
    parked: list[Parked] = []
    for key, fold, recorded in touches:
        if key in blocked:
            parked.append(Parked(key, recorded.position, "an earlier event of this key is parked"))
            continue
        row = current.get(key) or projection.new(key)
        try:
            current[key] = changed[key] = fold(row, recorded.event, recorded)
        except Exception as error:  # noqa: BLE001 - whatever a fold raises, it is recorded and the rest moves on
            blocked.add(key)
            parked.append(Parked(key, recorded.position, f"{type(error).__name__}: {error}"))
    rows.save(changed)
    if parked:
        rows.park(parked)
    rows.advance(expected, to)
    return Stepped(changed, parked)


def _single(key: Callable[[Any], Key | None] | None) -> Callable[[Any, Recorded], Iterable[Key]]:
    if key is None:
        raise TypeError("a handler needs key= or keys=")

    def keys_of(event: Any, _: Recorded) -> Iterable[Key]:
        found = key(event)
        return () if found is None else (found,)

    return keys_of


def _with_three_parameters(fold: Callable[..., Row | None]) -> Fold:
    if len(inspect.signature(fold).parameters) == 3:
        return fold
    return lambda row, event, _: fold(row, event)
