"""The keys that encrypt what people wrote: one AES-256 key per author, itself encrypted with the master key.

Destroying an author's key makes everything the author ever wrote unreadable in the log and in its copies on Kafka,
without touching them. It does not reach the views, which hold plain text, nor a backup of the database from before,
which holds the key. A destroyed key leaves a fence behind: its author is never given another.

Keys are wrapped with AES-256-GCM under the master key (NIST SP 800-38D), a random nonce of 12 bytes first, bound to
the author's id. A key is durable before anything encrypted with it is: ``ensure`` returns after its commit.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, Protocol

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from domain.event import Id
from infra.store_limits import LIMITS

KEY_BYTES = 32
"""AES-256."""
NONCE_BYTES = 12
"""The nonce of GCM (NIST SP 800-38D, section 8.2.2: random)."""

DESTROYED = b""
"""Stands for the key of an author who was erased."""


class WrongMasterKey(Exception):
    """The stored keys were wrapped with another master key. Start with the secrets that belong to this database."""


class KeysUnavailable(Exception):
    """The table of keys did not answer; try again."""


class KeyStore(Protocol):
    """Where wrapped keys are kept. ``None`` stands for a destroyed one. All methods may be called from any thread."""

    def fetch(self, authors: Collection[Id]) -> Mapping[Id, bytes | None]:
        """The keys there are of these authors."""
        ...

    def create(self, wrapped: Mapping[Id, bytes]) -> Mapping[Id, bytes | None]:
        """Keep these keys, durably, but for authors that have or had one; what stands afterwards."""
        ...

    def destroy(self, author: Id) -> None:
        """Forget the author's key for good, durably, and never take another."""
        ...


class Keyring:
    """Author keys by author id, ready for use. Safe to share between threads; at most ``cached_max`` in memory.

    A process that has a key in memory can use it until ``forget`` or its end, also when another process destroyed it.
    """

    def __init__(self, store: KeyStore, master_key: bytes, *, cached_max: int = LIMITS.cached_keys_max) -> None:
        if len(master_key) != KEY_BYTES:
            raise ValueError(f"the master key has {len(master_key)} bytes; it must have {KEY_BYTES}")
        self._store = store
        self._master = AESGCM(master_key)
        self._cached_max = cached_max
        self._cache: dict[Id, bytes] = {}
        self._lock = Lock()

    def cached(self, authors: Collection[Id]) -> dict[Id, bytes] | None:
        """The keys of all these authors if no look-up is needed, else ``None``. Never blocks on I/O."""
        keys = self._cached(authors)
        return keys if len(keys) == len(set(authors)) else None

    def fetch(self, authors: Collection[Id]) -> Mapping[Id, bytes]:
        """The keys of these authors, ``DESTROYED`` for the erased; nothing for those who never had one.

        Raises ``WrongMasterKey`` or ``KeysUnavailable``.
        """
        keys = self._cached(authors)
        if missing := set(authors) - keys.keys():
            keys |= self._keep(self._store.fetch(missing))
        return keys

    def ensure(self, authors: Collection[Id]) -> Mapping[Id, bytes]:
        """The same, after making and keeping a key for those who never had one, all in one transaction."""
        keys = dict(self.fetch(authors))
        if missing := set(authors) - keys.keys():
            fresh = {author: self._wrap(author, os.urandom(KEY_BYTES)) for author in missing}
            keys |= self._keep(self._store.create(fresh))
        return keys

    def destroy(self, author: Id) -> None:
        """Erase: nothing encrypted with this author's key can ever be read again, nor anything new be encrypted."""
        self._store.destroy(author)
        with self._lock:
            self._cache[author] = DESTROYED

    def forget(self, authors: Iterable[Id]) -> None:
        """Drop keys from memory; the next use looks them up again."""
        with self._lock:
            for author in authors:
                self._cache.pop(author, None)

    def _cached(self, authors: Collection[Id]) -> dict[Id, bytes]:
        keys: dict[Id, bytes] = {}
        with self._lock:
            for author in authors:
                key = self._cache.pop(author, None)
                if key is not None:
                    # Put back at the end: a dict keeps its order, so the least recently used key is the first.
                    self._cache[author] = keys[author] = key
        return keys

    def _keep(self, found: Mapping[Id, bytes | None]) -> dict[Id, bytes]:
        keys = {author: DESTROYED if box is None else self._unwrap(author, box) for author, box in found.items()}
        with self._lock:
            self._cache |= keys
            while len(self._cache) > self._cached_max:
                del self._cache[next(iter(self._cache))]
        return keys

    def _wrap(self, author: Id, key: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._master.encrypt(nonce, key, author.encode())

    def _unwrap(self, author: Id, box: bytes) -> bytes:
        try:
            return self._master.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], author.encode())
        except (InvalidTag, ValueError) as error:
            raise WrongMasterKey(
                f"the key of author {author} was not wrapped with this master key; "
                "start with the secrets that belong to this database"
            ) from error


