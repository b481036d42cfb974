"""Global ids: what the API shows in place of a stream id, opaque to clients and typed for us.

An id is base64url, without padding, of one byte for the type and the sixteen bytes of the UUID. Whoever
passes the id of a post where a comment is wanted is told so, and nothing is looked up.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from enum import Enum

from domain.event import Id
from read_api.errors import ApiCode, BadInput

_LENGTH = 23  # of the text: 17 bytes in base64 without padding


class Kind(Enum):
    """The types of nodes. The value is the first byte of the id; values are forever, clients keep ids."""

    ACCOUNT = b"a"
    COMMUNITY = b"c"
    POST = b"p"
    COMMENT = b"r"
    SERVER = b"s"
    CHANNEL = b"h"
    ROLE = b"o"
    MESSAGE = b"m"
    CONVERSATION = b"v"

    @property
    def label(self) -> str:
        """The name of the GraphQL type."""
        return self.name.capitalize()


_KINDS = {kind.value: kind for kind in Kind}
_PREFIXES = {kind: kind.value.hex() for kind in Kind}


def global_id(kind: Kind, subject_id: Id) -> str:
    """The opaque id of a node."""
    return urlsafe_b64encode(bytes.fromhex(_PREFIXES[kind] + subject_id.replace("-", "")))[:_LENGTH].decode("ascii")


def parse_id(text: str, field: str | None = None) -> tuple[Kind, Id]:
    """The type and stream id behind an opaque id. Raises ``BadInput`` with ``INVALID_ID`` if it is none of ours."""
    raw = _decoded(text)
    if raw is None or raw[:1] not in _KINDS:
        raise BadInput(ApiCode.INVALID_ID, "This is not an id that Moot gave out; pass one as you received it.", field)
    digits = raw[1:].hex()
    return _KINDS[raw[:1]], Id(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


def _decoded(text: str) -> bytes | None:
    if len(text) != _LENGTH:
        return None
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=")
    except (BadBase64, ValueError):
        return None
    # Base64 has several spellings of the same bytes; only the one that we issue is an id.
    return raw if urlsafe_b64encode(raw)[:_LENGTH].decode("ascii") == text else None


def subject_id(text: str, kind: Kind, field: str | None = None) -> Id:
    """The stream id behind an opaque id that must be of this type. Raises ``BadInput`` otherwise.

    ``INVALID_ID`` for text that is no id at all, ``ID_OF_ANOTHER_TYPE`` for the id of something else.
    """
    found, identity = parse_id(text, field)
    if found is not kind:
        raise BadInput(
            ApiCode.ID_OF_ANOTHER_TYPE,
            f"This is the id of a {found.label} where that of a {kind.label} is wanted.",
            field,
        )
    return identity


def place_id(text: str, field: str | None = None) -> tuple[Kind, Id]:
    """The type and stream id of where messages are: a channel or a conversation. Raises ``BadInput`` otherwise."""
    return _either(text, field, Kind.CHANNEL, Kind.CONVERSATION)


def target_id(text: str, field: str | None = None) -> tuple[Kind, Id]:
    """The type and stream id of something to vote on or to save: a post or a comment. Raises ``BadInput`` otherwise."""
    return _either(text, field, Kind.POST, Kind.COMMENT)


def _either(text: str, field: str | None, one: Kind, other: Kind) -> tuple[Kind, Id]:
    kind, identity = parse_id(text, field)
    if kind not in (one, other):
        wanted = f"a {one.label} or a {other.label}"
        message = f"This is the id of a {kind.label} where that of {wanted} is wanted."
        raise BadInput(ApiCode.ID_OF_ANOTHER_TYPE, message, field)
    return kind, identity
