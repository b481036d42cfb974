"""Are the topics of this event store, and whole? The last record of each partition tells that of its end."""

from collections.abc import Callable, Iterable, Mapping

from infra.event_log import LogRecord
from infra.log_records import described, number_of, position_of
from infra.relay_store import EVERYTHING


class AnotherLog(Exception):
    """What is in the topics is not of this event store. To use both would mix two histories."""


def check_origin(records: Iterable[LogRecord], stored: Callable[[int], bytes | None]) -> None:
    """Make sure that these were sent from this store: ``stored`` is what it has at a position.

    Raises ``AnotherLog``, and ``NotOurs`` for a record that does not say which event it is.
    """
    for record in records:
        position = position_of(record)
        if stored(position) != record.value:
            raise AnotherLog(
                f"{described(record)} is not what this event store has at position {position}: the topics are of"
                " another store, or this one was restored from a backup that is older than they are (moot log restore"
                " brings back all of it)"
            )


def last_positions(records: Iterable[LogRecord]) -> dict[int, int]:
    """The positions of the last records, by partition as checkpoints call it. Raises ``NotOurs``."""
    return {number_of(record): position_of(record) for record in records}


def lost_ends(there: Mapping[int, int], once: Mapping[int, int]) -> dict[int, int]:
    """The partitions that end before what was ``once`` sent to them, and the position that each ends with, or 0."""
    return {
        number: there.get(number, 0)
        for number, position in once.items()
        if number != EVERYTHING and there.get(number, 0) < position
    }