class MemoryKeys:
    """Wrapped keys for as long as the process lives."""

    def __init__(self) -> None:
        self._wrapped: dict[Id, bytes | None] = {}
        self._lock = Lock()

    def fetch(self, authors: Collection[Id]) -> Mapping[Id, bytes | None]:
        """The keys there are of these authors."""
        with self._lock:
            return {author: self._wrapped[author] for author in authors if author in self._wrapped}

    def create(self, wrapped: Mapping[Id, bytes]) -> Mapping[Id, bytes | None]:
        """Keep these keys but for authors that have or had one; what stands afterwards."""
        with self._lock:
            return {author: self._wrapped.setdefault(author, box) for author, box in wrapped.items()}

    def destroy(self, author: Id) -> None:
        """Forget the author's key and never take another."""
        with self._lock:
            self._wrapped[author] = None


class PostgresKeys:
    """Wrapped keys in the table ``log.author_keys``; ``connection`` opens or borrows a connection in autocommit."""

    def __init__(self, connection: Callable[[], AbstractContextManager[Connection[Any]]]) -> None:
        self._connection = connection

    def fetch(self, authors: Collection[Id]) -> Mapping[Id, bytes | None]:
        """The keys there are of these authors."""
        return self._run("SELECT author_id, wrapped FROM log.author_keys WHERE author_id = ANY(%s::uuid[])", authors)

    def create(self, wrapped: Mapping[Id, bytes]) -> Mapping[Id, bytes | None]:
        """Keep these keys, durably, but for authors that have or had one; what stands afterwards."""
        # In one order everywhere, so that two who create the same keys wait for each other but never deadlock.
        authors = sorted(wrapped)
        self._run(
            "INSERT INTO log.author_keys (author_id, wrapped)"
            " SELECT * FROM unnest(%s::uuid[], %s::bytea[]) ON CONFLICT DO NOTHING RETURNING author_id, wrapped",
            authors,
            [wrapped[author] for author in authors],
        )
        return self.fetch(authors)

    def destroy(self, author: Id) -> None:
        """Forget the author's key for good, durably, and never take another."""
        self._run(
            "INSERT INTO log.author_keys AS kept (author_id, destroyed_at)"
            " SELECT author, now() FROM unnest(%s::uuid[]) AS author"
            " ON CONFLICT (author_id) DO UPDATE"
            " SET wrapped = NULL, destroyed_at = coalesce(kept.destroyed_at, excluded.destroyed_at)"
            " RETURNING author_id, wrapped",
            (author,),
        )

    def _run(self, statement: str, authors: Collection[Id], *more: object) -> dict[Id, bytes | None]:
        try:
            with self._connection() as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                found = cursor.execute(statement, (list(authors), *more)).fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise KeysUnavailable("the table of keys did not answer") from error
        return {Id(str(author)): None if box is None else bytes(box) for author, box in found}
