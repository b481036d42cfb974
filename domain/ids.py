"""Stream ids. Each is derived from what it identifies, so uniqueness and idempotency need no look-up."""

from collections.abc import Iterable
from hashlib import sha1
from uuid import UUID

from domain.event import Id

_ID_BYTES = 16
NAMESPACE = UUID("6f0c5b0e-9f5b-5d0e-8a4e-3a5d1c7b9e20").bytes
"""The UUIDv5 namespace of every id that Moot derives (RFC 9562, section 5.5)."""


def derived(*parts: str) -> Id:
    """The UUIDv5 of the parts joined by a unit separator: the same parts always give the same id."""
    # An id that a client made up may hold half of a surrogate pair; it names nothing, but must not break anything.
    name = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return uuid_text(sha1(NAMESPACE + name, usedforsecurity=False).digest(), version=5)


def uuid_text(value: bytes, *, version: int) -> Id:
    """The first 16 bytes as a UUID of that version, in canonical text (RFC 9562, section 4)."""
    octets = bytearray(value[:16])
    octets[6] = octets[6] & 0x0F | version << 4
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def packed(ids: Iterable[Id]) -> bytes:
    """Ids as events and rows keep several of them: sixteen bytes each, ascending, each once."""
    return b"".join(sorted({UUID(one).bytes for one in ids}))


def unpacked(ids: bytes) -> tuple[Id, ...]:
    """The ids that were packed."""
    return tuple(Id(str(UUID(bytes=ids[at : at + _ID_BYTES]))) for at in range(0, len(ids), _ID_BYTES))


def ballot_id(voter_id: Id, target_id: Id) -> Id:
    """The stream of one voter's vote on one post or comment."""
    return derived("ballot", voter_id, target_id)


def membership_id(community_id: Id, account_id: Id) -> Id:
    """The stream of one account's standing in one community."""
    return derived("membership", community_id, account_id)


def relation_id(one_id: Id, other_id: Id) -> Id:
    """The stream of what two accounts are to each other, whichever is named first."""
    return derived("relation", min(one_id, other_id), max(one_id, other_id))


def direct_id(one_id: Id, other_id: Id) -> Id:
    """The conversation between two accounts, whichever is named first; it is also the id of its stream."""
    return derived("direct", min(one_id, other_id), max(one_id, other_id))


def save_id(account_id: Id, target_id: Id) -> Id:
    """The stream of one account having saved one post or comment."""
    return derived("save", account_id, target_id)


def moderators_id(community_id: Id) -> Id:
    """The stream of the list of one community's moderators."""
    return derived("moderators", community_id)


def stickies_id(community_id: Id) -> Id:
    """The stream of the list of one community's sticky posts."""
    return derived("stickies", community_id)


def roles_id(server_id: Id) -> Id:
    """The stream of the roles of one server."""
    return derived("roles", server_id)


def channels_id(server_id: Id) -> Id:
    """The stream of the list of one server's channels."""
    return derived("channels", server_id)


def server_member_id(server_id: Id, account_id: Id) -> Id:
    """The stream of one account's standing in one server."""
    return derived("server_member", server_id, account_id)


def invite_use_id(invite_id: Id, account_id: Id) -> Id:
    """The stream of one account's use of one invite."""
    return derived("invite_use", invite_id, account_id)


def reactions_id(message_id: Id, account_id: Id) -> Id:
    """The stream of one account's reactions to one message."""
    return derived("reactions", message_id, account_id)


def emoji_id(message_id: Id) -> Id:
    """The stream of the list of one message's emoji."""
    return derived("emoji", message_id)
