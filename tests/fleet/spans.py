"""Spans as a collector would get them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.telemetry import tracing

SECONDS_MAX = 15.0


class Collected:
    """What was collected so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def of(self, trace: str) -> list[ReadableSpan]:
        """The spans of one trace, by when they began."""
        spans = [span for span in self._exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == trace]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def all(self) -> list[ReadableSpan]:
        """The spans of all traces."""
        return list(self._exporter.get_finished_spans())

    def wait(self, trace: str, *names: str) -> dict[str, ReadableSpan]:
        """The spans of one trace by name, once there is one of each of these."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            found = {span.name: span for span in self.of(trace)}
            if found.keys() >= set(names):
                return found
            assert time.monotonic() < deadline, f"only {sorted(found)} of {sorted(names)}"
            time.sleep(0.01)


@contextmanager
def collecting(**given: Any) -> Iterator[Collected]:
    """Trace within the block."""
    exporter = InMemorySpanExporter()
    tracing.configure_tracing(**{"role": "tests", "ratio": 1.0, "batch_max": 20, "exporter": exporter, **given})
    try:
        yield Collected(exporter)
    finally:
        tracing.close_tracing()


def parents(spans: dict[str, ReadableSpan]) -> dict[str, str | None]:
    """Each span's parent, by name; ``None`` for one that is not among them."""
    names = {span.context.span_id: name for name, span in spans.items()}
    return {name: None if span.parent is None else names.get(span.parent.span_id) for name, span in spans.items()}
