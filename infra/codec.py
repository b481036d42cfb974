"""Events to stored bytes and back: wire names, envelopes, upcasting, and the encryption of personal fields.

A personal field is stored as ``aes1.`` and the base64 of nonce and ciphertext, AES-256-GCM (NIST SP 800-38D) with
the key of the person that the event's ``subject`` field names, and bound to wire name, field and stream so that a
ciphertext works only where it was put. The empty string is stored as it is. Once the key is destroyed the field
reads as the empty string. Where there is no person (the subject is ``None``) the text is stored plainly.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Raw, Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import force_setattr

from domain.event import Event, Id
from infra.keyring import DESTROYED, NONCE_BYTES, Keyring, KeysUnavailable, WrongMasterKey
from schemas.envelope import Metadata, Recorded, Undecodable
from schemas.registry import UPCASTERS, WIRE, UnknownEvent, Upcaster, check_registry, personal_fields

Keys = Mapping[Id, bytes]
Row = tuple[int, Id, int, str, bytes]
"""An event as the log stores it: position, stream, version, wire name, envelope."""

CIPHER = "aes1."
"""What every encrypted field starts with: the scheme and its version."""

_T = TypeVar("_T")


class AuthorErased(Exception):
    """Something was to be recorded in the name of a person whose key is destroyed; that is not possible any more."""

    def __init__(self, author: Id) -> None:
        super().__init__(f"account {author} is erased: nothing can be recorded in its name")
        self.author = author


class Stored(Struct, Generic[_T], frozen=True, gc=False):
    """The envelope as it is read: the event's data, and the metadata still as bytes."""

    data: _T
    meta: Raw


class _MetaOnly(Struct, frozen=True, gc=False):
    meta: Raw


class Occurred(Struct, frozen=True, gc=False):
    """The one part of the metadata that bulk folds ask for, as it stands there: many are parsed at once."""

    occurred_at: str


class OccurredOnly(Struct, frozen=True, gc=False):
    """The envelope as folds read it that ask for the time alone."""

    meta: Occurred


class WithoutActors(Struct, Generic[_T], frozen=True, gc=False):
    """The envelope as bulk folds read it: the event, and when it happened."""

    data: _T
    meta: Occurred


class _Kind:
    """How one kind of event is written and read."""

    __slots__ = ("decode", "decode_data", "decode_lines", "personal", "subject", "type", "wire")

    def __init__(self, wire: str, kind: type[Event]) -> None:
        self.wire = wire
        self.type = kind
        self.subject = kind.subject
        self.personal = personal_fields(kind)
        decoder = Decoder(Stored[kind])  # type: ignore[valid-type]
        self.decode: Callable[[bytes], Stored[Event]] = decoder.decode
        self.decode_lines: Callable[[bytes], list[Stored[Event]]] = decoder.decode_lines
        self.decode_data: Callable[[bytes], list[WithoutActors[Event]]] = Decoder(WithoutActors[kind]).decode_lines  # type: ignore[valid-type]


_encoder = Encoder()
_decode_object: Callable[[bytes], Stored[dict[str, Any]]] = Decoder(Stored[dict[str, Any]]).decode
_decode_meta = Decoder(_MetaOnly).decode
decode_occurred: Callable[[bytes], list[OccurredOnly]] = Decoder(OccurredOnly).decode_lines
"""When the events of many envelopes, one a line, happened."""


