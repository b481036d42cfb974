"""Request ids: one a request, in every answer, log line and event that it leads to.

A client may choose its own with ``X-Request-Id``; what is not a short plain word is replaced. Without one, the trace
that a ``traceparent`` header names is the request's id, so that the client's own spans are in one trace with ours.
"""

import re
from uuid import UUID, uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.event import Id
from domain.ids import derived
from infra.telemetry import tracing

HEADER = b"x-request-id"
TRACEPARENT = b"traceparent"
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_KEY = "moot.request_id"


def request_id_of(scope: Scope) -> str:
    """The id of the request or connection that this scope belongs to."""
    known = scope.get(_KEY)
    if isinstance(known, str):
        return known
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    if _ACCEPTED.fullmatch(given):
        found = given.decode("ascii")
    else:
        parent = parent_of(scope)
        found = str(uuid4() if parent is None else UUID(int=parent.trace_id))
    scope[_KEY] = found
    return found


def parent_of(scope: Scope) -> tracing.Place | None:
    """The span of the client that its ``traceparent`` header names, if it sent one."""
    given = next((value for name, value in scope["headers"] if name == TRACEPARENT), b"")
    return tracing.parsed(given.decode("latin-1")) if given else None


def correlation_id(request_id: str) -> Id:
    """The id under which the events of this request are recorded: itself, if it is a UUID."""
    try:
        return Id(str(UUID(request_id)))
    except ValueError:
        return derived("request", request_id)


class Envelope:
    """Around the whole application: gives each answer its request id, and those fixed headers that it does not have."""

    def __init__(self, app: ASGIApp, headers: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._fixed = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope).encode("ascii")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                recording.set("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    recording.set("error.type", str(message["status"]))
                given = {name for name, _ in message["headers"]}
                more = [header for header in self._fixed if header[0] not in given]
                message["headers"] = [*message["headers"], *more, (HEADER, request_id)]
            await send(message)

        trace = correlation_id(request_id.decode("ascii")).replace("-", "")
        about = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with tracing.request("http.request", trace, parent_of(scope), **about) as recording:
            await self._app(scope, receive, sending)
