"""GraphQL over HTTP, to the letter of the working draft (https://graphql.github.io/graphql-over-http/draft/).

- ``POST`` takes a JSON object; ``GET`` takes queries only, in the URL.
- A client that accepts ``application/graphql-response+json`` gets statuses that mean something; one that wants
  ``application/json`` gets 200 for every well-formed request, errors or not, as the draft says of old clients.
- A ``POST`` must be ``application/json``, which no HTML form can send: other sites cannot make a browser act.
- A body that is too large is refused as soon as that shows, without reading the rest.
- Consistency: the header ``Moot-Position`` (or ``extensions.position`` of the operation, which also works over
  WebSocket) with a position token from a mutation makes a query wait, bounded, until the views have seen it.
"""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson
from graphql import GraphQLError, OperationType
from starlette.types import Receive, Scope, Send

from domain.refusal import Code
from infra.composition import Moot
from infra.proxies import networks
from read_api.addresses import address_of
from read_api.bearer import authenticated
from read_api.context import Context
from read_api.cursors import Sealer, open_position
from read_api.errors import ApiCode, ApiError
from read_api.execution import UNAVAILABLE, Engine, Refused, Response, refused
from read_api.graphiql import page
from read_api.json_reasons import reason
from read_api.request_ids import request_id_of

RESPONSE_TYPE = b"application/graphql-response+json"
JSON_TYPE = b"application/json"
_STATUS: dict[ApiCode | Code, int] = {ApiCode.UNAUTHENTICATED: 401, ApiCode.UNAVAILABLE: 503}


class HttpRefusal(Exception):
    """A request that is not GraphQL over HTTP; answered with this status, whatever the client accepts."""

    def __init__(self, status: int, code: ApiCode, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.error = ApiError(code, message)
        self.headers = headers


class Request(msgspec.Struct):
    """The parameters of a request, as the draft names them."""

    query: str
    operationName: str | None = None  # noqa: N815 - the draft's spelling
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Request).decode


class GraphQLEndpoint:
    """The ASGI application behind ``/graphql`` for HTTP."""

    def __init__(self, moot: Moot, engine: Engine, sealer: Sealer, *, body_bytes_max: int) -> None:
        self._moot = moot
        self.engine = engine
        self._sealer = sealer
        self._body_bytes_max = body_bytes_max
        self._proxies = networks(moot.settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = _headers(scope)
        method = scope["method"]
        if method == "GET" and not scope["query_string"] and b"text/html" in headers.get(b"accept", b""):
            await page(send)
            return
        request_id = request_id_of(scope)
        media_type = JSON_TYPE
        cookies: list[str] = []
        extra: tuple[tuple[bytes, bytes], ...] = ()
        try:
            media_type = _media_type(headers.get(b"accept"))
            request = await self._request(method, scope, headers, receive)
            context = await self._context(scope, headers, request, request_id)
            body, status = await self._run(request, method, context)
            cookies = context.set_cookies
        except HttpRefusal as refusal:
            body, status, extra = refused([refusal.error], request_id), refusal.status, refusal.headers
        except ApiError as error:
            body, status = refused([error], request_id), _STATUS.get(error.code, 400)
        except UNAVAILABLE as error:  # whether the session goes on could not be asked
            body, status = refused([GraphQLError(str(error), original_error=error)], request_id), 503
        if media_type == JSON_TYPE and status == 422:
            status = 200
        await respond(send, status, body, media_type, cookies, extra)

    async def _request(self, method: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Request:
        if method == "POST":
            content_type = headers.get(b"content-type", b"").lower().replace(b" ", b"")
            kind, _, parameters = content_type.partition(b";")
            if kind != JSON_TYPE or parameters not in (b"", b"charset=utf-8", b'charset="utf-8"'):
                raise HttpRefusal(415, ApiCode.BAD_REQUEST, "Send the request as application/json in UTF-8.")
            if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
                raise HttpRefusal(
                    415,
                    ApiCode.BAD_REQUEST,
                    "Send the request as it is, not compressed.",
                    (b"accept-encoding", b"identity"),
                )
            return _parsed(await self._body(headers, receive))
        if method == "GET":
            return _from_url(scope["query_string"])
        raise HttpRefusal(405, ApiCode.BAD_REQUEST, "GraphQL is asked by POST or GET.", (b"allow", b"GET, POST"))

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        too_large = HttpRefusal(
            413,
            ApiCode.QUERY_TOO_COMPLEX,
            f"The body may have at most {self._body_bytes_max} bytes.",
            (b"connection", b"close"),
        )
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:18]) > self._body_bytes_max:
            raise too_large
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HttpRefusal(400, ApiCode.BAD_REQUEST, "The body broke off.")
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_bytes_max:
                raise too_large
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _context(
        self, scope: Scope, headers: Mapping[bytes, bytes], request: Request, request_id: str
    ) -> Context:
        token = (request.extensions or {}).get("position")
        if token is None or token == "":
            token = headers.get(b"moot-position", b"").decode("latin-1")
        if not isinstance(token, str):
            raise ApiError(ApiCode.POSITION_INVALID, "extensions.position must be a token that a mutation gave out.")
        viewer = await authenticated(self._moot, headers.get(b"authorization", b"").decode("latin-1"))
        return Context(
            self._moot,
            self._sealer,
            request_id=request_id,
            viewer_id=viewer.account_id if viewer else None,
            session_id=viewer.session_id if viewer else None,
            address=address_of(scope, self._proxies),
            client=headers.get(b"user-agent", b"").decode("latin-1"),
            cookies=_cookies(headers.get(b"cookie")),
            sets_cookies=True,
            position=open_position(self._sealer, token) if token else None,
        )

    async def _run(self, request: Request, method: str, context: Context) -> tuple[Response, int]:
        """The answer, with 422 for what was not executed: the media type decides whether that shows."""
        try:
            prepared = self.engine.prepare(request.query)
            kind = prepared.operation(request.operationName).kind
        except Refused as refusal:
            return refused(refusal.errors, context.request_id), 422
        except ApiError as error:
            return refused([error], context.request_id), 422
        if kind is OperationType.SUBSCRIPTION:
            # Allow must be there (RFC 9110, section 15.5.6); these are for the other operations.
            raise HttpRefusal(
                405,
                ApiCode.BAD_REQUEST,
                "Subscriptions run over WebSocket, as graphql-transport-ws.",
                (b"allow", b"GET, POST"),
            )
        if kind is OperationType.MUTATION and method == "GET":
            raise HttpRefusal(405, ApiCode.BAD_REQUEST, "Mutations are sent by POST.", (b"allow", b"POST"))
        response = await self.engine.execute(prepared, request.operationName, request.variables, context)
        return response, 200 if "data" in response else 422


