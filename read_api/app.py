"""The whole API as one ASGI application."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from infra.composition import Moot
from infra.settings import Settings
from read_api.cursors import Sealer
from read_api.errors import ApiCode, ApiError
from read_api.execution import Engine, refused
from read_api.graphiql import STATIC
from read_api.health import health_routes
from read_api.http import GraphQLEndpoint, respond
from read_api.limits import Limits
from read_api.mail_page import mail_routes
from read_api.request_ids import Envelope, request_id_of
from read_api.schema import strawberry_schema
from read_api.transport_ws import websocket_route

FIXED_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
"""What every answer says that does not say it itself. Transport security is for whoever ends TLS in front."""

EXPOSED = ["X-Request-Id"]
"""Headers of answers that pages of allowed origins may read."""


def limits_of(settings: Settings) -> Limits:
    """The limits of documents, from the settings."""
    return Limits(
        depth_max=settings.graphql_depth_max,
        cost_max=settings.graphql_cost_max,
        aliases_max=settings.graphql_aliases_max,
        directives_max=settings.graphql_directives_max,
        tokens_max=settings.graphql_tokens_max,
        page_size_max=settings.graphql_page_size_max,
    )


def engine_of(settings: Settings) -> Engine:
    """The engine of our schema, with the limits of the settings."""
    return Engine(strawberry_schema, limits_of(settings), cached_characters_max=settings.graphql_cached_characters_max)


def create_app(moot: Moot) -> Starlette:
    """The application over an opened ``moot``: GraphQL over HTTP and WebSocket, GraphiQL, health and captured mail."""
    settings = moot.settings
    engine, sealer = engine_of(settings), Sealer(moot.secrets.cursor_key)
    endpoint = GraphQLEndpoint(moot, engine, sealer, body_bytes_max=settings.graphql_body_bytes_max)
    routes: list[BaseRoute] = [
        Route("/graphql", endpoint),
        websocket_route("/graphql", moot, engine, sealer),
        Mount(STATIC, StaticFiles(directory=Path(__file__).with_name("static"))),
        *health_routes(moot),
        *mail_routes(moot.mailbox),
        Route("/", _home),
    ]
    middleware = [Middleware(Envelope, headers=FIXED_HEADERS)]
    if settings.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins.split(),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "Moot-Position", "X-Request-Id"],
                expose_headers=EXPOSED,
                max_age=600,
            )
        )
    return Starlette(routes=routes, middleware=middleware, exception_handlers={404: _not_found, 405: _other_method})


async def _home(_: Request) -> Response:
    return RedirectResponse("/graphql")


async def _not_found(request: Request, _: Exception) -> Response:
    return _Refused(404, ApiError(ApiCode.NOT_FOUND, "There is nothing here. The API is at /graphql."))


async def _other_method(request: Request, error: Exception) -> Response:
    allowed = ((getattr(error, "headers", None) or {}).get("Allow") or "GET, HEAD").encode("latin-1")
    refusal = ApiError(ApiCode.BAD_REQUEST, f"{request.method} is not for this address.")
    return _Refused(405, refusal, (b"allow", allowed))


class _Refused(Response):
    """A refusal in the one shape that refusals have."""

    def __init__(self, status: int, error: ApiError, *more: tuple[bytes, bytes]) -> None:
        super().__init__(status_code=status)
        self._error = error
        self._more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, self.status_code, refused([self._error], request_id_of(scope)), extra=self._more)
