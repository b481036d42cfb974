"""What is measured and traced of a batch: of the relay's, and of one that is folded into views."""

import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from infra import log_records
from infra.codec import Row
from infra.telemetry import metrics, tracing
from infra.telemetry.tracing import Place
from schemas.envelope import Recorded


class _Ids(msgspec.Struct, frozen=True, gc=False):
    correlation_id: str
    command_id: str


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    meta: _Ids


_decode_ids = msgspec.json.Decoder(_Ids).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Observed:
    """One batch of folds, from here on."""

    __slots__ = ("_began_ns", "_folded_ns")

    def __init__(self) -> None:
        self._began_ns = time.time_ns()
        self._folded_ns = self._began_ns

    def folded(self) -> None:
        """Everything is folded and sent to the database: what is left is its answers, and the commit."""
        self._folded_ns = time.time_ns()

    def committed(self, events: Sequence[Recorded], projections: Sequence[str], *, relayed: bool) -> None:
        """It is committed. ``relayed``: the events came through the relay."""
        ended_ns = time.time_ns()
        metrics.VIEW_EVENTS.inc(len(events))
        metrics.VIEW_BATCH_EVENTS.observe(len(events))
        metrics.VIEW_BATCH_SECONDS.observe(max(0, ended_ns - self._began_ns) / 1e9)
        metrics.VIEW_LAST_COMMIT.set(ended_ns / 1e9)
        if not tracing.enabled():
            return
        views = " ".join(projections)
        for event, place in _traced(events, relayed=relayed):
            folded = tracing.record(
                "view.fold", place, self._began_ns, ended_ns, position=event.position, events=len(events), views=views
            )
            tracing.record("view.commit", folded, self._folded_ns, ended_ns)
            tracing.announce(event.position, folded)


def sent(rows: Sequence[Row], began_ns: int) -> None:
    """The relay's batch is acknowledged."""
    ended_ns = time.time_ns()
    metrics.RELAY_EVENTS.inc(len(rows))
    metrics.RELAY_BATCH_EVENTS.observe(len(rows))
    metrics.RELAY_SEND_SECONDS.observe(max(0, ended_ns - began_ns) / 1e9)
    metrics.RELAY_POSITION.set(rows[-1][0])
    if not tracing.enabled():
        return
    left = tracing.batch_max()
    for position, _, _, _, state in rows:
        if left <= 0:
            return
        ids = _ids(state)
        if ids is None or (place := tracing.place_of(ids.correlation_id, ids.command_id)) is None:
            continue
        left -= 1
        tracing.record(
            "relay.send", place, began_ns, ended_ns, at=place.after("relay"), position=position, events=len(rows)
        )


def first_of(rows: Sequence[Row]) -> dict[str, int | str]:
    """What a line of the log says of rows that are at hand: the first one's position and trace."""
    if not rows:
        return {}
    position, _, _, _, state = rows[0]
    ids = _ids(state)
    return {"position": position} if ids is None else {"position": position, "trace_id": _hex(ids)}


def trace_of(events: Iterable[Recorded], position: int) -> dict[str, str]:
    """What a line of the log says of the one of the events that has the position: its trace, where it tells it."""
    for event in events:
        if event.position == position:
            try:
                return {"trace_id": _hex(_decode_ids(event.raw_meta))}
            except msgspec.DecodeError:
                return {}
    return {}


def _hex(ids: _Ids) -> str:
    """The trace id as requests are logged with: the correlation id without its dashes."""
    return ids.correlation_id.replace("-", "")


def _traced(events: Iterable[Recorded], *, relayed: bool) -> Iterator[tuple[Recorded, Place]]:
    """The first of the events whose traces are kept, and where in them they stand."""
    left = tracing.batch_max()
    for event in events:
        if left <= 0:
            return
        place = _place(event, relayed=relayed)
        if place is not None:
            left -= 1
            yield event, place


def _place(event: Recorded, *, relayed: bool) -> Place | None:
    try:
        ids = _decode_ids(event.raw_meta)
    except msgspec.DecodeError:
        return None  # it is parked, or goes past: nobody's trace is missing anything else
    place_of = log_records.relayed if relayed else tracing.place_of
    return place_of(ids.correlation_id, ids.command_id)


def _ids(state: bytes) -> _Ids | None:
    try:
        return _decode_envelope(state).meta
    except msgspec.DecodeError:
        return None
