"""The shortcuts that a view may have for a bulk load: a page of the log at once in place of an event at a time.

They do what the folds do, as the tests of equivalence demand, and are declared beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from domain.event import Event

if TYPE_CHECKING:  # A server starts without numpy: it is for rebuilds alone.
    from projections.columns import Columns, Combine, Flags, Ids, Numbers, Times


class Alike(Protocol):
    """Events of one kind from a page of the log, in order, a column at a time."""

    @property
    def events(self) -> Sequence[Any]:
        """The events."""
        ...

    @property
    def positions(self) -> Sequence[int]:
        """Where each stands in the log."""
        ...

    @property
    def positions_array(self) -> "Numbers":
        """The positions."""
        ...

    @property
    def times(self) -> "Times":
        """When each happened, UTC, in microseconds."""
        ...

    def numbers(self, field: str) -> "Numbers":
        """What a field says that holds a number."""
        ...

    def equal(self, field: str, value: object) -> "Flags":
        """Whether a field says just that."""
        ...

    def ids(self, field: str) -> "Ids":
        """What a field says that holds an id, ``NO_ID`` where it says ``None``. Raises ``ValueError`` for no UUID."""
        ...


BulkFold = Callable[[dict[Any, Any], Mapping[type[Event], Alike]], None]
"""Changes rows by key, in place, by what a page of the log holds of some kinds of events; of one of them at least."""

MakeColumns = Callable[[Mapping[type[Event], Alike]], "Columns"]
"""Gives the whole rows that a page of the log makes, a column for each field."""


class PartsOfRows(Struct, frozen=True):
    """How a bulk load has parts of rows made, and makes rows of them. See ``Projection.in_parts``."""

    make: MakeColumns
    how: "tuple[Combine, ...]"
    gone_at_zero: str
