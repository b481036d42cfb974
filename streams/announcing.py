"""What is to be said of a batch once it is committed: which channels to wake, and what was parked."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from psycopg import Connection

from infra.conversation_signals import concerned
from infra.telemetry import metrics
from projections.core import Projection
from projections.stepping import Stepped
from schemas.envelope import Recorded
from streams.observing import trace_of

_log = structlog.get_logger(__name__)


def to_wake(
    connection: Connection[Any], projections: Mapping[str, Projection], done: Mapping[str, Stepped], to: int
) -> dict[str, int]:
    """All live channels to signal of a batch, each with what is to be signalled: the position that it led ``to``.

    To be asked after its commit. Raises what psycopg does; nobody has been told of the batch then.
    """
    return dict.fromkeys(concerned(connection, done), to) | channels_of(projections, done, to)


def channels_of(projections: Mapping[str, Projection], done: Mapping[str, Stepped], to: int) -> dict[str, int]:
    """Those that the rows name which changed. A row that is gone names its channel by its key."""
    channels: dict[str, int] = {}
    for name, stepped in done.items():
        signal = projections[name].signal
        if signal is not None:
            for key, row in stepped.changed.items():
                named = signal(projections[name].new(key) if row is None else row) or ()
                channels.update(dict.fromkeys((named,) if isinstance(named, str) else named, to))
    return channels


def log_parked(done: Mapping[str, Stepped], events: Sequence[Recorded]) -> None:
    """Log what could not be folded of these events, with the trace of the request that led to the first."""
    for name, stepped in done.items():
        if stepped.parked:
            first = stepped.parked[0]
            metrics.VIEW_PARKED.labels(name).inc(len(stepped.parked))
            _log.error(
                "views.parked",
                projection=name,
                events=len(stepped.parked),
                key=first.key,
                position=first.position,
                error=first.error,
                **trace_of(events, first.position),
            )
