"""What a projection is, and how events are folded into its rows.

A projection is a table that is a function of the log. It is declared once::

    scores = Projection("scores", version=1, row=Score)

    @scores.on(VoteCast, key=lambda e: e.target_id)
    def _(row: Score, e: VoteCast) -> Score:
        up, down = (e.value > 0) - (e.previous > 0), (e.value < 0) - (e.previous < 0)
        return Score(row.target_id, row.up + up, row.down + down)

and run everywhere by ``stepping.step``: live, in a bulk rebuild, up to a past position. A fold takes the row as it is
(or a new one with nothing but its key) and the event, and gives the row as it is after it, or ``None`` when there is
no such row any more. A third parameter, if the fold has one, receives the ``Recorded`` event, for position and times.
"""

import inspect
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from msgspec import Struct

from domain.event import Event
from projections.bulk import Alike, BulkFold, MakeColumns, PartsOfRows
from schemas.envelope import Recorded, Undecodable

if TYPE_CHECKING:
    from projections.columns import Columns, Combine

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

    def touched(self, recorded: Recorded) -> Sequence[Key]:
        """The keys of the rows that the event changes."""
        if self.key is not None:
            key = self.key(recorded.event)
            return () if key is None else (key,)
        assert self.keys is not None
        return tuple(self.keys(recorded.event, recorded))


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

    A store without transactions holds back what it is told until ``advance``, which is called last, and writes then:
    rows, dead letters, checkpoint. Of each row it keeps how far in the partition it has come, and says so in ``ahead``,
    so that folding a batch again that was half written changes nothing.
    """

    def load(self, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Those of the rows that exist."""
        ...

    def ahead(self, keys: Collection[Key]) -> Mapping[Key, int]:
        """Up to which position of the partition those of the rows hold its events that are past the checkpoint.

        Asked after ``load``. Nothing where rows and checkpoint change together.
        """
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
        """Move the checkpoint of the partition by compare-and-set.

        Raises ``StaleCheckpoint`` if another worker moved it.
        """
        ...


class StaleCheckpoint(Exception):
    """Another worker already folded this batch; the transaction must be rolled back and the checkpoint read again."""


