"""Author keys in memory and in PostgreSQL, and what the codec encrypts with them."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import psycopg
import pytest

from domain.account import AccountRegistered
from domain.event import Event, Id
from domain.post import PostImported, PostSubmitted
from infra import postgres
from infra.codec import AuthorErased, Codec
from infra.event_store import memory_store
from infra.keyring import DESTROYED, Keyring, KeyStore, KeysUnavailable, MemoryKeys, PostgresKeys, WrongMasterKey
from infra.migrate import migrate
from schemas.envelope import Recorded, Undecodable
from tests.conformance.event_store import meta, new_id

MASTER_KEY = bytes(range(32))
OTHER_MASTER_KEY = bytes(32)


class KeyStoreConformance:
    """What every store of keys does. ``keys`` is empty."""

    @pytest.fixture
    def keys(self) -> KeyStore:
        raise NotImplementedError

    def test_a_key_is_made_once_and_found_again(self, keys: KeyStore) -> None:
        authors = [new_id() for _ in range(5)]
        made = Keyring(keys, MASTER_KEY).ensure(authors[:3])
        again = Keyring(keys, MASTER_KEY)
        assert again.fetch(authors) == made
        assert {len(key) for key in made.values()} == {32}
        assert len(set(made.values())) == 3
        assert again.ensure(authors).items() >= made.items()
        assert Keyring(keys, MASTER_KEY).fetch(authors).keys() == set(authors)

    def test_no_authors_no_keys(self, keys: KeyStore) -> None:
        assert Keyring(keys, MASTER_KEY).ensure([]) == Keyring(keys, MASTER_KEY).fetch([]) == {}

    def test_a_destroyed_key_never_comes_back(self, keys: KeyStore) -> None:
        author, stranger = new_id(), new_id()
        keyring = Keyring(keys, MASTER_KEY)
        keyring.ensure([author])
        for erased in (author, author, stranger):
            keyring.destroy(erased)
        for ring in (keyring, Keyring(keys, MASTER_KEY)):
            for look in (ring.fetch, ring.ensure, ring.fetch):
                assert look([author, stranger]) == {author: DESTROYED, stranger: DESTROYED}
        assert keys.fetch([author]) == {author: None}

    def test_threads_that_make_the_same_keys_agree(self, keys: KeyStore) -> None:
        authors = [new_id() for _ in range(50)]
        rings = [Keyring(keys, MASTER_KEY) for _ in range(8)]
        with ThreadPoolExecutor(8) as threads:
            orders = [authors, authors[::-1], authors[25:] + authors[:25], authors] * 2
            made = list(threads.map(lambda ring, order: ring.ensure(order), rings, orders))
        assert all(found == made[0] for found in made)

    def test_keys_made_in_opposite_orders_wait_for_each_other(self, keys: KeyStore) -> None:
        for _ in range(5):
            wrapped = {new_id(): bytes(60) for _ in range(400)}
            backwards = dict(reversed(wrapped.items()))
            with ThreadPoolExecutor(2) as threads:
                assert len({len(made) for made in threads.map(keys.create, (wrapped, backwards))}) == 1

    def test_another_master_key_is_told_at_once(self, keys: KeyStore) -> None:
        author = new_id()
        Keyring(keys, MASTER_KEY).ensure([author])
        with pytest.raises(WrongMasterKey):
            Keyring(keys, OTHER_MASTER_KEY).fetch([author])

    def test_a_key_works_for_its_author_only(self, keys: KeyStore) -> None:
        author, thief = new_id(), new_id()
        Keyring(keys, MASTER_KEY).ensure([author])
        keys.create({thief: keys.fetch([author])[author] or b""})
        with pytest.raises(WrongMasterKey):
            Keyring(keys, MASTER_KEY).fetch([thief])


class TestMemoryKeys(KeyStoreConformance):
    @pytest.fixture
    def keys(self) -> KeyStore:
        return MemoryKeys()


class TestPostgresKeys(KeyStoreConformance):
    @pytest.fixture
    def keys(self, database: str) -> Iterator[KeyStore]:
        migrate(database)
        with postgres.sync_pool(database, max_size=8) as pool:
            yield PostgresKeys(pool.connection)


def test_keys_out_of_reach_are_unavailable(database: str) -> None:
    gone = psycopg.conninfo.make_conninfo(database, dbname="no_such_database")
    with pytest.raises(KeysUnavailable):
        Keyring(PostgresKeys(lambda: postgres.connect(gone)), MASTER_KEY).fetch([new_id()])


def test_the_cache_keeps_what_was_used_last() -> None:
    keys = MemoryKeys()
    keyring = Keyring(keys, MASTER_KEY, cached_max=2)
    first, second, third = (new_id() for _ in range(3))
    keyring.ensure([first, second])
    assert keyring.cached([first]) is not None
    keyring.ensure([third])
    assert keyring.cached([second]) is None
    assert keyring.cached([first, third]) == keyring.fetch([third, first])
    assert keyring.cached([]) == {}
    keyring.forget([first, new_id()])
    assert keyring.cached([first]) is None


def test_a_master_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        Keyring(MemoryKeys(), bytes(31))


# -- the codec -----------------------------------------------------------------------------------------------------


@pytest.fixture
def codec() -> Codec:
    return Codec(Keyring(MemoryKeys(), MASTER_KEY))


def encoded(codec: Codec, stream_id: Id, event: Event) -> tuple[str, bytes]:
    """The wire name and envelope of an event."""
    return codec.encode(stream_id, event, codec.encode_meta(meta()), codec.keyring.ensure(codec.authors([event])))


def data(state: bytes) -> dict[str, Any]:
    """What is in the envelope."""
    return dict(msgspec.json.decode(state)["data"])


def with_data(state: bytes, **changes: Any) -> bytes:
    """The envelope with other fields."""
    whole = msgspec.json.decode(state)
    return msgspec.json.encode({"data": whole["data"] | changes, "meta": whole["meta"]})


def test_an_empty_or_missing_text_needs_no_key_to_be_read(codec: Codec) -> None:
    author, stream_id = new_id(), new_id()
    post = PostSubmitted(stream_id, new_id(), author, False, "text", "Title", "", None)
    _, state = encoded(codec, stream_id, post)
    assert (data(state)["body"], data(state)["url"]) == ("", None)
    assert data(state)["title"].startswith("aes1.")


def test_the_same_text_never_looks_the_same(codec: Codec) -> None:
    author, stream_id = new_id(), new_id()
    event = AccountRegistered(author, "same", "same")
    (_, one), (_, two) = encoded(codec, stream_id, event), encoded(codec, stream_id, event)
    assert len({data(state)[field] for state in (one, two) for field in ("name", "display_name")}) == 4


def test_text_of_nobody_is_stored_as_it_is(codec: Codec) -> None:
    stream_id = new_id()
    imported = PostImported(
        stream_id, new_id(), None, "text", "aes1.Title", "Body", None, None, 1, 0, False, False, False, "t3_x"
    )
    assert codec.authors([imported]) == set()
    topic, state = encoded(codec, stream_id, imported)
    assert data(state)["title"] == "aes1.Title"
    assert codec.decode((1, stream_id, 1, topic, state)).event == imported


@pytest.mark.parametrize("way", ["stream", "field", "author", "altered", "plain", "cut", "no base64"])
def test_a_ciphertext_works_only_where_it_was_put(codec: Codec, way: str) -> None:
    author, other, stream_id = new_id(), new_id(), new_id()
    topic, state = encoded(codec, stream_id, AccountRegistered(author, "name", "display"))
    encoded(codec, stream_id, AccountRegistered(other, "name", "display"))
    name = data(state)["name"]
    box = bytearray(b64decode(name.removeprefix("aes1.")))
    box[-1] ^= 1
    moved = {
        "stream": (new_id(), state),
        "field": (stream_id, with_data(state, display_name=name)),
        "author": (stream_id, with_data(state, account_id=other)),
        "altered": (stream_id, with_data(state, name="aes1." + b64encode(box).decode())),
        "plain": (stream_id, with_data(state, name="plain text")),
        "cut": (stream_id, with_data(state, name=name[:13])),
        "no base64": (stream_id, with_data(state, name="aes1.ü")),
    }
    assert codec.decode((1, stream_id, 1, topic, state)).event == AccountRegistered(author, "name", "display")
    recorded = codec.decode((1, moved[way][0], 1, topic, moved[way][1]))
    assert isinstance(recorded.event, Undecodable)
    assert recorded.event.reason


def test_a_missing_key_is_no_erasure(codec: Codec) -> None:
    author, stream_id = new_id(), new_id()
    topic, state = encoded(codec, stream_id, AccountRegistered(author, "name", "display"))
    recorded = Codec(Keyring(MemoryKeys(), MASTER_KEY)).decode((1, stream_id, 1, topic, state))
    assert isinstance(recorded.event, Undecodable)
    assert "key of its author is missing" in recorded.event.reason


def test_nothing_is_encoded_for_the_erased(codec: Codec) -> None:
    author = new_id()
    codec.keyring.destroy(author)
    with pytest.raises(AuthorErased):
        encoded(codec, new_id(), AccountRegistered(author, "name", "display"))


def lines_of(codec: Codec, events: list[AccountRegistered], streams: list[Id]) -> tuple[str, bytes, list[Recorded]]:
    """The wire name of the events, their envelopes, and what a page of them is decoded to."""
    rows = [(*encoded(codec, stream, event), stream) for stream, event in zip(streams, events, strict=True)]
    page = codec.decode_page([(at, stream, 1, topic, state) for at, (topic, state, stream) in enumerate(rows, 1)])
    return rows[0][0], b"\n".join(state for _, state, _ in rows), page


def test_many_lines_are_decoded_as_a_page_of_them_is(codec: Codec) -> None:
    authors = [new_id(), new_id()]
    streams = [new_id() for _ in range(6)]
    events = [AccountRegistered(authors[i % 2], f"name{i}", "" if i == 3 else f"Näme {i}") for i in range(6)]
    topic, lines, _ = lines_of(codec, events, streams)
    codec.keyring.destroy(authors[1])
    page = [event.event for event in lines_of(codec, events[::2], streams[::2])[2]]
    assert [stored.data for stored in codec.decode_lines(topic, streams, lines)][::2] == page == events[::2]
    erased = codec.decode_lines(topic, streams, lines)[1].data
    assert isinstance(erased, AccountRegistered)
    assert (erased.name, erased.display_name) == ("", "")


def test_lines_that_take_more_are_left_to_a_page(codec: Codec) -> None:
    streams = [new_id(), new_id()]
    events = [AccountRegistered(new_id(), "name", "display"), AccountRegistered(new_id(), "other", "display")]
    topic, lines, _ = lines_of(codec, events, streams)
    with pytest.raises(ValueError, match="altered, or moved"):
        codec.decode_lines(topic, streams[::-1], lines)
    with pytest.raises(ValueError, match="missing"):
        Codec(Keyring(MemoryKeys(), MASTER_KEY)).decode_lines(topic, streams, lines)
    with pytest.raises(ValueError, match="voter_id"):
        codec.decode_lines("vote.cast@1", streams[:1], b'{"data":{},"meta":{}}')
    with pytest.raises(ValueError, match=r"unknown@1"):
        codec.decode_lines("unknown@1", streams, lines)


def test_a_wrong_master_key_stops_reading_and_parks_nothing() -> None:
    keys = MemoryKeys()
    writer = Codec(Keyring(keys, MASTER_KEY))
    stream_id, author = new_id(), new_id()
    topic, state = encoded(writer, stream_id, AccountRegistered(author, "name", "display"))
    with pytest.raises(WrongMasterKey):
        Codec(Keyring(keys, OTHER_MASTER_KEY)).decode_page([(1, stream_id, 1, topic, state)])


def test_stores_in_memory_share_nothing() -> None:
    assert memory_store().codec.keyring is not memory_store().codec.keyring
