"""Where a process tells of itself: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for whoever watches it.

A listener and a thread of its own, so that it answers whatever the rest of the process does, and so that the API's
own address shows none of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import structlog
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from infra.failures import Failure
from infra.settings import Settings
from infra.telemetry import metrics, tracing
from infra.telemetry.lag import LagCollector
from infra.version import VERSION

Ready = Callable[[], Mapping[str, str]]
"""What is wrong, by dependency; empty when nothing is."""

REQUEST_SECONDS_MAX: Final = 10.0
"""How long a client may take to send its request, before its thread is given back."""

_ANSWERS: Final = ("api", "up")
"""The roles that answer requests, in whose traces their queries are shown. What others do is in batches, for many."""

_log = structlog.get_logger(__name__)


class TelemetryFailure(Failure):
    """What a process tells of itself cannot be served."""


@contextmanager
def telemetry(
    settings: Settings, role: str, *, ready: Ready = dict, collectors: Sequence[Collector] = (), lag: bool = True
) -> Iterator[int | None]:
    """Trace and serve metrics as the settings say, while the block runs. Gives the port of the metrics, if any.

    ``ready`` is asked by ``/readyz``, in a thread of its own. With ``lag`` the metrics say how far everything is.
    Raises ``TelemetryFailure`` when the port is taken.
    """
    metrics.INFO.labels(role, VERSION).set(1)
    with ExitStack() as stack:
        if settings.otlp_endpoint:
            tracing.configure_tracing(
                role=role,
                ratio=settings.trace_ratio,
                batch_max=settings.trace_batch_max,
                endpoint=settings.otlp_endpoint,
                queries=role in _ANSWERS,
            )
            stack.callback(tracing.close_tracing)
        if settings.metrics_port is None:
            yield None
            return
        told = [*collectors]
        if lag and settings.database_url is not None:
            behind = LagCollector(settings.database_url.get_secret_value())
            stack.callback(behind.close)
            told.append(behind)
        for collector in told:
            metrics.REGISTRY.register(collector)
            stack.callback(metrics.REGISTRY.unregister, collector)
        yield stack.enter_context(_serving(settings.metrics_host, settings.metrics_port, ready))


@contextmanager
def _serving(host: str, port: int, ready: Ready) -> Iterator[int]:
    handler = type("_Handler", (_Handler,), {"ready": staticmethod(ready)})
    try:
        server = _Server((host, port), handler)
    except OSError as error:
        raise TelemetryFailure(
            f"Metrics cannot be served on {host}, port {port}.",
            f"{error.strerror or error}.",
            "Choose another MOOT_METRICS_PORT (0: any), or leave it out.",
        ) from None
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is nobody's error."""
        _log.debug("metrics.client_gone", client=client_address)


class _Handler(BaseHTTPRequestHandler):
    ready: Ready
    timeout = REQUEST_SECONDS_MAX

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, kind, encode(metrics.REGISTRY))
        elif path == "/healthz":
            self._tell(200, {"status": "ok"})
        elif path == "/readyz":
            wrong = dict(self.ready())
            self._tell(503 if wrong else 200, {"status": "unavailable" if wrong else "ok", "wrong": wrong})
        else:
            self._tell(404, {"status": "there are /metrics, /healthz and /readyz"})

    def _tell(self, status: int, what: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(what).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Each request in a line would be most of the log."""