class Projection:
    """A named, versioned view: its row, the events it handles, and how each is folded into which rows.

    ``version`` grows whenever the same log would give other rows. ``signal`` names the live channel or channels to
    wake, from a row that changed, or from one with nothing but its key where the row is gone, once that is committed;
    it is never called in a rebuild. ``done`` says of a row that no event after a position can touch it; rows of one
    event each have no need of it. ``local`` says that no row is touched by events of two partitions
    (``schemas.topics``): whoever folds one need not wait for those who fold others. ``message_log`` says that rows live
    in Cassandra where there is one: a local view whose rows are never deleted and name the position of their last
    event.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        row: type[Row],
        signal: Callable[[Any], str | tuple[str, ...] | None] | None = None,
        done: Callable[[Any, int], bool] | None = None,
        local: bool = False,
        message_log: bool = False,
    ) -> None:
        if message_log and not local:
            raise TypeError(f"{name}: a view of the message log is local, as its store cannot compare and set")
        self.name = name
        self.version = version
        self.row = row
        self.signal = signal
        self.done = done
        self.local = local
        self.message_log = message_log
        self.handlers: dict[type[Event], list[Handler]] = {}
        self.bulk: BulkFold | None = None
        self.bulk_kinds: frozenset[type[Event]] = frozenset()
        self.make_columns: MakeColumns | None = None
        self.page_events = 1
        self.parts: PartsOfRows | None = None
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

    def in_bulk(self, *kinds: type[Event]) -> Callable[[BulkFold], BulkFold]:
        """Register a shortcut: what the folds of these kinds do to the rows, for all such events of a page at once.

        Other kinds of the page are folded before or after them, so no stream may hold both, unless their order does not
        matter. A rebuild uses it, and the tests of equivalence compare it with the folds.
        """

        def register(fold: BulkFold) -> BulkFold:
            self.bulk, self.bulk_kinds = fold, frozenset(kinds)
            return fold

        return register

    def in_columns(self, *, page_events: int = 1) -> Callable[[MakeColumns], MakeColumns]:
        """Register a shortcut: all rows that a page makes, for a view none of whose rows two pages touch.

        Pages end before a multiple of ``page_events``, and begin at one. The shortcut takes all kinds of the view.
        """

        def register(make: MakeColumns) -> MakeColumns:
            self.make_columns, self.page_events = make, page_events
            self.bulk_kinds = frozenset(self.handlers)
            return make

        return register

    def in_parts(
        self, *kinds: type[Event], gone_at_zero: str = "", **how: "Combine"
    ) -> Callable[[MakeColumns], MakeColumns]:
        """Register a shortcut: what these kinds of events of a page do to rows, as parts of rows of one event each.

        ``how`` says for each field but the keys how parts of one row make a whole one: by their ``sum``, the
        ``largest``, or the ``last``. A row whose field ``gone_at_zero`` is 0 in the end is no row. Keys are ids.
        Other kinds of the page are folded before or after them, as with ``in_bulk``.
        """

        def register(make: MakeColumns) -> MakeColumns:
            ways = tuple("key" if name in self.row.key_fields else how[name] for name in self.row.__struct_fields__)
            self.parts, self.bulk_kinds = PartsOfRows(make, ways, gone_at_zero), frozenset(kinds)
            return make

        return register

    def parts_of(self, page: Mapping[type[Event], Alike]) -> "Columns | None":
        """The parts of rows that a page makes; ``None`` where it makes none. Only where there is such a shortcut."""
        assert self.parts is not None
        found = {kind: alike for kind, alike in page.items() if kind in self.bulk_kinds}
        return self.parts.make(found) if found else None

    def columns_of(self, page: Mapping[type[Event], Alike]) -> "Columns | None":
        """The rows that a page makes; ``None`` where it makes none. Only where there is such a shortcut."""
        assert self.make_columns is not None
        found = {kind: alike for kind, alike in page.items() if kind in self.bulk_kinds}
        return self.make_columns(found) if found else None

    def fold_in_bulk(self, rows: dict[Any, Any], page: Mapping[type[Event], Alike]) -> None:
        """Take the shortcut, if there is one and the page holds any of its kinds."""
        found = {kind: alike for kind, alike in page.items() if kind in self.bulk_kinds}
        if found and self.bulk is not None:
            self.bulk(rows, found)


def only_folds(projection: Projection) -> Projection:
    """The same projection for those events alone that it cannot fold in bulk."""
    rest = Projection(projection.name, version=projection.version, row=projection.row)
    rest.handlers = {kind: found for kind, found in projection.handlers.items() if kind not in projection.bulk_kinds}
    return rest


def narrowed(projection: Projection, only: Set[Key]) -> Projection:
    """The same projection as if it had no other rows than those with these keys."""
    return touching(projection, lambda key, _: key in only)


def touching(projection: Projection, wanted: Callable[[Key, Recorded], bool]) -> Projection:
    """The same projection as if an event touched those rows alone that are wanted."""
    narrow = Projection(projection.name, version=projection.version, row=projection.row)
    for kind, handlers in projection.handlers.items():
        for handler in handlers:

            def keys(_: Event, at: Recorded, of: Handler = handler) -> list[Key]:
                return [key for key in of.touched(at) if wanted(key, at)]

            narrow.handlers.setdefault(kind, []).append(Handler(None, keys, handler.fold, handler.whole))
    return narrow


class View:
    """Rows of one projection that are being folded: all those that the events at hand touch, if they exist.

    ``blocked`` are the keys that wait behind a poison event, ``parked`` what folding added to the dead letters.
    """

    __slots__ = ("blocked", "parked", "projection", "rows")

    def __init__(self, projection: Projection, rows: dict[Key, Row], blocked: set[Key]) -> None:
        self.projection = projection
        self.rows = rows
        self.blocked = blocked
        self.parked: list[Parked] = []

    def waits(self, key: Key, recorded: Recorded) -> bool:
        """Whether the event must wait because this key does; parked then."""
        if key not in self.blocked:
            return False
        self.parked.append(Parked(key, recorded.position, "an earlier event of this key is parked"))
        return True

    def poison(self, key: Key, recorded: Recorded, error: Exception) -> None:
        """Park an event and block its key."""
        self.blocked.add(key)
        self.parked.append(Parked(key, recorded.position, f"{type(error).__name__}: {error}"))

    def one(self, key: Key, handler: Handler, recorded: Recorded) -> None:
        """Fold one event into one row."""
        if self.blocked and self.waits(key, recorded):
            return
        row = self.rows.get(key) or self.projection.new(key)
        try:
            after = handler.fold(row, recorded.event, recorded) if handler.whole else handler.fold(row, recorded.event)
        except Exception as error:  # noqa: BLE001 - whatever a fold raises, it is recorded and the rest moves on
            self.poison(key, recorded, error)
            return
        if after is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = after

    def every(self, handlers: Sequence[Handler], recorded: Recorded) -> None:
        """Fold one event into all rows it touches, once it is known which."""
        try:
            touched = [(key, handler) for handler in handlers for key in handler.touched(recorded)]
        except Exception as error:  # noqa: BLE001 - recorded: without its keys, the event's whole stream is parked
            self.poison(stream_key(recorded), recorded, error)
            return
        for key, handler in touched:
            self.one(key, handler, recorded)


class _Unreadable(Exception):
    """An event without keys, because it could not be decoded."""


def _unreadable(event: Any, _: Recorded) -> Iterable[Key]:
    raise _Unreadable(event.reason)


_UNREADABLE = (Handler(None, _unreadable, lambda row, _: row, False),)


class _Plan(dict[type[Event], list[Any]]):
    """For each kind of event, what to do with it in each of the views; made when first asked for."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views

    def __missing__(self, kind: type[Event]) -> list[Any]:
        entries = []
        for view in self._views:
            handlers = _UNREADABLE if kind is Undecodable else tuple(view.projection.handlers.get(kind, ()))
            if handlers:
                first, *others = handlers
                key_of, keys_of = (None, None) if others else (first.key, first.keys)
                rows, new = view.rows, view.projection.new
                entries.append((key_of, keys_of, first.fold, first.whole, rows.get, rows, new, view, handlers))
        self[kind] = entries
        return entries


