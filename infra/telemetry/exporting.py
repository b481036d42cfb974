"""OpenTelemetry's SDK as ``tracing`` uses it: the one module that knows it."""

import os
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer, set_span_in_context

_given: ContextVar[tuple[int, int]] = ContextVar("moot.given_ids", default=(0, 0))


class _Ids(RandomIdGenerator):
    """The ids that the span being started was given; at random where it was given none."""

    def generate_trace_id(self) -> int:
        """Of the first span of a trace."""
        return _given.get()[0] or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Of any span."""
        return _given.get()[1] or super().generate_span_id()


def open_tracer(role: str, endpoint: str, exporter: SpanExporter | None) -> tuple[Tracer, Callable[[], None]]:
    """A tracer, and what sends the last of its spans and ends it."""
    resource = Resource.create(
        {"service.name": "moot", "service.instance.id": f"{socket.gethostname()}-{os.getpid()}", "moot.role": role}
    )
    # Which traces are kept was decided where their ids were met.
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("moot"), provider.shutdown


def start_span(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, Any],
    *,
    trace_id: int,
    parent_id: int,
    span_id: int,
    began_ns: int | None,
) -> Span:
    """A span below that parent; with a ``parent_id`` of 0 the first of its trace. ``span_id`` 0: any."""
    parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = _given.set((trace_id, span_id))
    try:
        return tracer.start_span(
            name,
            set_span_in_context(NonRecordingSpan(parent)),
            attributes={key if "." in key else f"moot.{key}": value for key, value in attributes.items()},
            start_time=began_ns,
        )
    finally:
        _given.reset(token)
