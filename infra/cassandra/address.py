"""Where a Cassandra answers, as one setting says it."""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

SCHEME: Final = "cassandra"
PORT: Final = 9042
"""Of CQL, where an address names none."""

EXAMPLE: Final = "cassandra://user:password@host:9042,host:9042/keyspace"
_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
"""What needs no quotes in a statement, and is not too long for a folder's name (Cassandra's own limit)."""
_OPTIONS: Final = {"datacenter", "tls", "ca"}


class Address(Struct, frozen=True):
    """Some nodes of a cluster, which tell of the others; who asks there, and for which keyspace.

    With a ``datacenter`` its nodes alone are asked. ``ca`` is a file of certificates, in place of the system's.
    """

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    user: str = ""
    password: str = ""
    datacenter: str = ""
    tls: bool = False
    ca: str = ""


def parse(url: str) -> Address:
    """The address of ``cassandra://user:password@host:port,host:port/keyspace?datacenter=…&tls=on&ca=FILE``.

    Raises ``ValueError`` with a sentence that quotes nothing: an address may hold a password.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        credentials, _, named = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        hosts = tuple(_host(text) for text in named.split(","))
    except ValueError:
        raise ValueError(f"no address of a Cassandra; it looks like {EXAMPLE}") from None
    keyspace = parts.path.removeprefix("/")
    if parts.scheme != SCHEME or parts.fragment or not _KEYSPACE.match(keyspace):
        raise ValueError(f"no address of a Cassandra and a keyspace in small letters; it looks like {EXAMPLE}")
    if options.keys() - _OPTIONS or options.get("tls", "on") not in {"on", "off"}:
        raise ValueError(f"no address of a Cassandra; {EXAMPLE} may end in ?datacenter=…&tls=on&ca=FILE")
    return Address(
        hosts,
        keyspace,
        unquote(user),
        unquote(password),
        options.get("datacenter", ""),
        options.get("tls", "off") == "on",
        options.get("ca", ""),
    )


def _host(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+)(?::(\d{1,5}))?", text)
    if found is None or not 0 < (port := int(found[2] or PORT)) < 65_536:
        raise ValueError(text)
    return found[1].strip("[]"), port