def fold(views: Sequence[View], events: Iterable[Recorded]) -> None:  # noqa: C901, PLR0912 - see the first comment
    """Fold the events, in order, into the rows of all the views.

    An exception of a fold parks its key: that event and all later ones of the key become dead letters, in order,
    and every other key moves on. An event that has no keys because it could not be decoded parks its stream
    likewise.
    """
    plan = _Plan(views)
    for recorded in events:
        event = recorded.event
        for key_of, keys_of, fold_one, whole, get, rows, new, view, handlers in plan[type(event)]:
            # What follows is `View.every` and `View.one` without their calls, for what is nearly always the case: one
            # handler, and nothing parked. It is most of the time that a rebuild takes, and half of what it was.
            if view.blocked:
                if not view.waits(stream_key(recorded), recorded):
                    view.every(handlers, recorded)
                continue
            key = None
            try:
                if key_of is not None:
                    key = key_of(event)
                    if key is None:
                        continue
                    row = get(key)
                    if row is None:
                        row = new(key)
                    row = fold_one(row, event, recorded) if whole else fold_one(row, event)
                    if row is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = row
                    continue
                if keys_of is None:
                    view.every(handlers, recorded)
                    continue
                touched = keys_of(event, recorded)
                if type(touched) is not list:
                    touched = tuple(touched)
            except Exception as error:  # noqa: BLE001 - whatever a fold raises, it is recorded and the rest moves on
                view.poison(stream_key(recorded) if key is None else key, recorded, error)
                continue
            for key in touched:
                row = get(key)
                if row is None:
                    row = new(key)
                try:
                    row = fold_one(row, event, recorded) if whole else fold_one(row, event)
                except Exception as error:  # noqa: BLE001 - as above
                    view.poison(key, recorded, error)
                    continue
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row


def touched_keys(projection: Projection, batch: Iterable[Recorded]) -> set[Key]:
    """The keys of all rows that a batch touches. An event whose keys cannot be told is left to ``fold``."""
    handlers = projection.handlers
    found: set[Key] = set()
    for recorded in batch:
        for handler in handlers.get(type(recorded.event), ()):
            with suppress(Exception):
                found.update(handler.touched(recorded))
    return found