class Codec:
    """Encodes what is appended and decodes what is read. Shared by threads; its state is that of the keyring.

    ``wire`` and ``upcasters`` are those of ``schemas.registry`` everywhere but in tests.
    """

    def __init__(
        self,
        keyring: Keyring,
        wire: Mapping[str, type[Event]] = WIRE,
        upcasters: Mapping[str, Upcaster] = UPCASTERS,
    ) -> None:
        check_registry(wire, upcasters)
        self.keyring = keyring
        self._by_wire = {name: _Kind(name, kind) for name, kind in wire.items()}
        self._by_type = {kind.type: kind for kind in self._by_wire.values()}
        self._upcasters = upcasters

    @staticmethod
    def encode_meta(meta: Metadata) -> bytes:
        """The second half of an envelope, the same for all events of one append."""
        return _encoder.encode(meta)

    def authors(self, events: Iterable[Event]) -> set[Id]:
        """Whose keys it takes to encode these events."""
        found: set[Id] = set()
        for event in events:
            kind = self._kind(event)
            if kind.personal and kind.subject is not None and (author := getattr(event, kind.subject)) is not None:
                found.add(author)
        return found

    def encode(self, stream_id: Id, event: Event, raw_meta: bytes, keys: Keys) -> tuple[str, bytes]:
        """The wire name and the envelope. ``keys`` must hold those of ``authors``.

        Raises ``AuthorErased``, ``TypeError`` for a class that is not registered, ``UnicodeEncodeError`` for text
        that is not Unicode.
        """
        kind = self._kind(event)
        if kind.personal and kind.subject is not None and (author := getattr(event, kind.subject)) is not None:
            event = self._encrypted(kind, stream_id, event, author, keys[author])
        return kind.wire, b'{"data":%b,"meta":%b}' % (_encoder.encode(event), raw_meta)

    def decode(self, row: Row) -> Recorded:
        """One stored event. What cannot be decoded becomes an ``Undecodable``, never an exception."""
        return self.decode_page((row,))[0]

    def decode_page(self, rows: Sequence[Row]) -> list[Recorded]:
        """A page of the log, in its order; the keys it takes are looked up at once.

        Raises ``WrongMasterKey`` or ``KeysUnavailable``: those are no fault of an event.
        """
        page: list[Recorded] = []
        sealed: list[tuple[Recorded, _Kind, Id]] = []
        old: list[tuple[Recorded, Row]] = []
        for row in rows:
            position, stream_id, version, topic, state = row
            kind = self._by_wire.get(topic)
            if kind is None:
                page.append(recorded := Recorded(position, stream_id, version, Undecodable(topic, ""), b""))
                old.append((recorded, row))
                continue
            try:
                stored = kind.decode(state)
            except ValueError as error:
                page.append(undecodable(row, error))
                continue
            event = stored.data
            page.append(recorded := Recorded(position, stream_id, version, event, stored.meta))
            if kind.personal and kind.subject is not None and (author := getattr(event, kind.subject)) is not None:
                sealed.append((recorded, kind, author))
        ciphers = self._ciphers({author for _, _, author in sealed})
        for recorded, kind, author in sealed:
            try:
                recorded.event = _decrypted(kind, recorded.stream_id, recorded.event, ciphers.get(author))
            except ValueError as error:
                recorded.event = Undecodable(kind.wire, str(error))
        for recorded, row in old:
            read = self._upcast(row)
            recorded.event, recorded.raw_meta = read.event, read.raw_meta
        return page

    def decode_lines(self, topic: str, streams: Sequence[Id], lines: bytes) -> list[Stored[Event]]:
        """Many envelopes of one wire name, one a line, each with its stream, as fast as can be, for bulk folds.

        Raises ``ValueError`` where that takes an upcaster, or when one of them cannot be decoded: ``decode_page`` says
        which. Raises ``WrongMasterKey`` or ``KeysUnavailable`` as that does.
        """
        kind = self._by_wire.get(topic)
        if kind is None:
            raise ValueError(f"{topic} is not of this version")
        found = kind.decode_lines(lines)
        if kind.personal and kind.subject is not None:
            self._decrypt(kind, kind.subject, streams, found)
        return found

    def _decrypt(self, kind: _Kind, subject: str, streams: Sequence[Id], found: Sequence[Stored[Event]]) -> None:
        authors = [getattr(stored.data, subject) for stored in found]
        ciphers = self._ciphers({author for author in authors if author is not None})
        for field in kind.personal:
            place = _place(kind.wire, field, Id(""))
            for stored, author, stream in zip(found, authors, streams, strict=True):
                if author is not None and (text := getattr(stored.data, field)):
                    # Nobody else has seen the event yet; to make another one takes as long as to decrypt it.
                    force_setattr(stored.data, field, _open(text, ciphers.get(author), place + stream.encode()))

    def _ciphers(self, authors: Collection[Id]) -> dict[Id, AESGCM | bytes]:
        """The cipher of each author who has a key; ``DESTROYED`` in the place of one that is.

        To make a cipher takes as long as to decrypt a comment, and many events of a page have the same author.
        """
        keys = self.keyring.fetch(authors) if authors else {}
        return {author: key if key == DESTROYED else AESGCM(key) for author, key in keys.items()}

    def data_decoder(self, topic: str) -> Callable[[bytes], list[WithoutActors[Event]]] | None:
        """How to decode many, one a line, with nothing of the metadata but the time; ``None`` where that takes more.

        The function raises ``ValueError`` when it cannot decode one of them.
        """
        kind = self._by_wire.get(topic)
        return None if kind is None or kind.personal else kind.decode_data

    def _kind(self, event: Event) -> _Kind:
        try:
            return self._by_type[type(event)]
        except KeyError:
            raise TypeError(f"{type(event).__name__} has no wire name: add it to schemas/registry.py") from None

    @staticmethod
    def _encrypted(kind: _Kind, stream_id: Id, event: Event, author: Id, key: bytes) -> Event:
        if key == DESTROYED:
            raise AuthorErased(author)
        cipher = AESGCM(key)
        sealed = {}
        for field in kind.personal:
            if text := getattr(event, field):
                nonce = os.urandom(NONCE_BYTES)
                box = cipher.encrypt(nonce, text.encode(), _place(kind.wire, field, stream_id))
                sealed[field] = CIPHER + b2a_base64(nonce + box, newline=False).decode()
        return msgspec.structs.replace(event, **sealed) if sealed else event

    def _upcast(self, row: Row) -> Recorded:
        position, stream_id, version, topic, state = row
        try:
            stored = _decode_object(state)
            wire, data = topic, stored.data
            while wire not in self._by_wire:
                upcaster = self._upcasters.get(wire)
                if upcaster is None:
                    raise UnknownEvent(wire)  # noqa: TRY301 - recorded below like any other reason
                if wire == topic:
                    self._decrypt_object(topic, upcaster, stream_id, data)
                wire, data = upcaster.upcast(data)
            event = msgspec.convert(data, self._by_wire[wire].type)
        except (WrongMasterKey, KeysUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever an upcaster raises, it is recorded and the rest goes on
            return undecodable(row, error)
        return Recorded(position, stream_id, version, event, stored.meta)

    def _decrypt_object(self, wire: str, upcaster: Upcaster, stream_id: Id, data: dict[str, Any]) -> None:
        author = data[upcaster.subject] if upcaster.subject is not None else None
        if author is None:
            return
        key = self.keyring.fetch((author,)).get(author)
        for field in upcaster.personal:
            if text := data.get(field):
                data[field] = _open(text, key, _place(wire, field, stream_id))


def _place(wire: str, field: str, stream_id: Id) -> bytes:
    return f"{wire}\x1f{field}\x1f{stream_id}".encode()


def _decrypted(kind: _Kind, stream_id: Id, event: Event, key: AESGCM | bytes | None) -> Event:
    plain = {}
    for field in kind.personal:
        if text := getattr(event, field):
            plain[field] = _open(text, key, _place(kind.wire, field, stream_id))
    return msgspec.structs.replace(event, **plain) if plain else event


def _open(text: str, key: AESGCM | bytes | None, place: bytes) -> str:
    if not text.startswith(CIPHER):
        raise ValueError("a personal field is not encrypted")
    if key is None:
        raise ValueError("the key of its author is missing")
    if key == DESTROYED:
        return ""
    box = a2b_base64(text[len(CIPHER) :], strict_mode=True)
    try:
        cipher = AESGCM(key) if isinstance(key, bytes) else key
        return cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], place).decode()
    except InvalidTag:
        raise ValueError("a personal field was altered, or moved here from another place") from None


def undecodable(row: Row, error: Exception) -> Recorded:
    """The stored event as one that cannot be decoded, with its metadata where these can be read."""
    position, stream_id, version, topic, state = row
    try:
        raw_meta = bytes(_decode_meta(state).meta)
    except ValueError:
        raw_meta = b"null"
    return Recorded(position, stream_id, version, Undecodable(topic, f"{type(error).__name__}: {error}"), raw_meta)
