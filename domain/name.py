"""A name claim: uniqueness as a stream. Its id is a keyed hash of the folded name, so the name itself is not in it.

Names of accounts and of communities are two namespaces. A claim is for good: nobody gets a name that once
was somebody else's.
"""

import re
from hashlib import sha256
from hmac import digest
from typing import Final, Literal

from domain.event import Event, Id
from domain.ids import uuid_text
from domain.limits import Limits
from domain.refusal import Code, Refusal

Kind = Literal["account", "community"]

_WORDS: Final = """
    about account accounts admin administrator administrators all anonymous api app archive auth automod automoderator
    communities community console deleted everyone feed feeds graphiql graphql help home inbox legal login logout mail
    me mod moderation moderator moderators mods moot nobody none null official owner popular post posts privacy register
    removed robots root saved search security self session settings signin signout signup site staff static status
    support sysadmin system terms undefined unknown user users void webmaster www you
"""

RESERVED: Final = frozenset(_WORDS.split())
"""Words that a page, a role or a machine speaks of itself with; somebody holding one could pose as the site."""

_ALLOWED: Final = {"account": re.compile(r"[A-Za-z0-9_-]*\Z"), "community": re.compile(r"[A-Za-z0-9_]*\Z")}


class NameClaimed(Event, frozen=True):
    """The name behind this stream belongs to ``holder_id`` for good."""

    kind: Literal["account", "community"]
    holder_id: Id


START: Id | None = None
"""Nobody holds the name."""


def evolve(holder_id: Id | None, event: Event) -> Id | None:
    """Who holds the name after the event."""
    return event.holder_id if isinstance(event, NameClaimed) else holder_id


def folded(name: str) -> str:
    """What two names have in common that count as the same one. Names are ASCII, so case is all there is to it."""
    return name.lower()


def claim_id(kind: Kind, name: str, key: bytes) -> Id:
    """The stream of the claim to that name. Without the ``key`` nobody can tell a name from it, nor guess one."""
    return keyed_id(key, "name", kind, folded(name))


def keyed_id(key: bytes, *parts: str) -> Id:
    """An id that the same parts always give, and nobody without the key: HMAC-SHA256 as a UUIDv8 (RFC 9562)."""
    message = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return uuid_text(digest(key, message, sha256), version=8)


def checked(kind: Kind, name: str, limits: Limits) -> str:
    """The name, if it may be one. Raises ``TOO_SHORT``, ``TOO_LONG``, ``NAME_INVALID``, ``NAME_RESERVED``."""
    signs = "letters A to Z, digits, _ and -" if kind == "account" else "letters A to Z, digits and _"
    shortest = limits.account_name_length_min if kind == "account" else limits.community_name_length_min
    longest = limits.account_name_length_max if kind == "account" else limits.community_name_length_max
    if not name.isascii():
        message = (
            f"A name is made of {signs} only, because letters of other alphabets can look just like these. "
            "Spell it with those."
        )
        if kind == "account":
            message += " The display name takes any script."
        raise Refusal(Code.NAME_INVALID, message, "name")
    if not _ALLOWED[kind].match(name):
        raise Refusal(Code.NAME_INVALID, f"A name is made of {signs} only. Take out everything else.", "name")
    if len(name) < shortest:
        raise Refusal(Code.TOO_SHORT, f"A name has at least {shortest} characters. Choose a longer one.", "name")
    if len(name) > longest:
        raise Refusal(Code.TOO_LONG, f"A name has at most {longest} characters. Choose a shorter one.", "name")
    if folded(name) in RESERVED:
        raise Refusal(Code.NAME_RESERVED, "This name is kept for the site itself. Choose another one.", "name")
    return name


def claim(holder_id: Id | None, *, kind: Kind, claimant_id: Id) -> tuple[Event, ...]:
    """The claim to a name that is ``holder_id``'s. Raises ``NAME_TAKEN`` when that is somebody else."""
    if holder_id is None:
        return (NameClaimed(kind=kind, holder_id=claimant_id),)
    if holder_id == claimant_id:
        return ()
    message = "This name is taken (capitals make no difference). Choose another one."
    raise Refusal(Code.NAME_TAKEN, message, "name")
