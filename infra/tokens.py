"""The two kinds of token: a short-lived access token that says who asks, and an opaque refresh token to get the next.

An access token is a JSON Web Token (RFC 7519) signed with HMAC-SHA-256; algorithm, issuer, audience and the set of
claims are fixed here and never taken from the token (RFC 8725). A refresh token is 256 random bits that mean nothing;
only its SHA-256 is ever stored.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet, OctKey
from msgspec import Struct

from domain.event import Id

ALGORITHM = "HS256"
"""One service both signs and verifies, so a shared key is enough; no other algorithm is accepted."""

KEY_BYTES_MIN = 32
"""RFC 7518, section 3.2: a key at least as long as the hash."""

TOKEN_LENGTH_MAX = 1024
"""Characters. Ours have about 400; longer ones are refused unread."""


class InvalidToken(Exception):
    """The access token is none of ours, was altered, or belongs to a session that has ended. ``message`` is public."""

    code = "INVALID_TOKEN"

    def __init__(self, message: str = "The access token is not valid. Sign in again.") -> None:
        super().__init__(message)
        self.message = message


class ExpiredToken(InvalidToken):
    """The access token was ours and is over: get the next one with ``refreshSession``."""

    code = "EXPIRED_TOKEN"

    def __init__(self) -> None:
        super().__init__("The access token has expired. Get a new one with refreshSession.")


class EndedSession(InvalidToken):
    """The access token is ours and still fresh, but its session was signed out."""

    code = "SESSION_ENDED"

    def __init__(self) -> None:
        super().__init__("This session has ended. Sign in again.")


class Claims(Struct, frozen=True):
    """What a good access token says. ``expires_at`` is UTC."""

    account_id: Id
    session_id: Id
    expires_at: datetime


class AccessTokens:
    """Issues and reads access tokens.

    ``secrets`` are the signing keys, at least 32 bytes each: the first signs, all verify, and each is found by the
    ``kid`` in the token's header, so that a key is rotated by putting a new one in front and dropping the old one a
    token's lifetime later. ``skew_seconds`` is how much later than ``exp`` a token is still taken.
    """

    def __init__(
        self,
        secrets: Sequence[bytes],
        *,
        lifetime_seconds: int,
        skew_seconds: int,
        clock: Callable[[], datetime],
        issuer: str = "moot",
        audience: str = "moot-api",
    ) -> None:
        if not secrets or any(len(secret) < KEY_BYTES_MIN for secret in secrets):
            raise ValueError(f"access tokens need a signing key of at least {KEY_BYTES_MIN} bytes")
        self._keys = [_key(secret) for secret in secrets]
        self._key_set = KeySet([*self._keys])
        self._lifetime = timedelta(seconds=lifetime_seconds)
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._registry = jwt.JWTClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=skew_seconds,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
            sub={"essential": True},
            sid={"essential": True},
        )

    def issue(self, account_id: Id, session_id: Id) -> str:
        """A signed token that says: this is the account, in that session, until ``lifetime_seconds`` from now."""
        now = self._clock()
        key = self._keys[0]
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account_id,
            "sid": session_id,
            "jti": token_urlsafe(12),
            "iat": int(now.timestamp()),
            "exp": int((now + self._lifetime).timestamp()),
        }
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])

    def read(self, token: str) -> Claims:
        """What the token says. Raises ``ExpiredToken``, or ``InvalidToken`` for whatever else is wrong with it."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise InvalidToken
        try:
            decoded = jwt.decode(token, self._key_set, algorithms=[ALGORITHM])
            # A token without a key id would be tried against any key of the set: ours always name theirs.
            if decoded.header.get("typ") != "JWT" or not isinstance(decoded.header.get("kid"), str):
                raise InvalidToken
            self._registry.validate(decoded.claims)
            return Claims(
                account_id=_id(decoded.claims["sub"]),
                session_id=_id(decoded.claims["sid"]),
                expires_at=datetime.fromtimestamp(decoded.claims["exp"], UTC),
            )
        except ExpiredTokenError as error:
            raise ExpiredToken from error
        except (JoseError, ValueError, TypeError, OverflowError, OSError) as error:
            raise InvalidToken from error


def new_refresh_token() -> str:
    """256 random bits in base64url."""
    return token_urlsafe(32)


def successor(secret: bytes, token: str, retry_key: str) -> str:
    """The refresh token that follows ``token``; the same for the same ``retry_key``, which only its client knows.

    So a client whose answer was lost can ask again and get the same one, and nothing needs to be kept for that.
    """
    digest = hmac.new(secret, f"{token}\x1f{retry_key}".encode("utf-8", "surrogatepass"), sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def fingerprint(token: str) -> bytes:
    """The SHA-256 of a token or code of high entropy: what is stored instead of it."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _key(secret: bytes) -> OctKey:
    # The id is a one-way function of the key: stable over restarts, and it says nothing about the key.
    kid = hmac.new(secret, b"moot access token key id", sha256).hexdigest()[:16]
    return OctKey.import_key(secret, {"kid": kid, "use": "sig", "alg": ALGORITHM})


def _id(value: object) -> Id:
    if not isinstance(value, str) or str(UUID(value)) != value:
        raise InvalidToken
    return Id(value)
