"""Who asks: from the ``Authorization`` of a request, or of a WebSocket's ``connection_init``, to a viewer."""

from infra.composition import Moot
from infra.sessions import Viewer
from infra.tokens import InvalidToken
from read_api.errors import ApiCode, ApiError


async def authenticated(moot: Moot, authorization: str) -> Viewer | None:
    """Whose token the value ``Bearer …`` carries; ``None`` for an empty one: a visitor.

    Raises ``ApiError`` with ``UNAUTHENTICATED``, and in ``reason`` why: ``EXPIRED_TOKEN``, ``SESSION_ENDED`` or
    ``INVALID_TOKEN``. Nobody is taken for a visitor because his token is bad: he would wonder what he sees.
    """
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(
            ApiCode.UNAUTHENTICATED, "Authorization must be: Bearer and an access token.", reason=InvalidToken.code
        )
    try:
        return await moot.sessions.authenticate(token.strip())
    except InvalidToken as error:
        raise ApiError(ApiCode.UNAUTHENTICATED, error.message, reason=error.code) from error
