"""Sealed tokens: cursors of connections, and positions of the log.

A token is base64url of a keyed digest and a MessagePack payload. A client can neither read meaning into one
nor change it: what was altered, or came from another connection, is refused.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from hashlib import blake2b
from hmac import compare_digest
from typing import TypeVar

import msgspec

from read_api.errors import ApiCode, BadInput

T = TypeVar("T")
_DIGEST_BYTES = 12
TOKEN_BYTES_MAX = 512
"""Longest token that is looked at; ours are far below."""


class Sealer:
    """Seals and opens tokens with one secret key (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, scope: str, payload: object) -> str:
        """A token of that payload, good for this scope alone (such as ``feed:all:HOT``)."""
        body = msgspec.msgpack.encode(payload)
        return urlsafe_b64encode(self._digest(scope, body) + body).rstrip(b"=").decode("ascii")

    def open(
        self, scope: str, token: str, kind: type[T], *, code: ApiCode = ApiCode.CURSOR_INVALID, field: str = "after"
    ) -> T:
        """The payload of a token that we sealed for this scope. Raises ``BadInput`` with that code otherwise."""
        body = self._opened(scope, token)
        if body is not None:
            try:
                return msgspec.msgpack.decode(body, type=kind)
            except msgspec.DecodeError:  # sealed by a version of ours with another payload
                pass
        raise BadInput(code, "This token was altered, or belongs elsewhere; pass one as you received it.", field)

    def _opened(self, scope: str, token: str) -> bytes | None:
        if len(token) > TOKEN_BYTES_MAX:
            return None
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except (BadBase64, ValueError):
            return None
        body = raw[_DIGEST_BYTES:]
        return body if compare_digest(raw[:_DIGEST_BYTES], self._digest(scope, body)) else None

    def _digest(self, scope: str, body: bytes) -> bytes:
        return blake2b(scope.encode() + b"\0" + body, digest_size=_DIGEST_BYTES, key=self._key).digest()


POSITION_SCOPE = "position"


def seal_position(sealer: Sealer, position: int) -> str:
    """The opaque token of a position of the log, as mutations give it out."""
    return sealer.seal(POSITION_SCOPE, position)


def open_position(sealer: Sealer, token: str) -> int:
    """The position behind a token. Raises ``BadInput`` with ``POSITION_INVALID`` if it is none of ours."""
    return sealer.open(POSITION_SCOPE, token, int, code=ApiCode.POSITION_INVALID, field="position")
