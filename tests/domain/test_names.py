"""The ids of names and accounts, and ids in general."""

from uuid import RFC_4122, UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import NAMESPACE, derived, uuid_text
from domain.limits import Limits
from domain.name import RESERVED, checked, claim_id, folded, keyed_id
from domain.refusal import Code, Refusal

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def test_a_claims_stream_is_a_keyed_hash_of_kind_and_folded_name() -> None:
    assert claim_id("account", "Bob", KEY) == claim_id("account", "bOB", KEY)
    ids = {
        claim_id("account", "bob", KEY),
        claim_id("community", "bob", KEY),
        claim_id("account", "bob", OTHER_KEY),
        claim_id("account", "bo_b", KEY),
        claim_id("account", "bo-b", KEY),
        derived("account", "bob"),
    }
    assert len(ids) == 6


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_ids_are_uuids_in_canonical_form(parts: list[str]) -> None:
    for made, version in ((derived(*parts), 5), (keyed_id(KEY, *parts), 8)):
        uuid = UUID(made)
        assert str(uuid) == made
        assert uuid.version == version
        assert uuid.variant == RFC_4122


def test_derived_is_the_uuid5_of_the_rfc() -> None:
    assert derived("a", "b") == str(uuid5(UUID(bytes=NAMESPACE), "a\x1fb"))


@given(st.binary(min_size=16, max_size=16), st.integers(1, 15))
def test_a_uuid_keeps_all_other_bits(value: bytes, version: int) -> None:
    made = UUID(uuid_text(value, version=version)).int ^ int.from_bytes(value, "big")
    assert made & ~(0xF << 76 | 0x3 << 62) == 0


@given(st.text(st.characters(exclude_categories=()), max_size=30), st.sampled_from(["account", "community"]))
def test_a_name_is_taken_as_it_is_or_refused(name: str, kind: str) -> None:
    try:
        assert checked(kind, name, Limits()) == name
    except Refusal as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert refusal.field == "name"
        assert refusal.code in {Code.NAME_INVALID, Code.NAME_RESERVED, Code.TOO_SHORT, Code.TOO_LONG}
    else:
        assert name.isascii()
        assert folded(name) not in RESERVED


def test_reserved_words_are_folded_and_may_be_names_otherwise() -> None:
    assert {folded(word) for word in RESERVED} == RESERVED
    assert all(word.isascii() and word.isalnum() for word in RESERVED)
