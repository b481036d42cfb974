"""Traces that follow one request through store, relay, Kafka, worker and view to whoever is told: docs/adr/0012.

The trace of an event is told by the event: its trace id is the correlation id that its metadata has always had, and
the span that appended it has the last half of its command id. So nothing is stored for it, the envelope stays as it
is, and every process that meets the event knows where in which trace it stands. Whether a trace is kept is told by
its id, too, alike in all processes.

Off unless ``configure_tracing`` is called; everything here then costs a look at one variable.
"""

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from hashlib import blake2b
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

_RANDOM_BITS: Final = 56
"""Of a trace id: those which W3C's Trace Context (level 2) calls random. In UUIDs, too; bits above them are fixed."""
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
PLACES_MAX: Final = 10_000
"""Events whose trace is remembered until they are pushed, or told to those who push."""
PENDING_MAX: Final = 200
"""The same until the next signal tells of them."""

Value = str | int | float | bool


class Place(Struct, frozen=True, gc=False):
    """A span: where in which trace one is."""

    trace_id: int
    span_id: int

    def after(self, name: str) -> "Place":
        """The place of the one step of that name that follows this one: told by both of its ends alike."""
        mixed = blake2b(b"%x %b" % (self.span_id, name.encode()), digest_size=8).digest()
        return Place(self.trace_id, int.from_bytes(mixed, "big") or 1)

    @property
    def traceparent(self) -> str:
        """As the header of that name has it: https://www.w3.org/TR/trace-context/#traceparent-header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


class _State:
    """What this process traces with."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.kept_below = 0
        self.batch_max = 0
        self.close: Callable[[], None] = lambda: None


_state = _State()
_place: ContextVar[Place | None] = ContextVar("moot.place", default=None)
_trace: ContextVar[str | None] = ContextVar("moot.trace", default=None)
_lock = Lock()
_pending: deque[tuple[int, Place]] = deque(maxlen=PENDING_MAX)
_heard: OrderedDict[int, Place] = OrderedDict()


def configure_tracing(
    *,
    role: str,
    ratio: float,
    batch_max: int,
    endpoint: str = "",
    exporter: "SpanExporter | None" = None,
    queries: bool = False,
) -> None:
    """Record spans from now on and send them to the collector, or to ``exporter`` at once.

    With ``queries``, also of what PostgreSQL and Redis are asked in the course of a request: for whoever answers some.
    """
    from infra.telemetry.exporting import open_tracer  # noqa: PLC0415 - the libraries are read only where they are used

    close_tracing()
    _state.tracer, _state.close = open_tracer(role, endpoint, exporter, queries=queries)
    _state.kept_below = round(ratio * 2**_RANDOM_BITS)
    _state.batch_max = batch_max


def close_tracing() -> None:
    """Send what is left, and record nothing any more."""
    close, _state.tracer, _state.close = _state.close, None, lambda: None
    close()
    with _lock:
        _pending.clear()
        _heard.clear()


def enabled() -> bool:
    """Whether spans are recorded."""
    return _state.tracer is not None


def batch_max() -> int:
    """How many traces one batch adds to."""
    return _state.batch_max


def current_trace() -> str | None:
    """The id of the trace that this task or thread works for, in hex, whether it is recorded or not."""
    return _trace.get()


# -- where an event stands -------------------------------------------------------------------------------------------


def place_of(correlation_id: str, command_id: str) -> Place | None:
    """Where the event of that command, of that request, was appended; ``None`` where its trace is not kept."""
    if _state.tracer is None:
        return None
    trace_id = int(correlation_id.replace("-", ""), 16)
    span_id = int(command_id[-17:].replace("-", ""), 16)
    if not trace_id or not span_id or (trace_id & (1 << _RANDOM_BITS) - 1) >= _state.kept_below:
        return None
    return Place(trace_id, span_id)


def parsed(traceparent: str) -> Place | None:
    """The place that a ``traceparent`` header names; ``None`` if it is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else Place(int(found[1], 16), int(found[2], 16))


# -- spans -----------------------------------------------------------------------------------------------------------


class _Recording:
    """A span that is current while the block runs."""

    __slots__ = ("_answers", "_attributes", "_entered", "_name", "_parent", "_span", "_token")

    def __init__(self, name: str, parent: Place, attributes: Mapping[str, Value], *, answers: bool = False) -> None:
        self._name = name
        self._parent = parent
        self._attributes = attributes
        self._answers = answers
        self._entered: Token[Context] | None = None
        self._span: Span | None = None
        self._token: Token[Place | None] | None = None

    def __enter__(self) -> Self:
        self._span = _started(self._name, self._parent, self._attributes, answers=self._answers)
        if self._span is not None:
            from infra.telemetry.exporting import enter  # noqa: PLC0415 - see above

            context = self._span.get_span_context()
            self._token = _place.set(Place(context.trace_id, context.span_id))
            self._entered = enter(self._span)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is None or self._token is None or self._entered is None:
            return
        from infra.telemetry.exporting import leave  # noqa: PLC0415 - see above

        leave(self._entered)
        _place.reset(self._token)
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
        self._span.end()

    def set(self, name: str, value: Value) -> None:
        """Say something more of it; a name without a dot is one of ours."""
        if self._span is not None:
            self._span.set_attribute(name if "." in name else f"moot.{name}", value)


class _Nothing:
    """In the place of a span where none is recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def set(self, name: str, value: Value) -> None:
        """Nobody is told."""


