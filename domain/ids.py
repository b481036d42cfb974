"""Stream ids. Each is derived from what it identifies, so uniqueness and idempotency need no look-up."""

from hashlib import sha1
from uuid import UUID

from domain.event import Id

NAMESPACE = UUID("6f0c5b0e-9f5b-5d0e-8a4e-3a5d1c7b9e20").bytes
"""The UUIDv5 namespace of every id that Moot derives (RFC 9562, section 5.5)."""


def derived(*parts: str) -> Id:
    """The UUIDv5 of the parts joined by a unit separator: the same parts always give the same id."""
    digest = bytearray(sha1(NAMESPACE + "\x1f".join(parts).encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def ballot_id(voter_id: Id, target_id: Id) -> Id:
    """The stream of one voter's vote on one post or comment."""
    return derived("ballot", voter_id, target_id)


def membership_id(community_id: Id, account_id: Id) -> Id:
    """The stream of one account's standing in one community."""
    return derived("membership", community_id, account_id)


def follow_id(follower_id: Id, followed_id: Id) -> Id:
    """The stream of one account following another."""
    return derived("follow", follower_id, followed_id)


def block_id(blocker_id: Id, blocked_id: Id) -> Id:
    """The stream of one account blocking another."""
    return derived("block", blocker_id, blocked_id)


def save_id(account_id: Id, target_id: Id) -> Id:
    """The stream of one account having saved one post or comment."""
    return derived("save", account_id, target_id)
