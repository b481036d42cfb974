"""OpenTelemetry as ``tracing`` uses it: the SDK, and its libraries for queries. The one module that knows them."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import (
    TracerProvider as AnyProvider,
)
from opentelemetry.util.types import Attributes

CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""OpenTelemetry's own variable: which names the attributes of queries have. Ours, unless it is set: the stable ones."""

_given: ContextVar[tuple[int, int]] = ContextVar("moot.given_ids", default=(0, 0))


class _Ids(RandomIdGenerator):
    """The ids that the span being started was given; at random where it was given none."""

    def generate_trace_id(self) -> int:
        """Of the first span of a trace."""
        return _given.get()[0] or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Of any span."""
        return _given.get()[1] or super().generate_span_id()


class _OfPlaces(Sampler):
    """Keeps the spans whose place was given, and what is below one that is kept.

    Which traces are kept was decided where their ids were met. A query that belongs to none is nobody's.
    """

    def should_sample(  # noqa: PLR0917 - as it is declared
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See ``Sampler``."""
        parent = get_current_span(parent_context).get_span_context()
        kept = _given.get()[0] or (parent.is_valid and parent.trace_flags.sampled)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes) if kept else SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """See ``Sampler``."""
        return "of places"


class _Discreet(Tracer):
    """A tracer for the libraries: of an exception it tells the kind alone, as its words may quote somebody's values."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(self, *args: Any, **given: Any) -> Span:
        """See ``Tracer``."""
        return self._tracer.start_span(*args, **given)

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, **given: Any) -> Iterator[Span]:  # type: ignore[override]
        """See ``Tracer``."""
        given.update(record_exception=False, set_status_on_exception=False)
        with self._tracer.start_as_current_span(name, *args, **given) as span:
            try:
                yield span
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise


class _Provider(TracerProvider):
    """Gives such tracers."""

    def get_tracer(self, *args: Any, **given: Any) -> Tracer:
        """See ``TracerProvider``."""
        return _Discreet(super().get_tracer(*args, **given))


def open_tracer(
    role: str, endpoint: str, exporter: SpanExporter | None, *, queries: bool
) -> tuple[Tracer, Callable[[], None]]:
    """A tracer, and what sends the last of its spans and ends it.

    With ``queries``, what PostgreSQL and Redis are asked in the course of a span is a span below it, for clients that
    connect from now on.
    """
    resource = Resource.create(
        {"service.name": "moot", "service.instance.id": f"{socket.gethostname()}-{os.getpid()}", "moot.role": role}
    )
    provider = _Provider(sampler=_OfPlaces(), resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    forget = _instrument(provider) if queries else lambda: None

    def close() -> None:
        forget()
        provider.shutdown()

    return provider.get_tracer("moot"), close


def _instrument(provider: AnyProvider) -> Callable[[], None]:
    """Have OpenTelemetry's libraries make spans of queries: the text, without its values. Gives what undoes it."""
    os.environ.setdefault(CONVENTIONS, "database,http")  # read once, when the first of them is used
    import psycopg  # noqa: PLC0415
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415

    # Undone by the library itself, this would be a method of the class alone, no longer of what is derived from it.
    connects = {kind: vars(kind)["connect"] for kind in (psycopg.Connection, psycopg.AsyncConnection)}
    both = PsycopgInstrumentor(), RedisInstrumentor()
    for one in both:
        one.instrument(tracer_provider=provider, raise_exception_on_conflict=True)

    def forget() -> None:
        for one in both:
            one.uninstrument()
        for kind, connect in connects.items():
            kind.connect = connect  # type: ignore[method-assign]

    return forget


def enter(span: Span) -> Token[Context]:
    """Have what the libraries record from now on, in this task or thread, be below that span."""
    return context.attach(set_span_in_context(span))


def leave(entered: Token[Context]) -> None:
    """Have it be where it was before."""
    context.detach(entered)


def start_span(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, Any],
    *,
    trace_id: int,
    parent_id: int,
    span_id: int,
    began_ns: int | None,
    answers: bool,
) -> Span:
    """A span below that parent; with a ``parent_id`` of 0 the first of its trace. ``span_id`` 0: any.

    ``answers``: it is a request that somebody else made.
    """
    parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = _given.set((trace_id, span_id))
    try:
        return tracer.start_span(
            name,
            set_span_in_context(NonRecordingSpan(parent)),
            attributes={key if "." in key else f"moot.{key}": value for key, value in attributes.items()},
            kind=SpanKind.SERVER if answers else SpanKind.INTERNAL,
            start_time=began_ns,
        )
    finally:
        _given.reset(token)