Recording = _Recording | _Nothing
_NOTHING: Final = _Nothing()


def span(name: str, **attributes: Value) -> Recording:
    """A step of what is going on in this task or thread, while the block runs. Nothing where that is not traced."""
    if _state.tracer is None or (parent := _place.get()) is None:
        return _NOTHING
    return _Recording(name, parent, attributes)


def request(name: str, trace: str, parent: Place | None = None, **attributes: Value) -> AbstractContextManager[Any]:
    """The first step of a trace in this process, while the block runs; ``trace`` is its id in hex.

    Its lines in the log carry the id in any case. ``parent`` is the caller's own span, if he sent one.
    """
    return _in_request(name, trace, parent, attributes)


@contextmanager
def _in_request(name: str, trace: str, parent: Place | None, attributes: Mapping[str, Value]) -> "Iterator[Recording]":
    token = _trace.set(trace)
    try:
        trace_id = int(trace, 16)
        kept = trace_id and (trace_id & (1 << _RANDOM_BITS) - 1) < _state.kept_below
        if _state.tracer is None or not kept:
            outer = _place.set(None)
            try:
                yield _NOTHING
            finally:
                _place.reset(outer)
            return
        if parent is None or parent.trace_id != trace_id:
            parent = Place(trace_id, 0)
        with _Recording(name, parent, attributes, answers=True) as recording:
            yield recording
    finally:
        _trace.reset(token)


def record(
    name: str, parent: Place, began_ns: int, ended_ns: int, *, at: Place | None = None, **attributes: Value
) -> Place:
    """A step that is over, between two times of ``time.time_ns``; ``at`` is where it stands, if that is given."""
    found = _started(name, parent, attributes, began_ns, 0 if at is None else at.span_id)
    if found is None:
        return parent
    found.end(ended_ns)
    context = found.get_span_context()
    return Place(context.trace_id, context.span_id)


def appended(correlation_id: str, command_id: str, began_ns: int, **attributes: Value) -> None:
    """The append of a command's events is done: the step that all who meet them later know the place of."""
    place = place_of(correlation_id, command_id)
    if place is not None:
        parent = _place.get()
        if parent is None or parent.trace_id != place.trace_id:
            parent = Place(place.trace_id, 0)
        record("store.append", parent, began_ns, time.time_ns(), at=place, **attributes)


def _started(
    name: str,
    parent: Place,
    attributes: Mapping[str, Value],
    began_ns: int | None = None,
    span_id: int = 0,
    *,
    answers: bool = False,
) -> "Span | None":
    tracer = _state.tracer
    if tracer is None:  # closed meanwhile
        return None
    from infra.telemetry.exporting import start_span  # noqa: PLC0415 - see above

    return start_span(
        tracer,
        name,
        attributes,
        trace_id=parent.trace_id,
        parent_id=parent.span_id,
        span_id=span_id,
        began_ns=began_ns,
        answers=answers,
    )


# -- from who changes views to who pushes ----------------------------------------------------------------------------


def announce(position: int, place: Place) -> None:
    """Have the next signal tell that the event at that position was committed to views in that span."""
    with _lock:
        _pending.append((position, place))


class Announcement:
    """What one signal has to tell, if anything; it is told once."""

    __slots__ = ("_began_ns", "_places")

    def __init__(self) -> None:
        self._began_ns = 0
        self._places: list[tuple[int, Place]] = []
        if _pending:
            self._began_ns = time.time_ns()
            with _lock:
                self._places = list(_pending)
                _pending.clear()

    def __bool__(self) -> bool:
        return bool(self._places)

    def __bytes__(self) -> bytes:
        return " ".join(f"{position}={place.traceparent}" for position, place in self._places).encode()

    def told(self) -> None:
        """The signal has gone out."""
        ended_ns = time.time_ns()
        for position, place in self._places:
            record("signal", place, self._began_ns, ended_ns, position=position)


def heard(told: bytes) -> None:
    """Remember what a signal told, until those events are pushed."""
    for pair in told.decode("ascii", "replace").split():
        position, _, traceparent = pair.partition("=")
        place = parsed(traceparent)
        if place is not None and position.isdigit():
            with _lock:
                _heard[int(position)] = place
                if len(_heard) > PLACES_MAX:
                    _heard.popitem(last=False)


def pushed(positions: Iterable[int], began_ns: int, *, followers: int) -> None:
    """The events at those positions were handed to those who follow."""
    if _state.tracer is None or not _heard:
        return
    for position in positions:
        place = _heard.get(position)
        if place is not None:
            record("push", place, began_ns, time.time_ns(), position=position, followers=followers)