async def respond(
    send: Send,
    status: int,
    body: Response,
    media_type: bytes = JSON_TYPE,
    cookies: list[str] | None = None,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send an answer as JSON. 422 stands for a document that was not executed and leaves as 400."""
    payload = orjson.dumps(body)
    headers = [
        (b"content-type", media_type + b"; charset=utf-8"),
        (b"content-length", str(len(payload)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept, Authorization"),
        *extra,
        *((b"set-cookie", cookie.encode("latin-1")) for cookie in cookies or ()),
    ]
    await send({"type": "http.response.start", "status": 400 if status == 422 else status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _media_type(accept: bytes | None) -> bytes:
    """Which of our two types the client likes best; ``application/json`` if it does not care. Raises for neither."""
    if accept is None or not accept.strip():
        return JSON_TYPE
    best, best_quality = None, 0.0
    for part in accept.lower().split(b","):
        name, *parameters = (piece.strip() for piece in part.split(b";"))
        offered = RESPONSE_TYPE if name == RESPONSE_TYPE else JSON_TYPE if name in _JSON_RANGES else None
        quality = _quality(parameters)
        if offered is not None and quality > best_quality:
            best, best_quality = offered, quality
    if best is None:
        raise HttpRefusal(
            406, ApiCode.BAD_REQUEST, "Answers are application/graphql-response+json or application/json: accept one."
        )
    return best


_JSON_RANGES = (JSON_TYPE, b"*/*", b"application/*")


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _parsed(body: bytes) -> Request:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpRefusal(
            400, ApiCode.BAD_REQUEST, f"The body is not a GraphQL request. {reason(error, body)}"
        ) from None


def _from_url(query_string: bytes) -> Request:
    try:
        fields = dict(
            parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
        )
        return msgspec.convert(
            {
                name: orjson.loads(value) if name in ("variables", "extensions") and value else value or None
                for name, value in fields.items()
            },
            Request,
        )
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise HttpRefusal(400, ApiCode.BAD_REQUEST, f"The URL is not a GraphQL request. {reason(error)}") from None


def _cookies(header: bytes | None) -> dict[str, str]:
    if not header:
        return {}
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header.decode("latin-1")).items()}
    except CookieError:
        return {}
