"""Published events stay readable: golden schemas, stored samples, upcasters."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import msgspec
import pytest

import domain
from domain.event import Event, Id, Personal
from domain.ids import derived
from infra.codec import Codec
from infra.keyring import Keyring, MemoryKeys
from schemas import golden
from schemas.envelope import Undecodable
from schemas.registry import UPCASTERS, WIRE, Upcaster, check_registry, personal_fields
from tests.golden import samples
from tests.golden.samples import META, STREAM_ID

PUBLISHED = sorted(path.stem for path in golden.FOLDER.glob("*@*.json"))


class Renamed(Event, frozen=True):
    """As it was first written."""

    subject: ClassVar[str | None] = "who"
    who: Id | None
    title: Personal
    stars: int


class RenamedTwo(Event, frozen=True):
    """As it is written now: the title has another name, and there is something new."""

    subject: ClassVar[str | None] = "account_id"
    account_id: Id | None
    name: Personal
    stars: int
    path: bytes


FIRST: dict[str, type[Event]] = {"thing.renamed@1": Renamed}
SECOND: dict[str, type[Event]] = {"thing.renamed@3": RenamedTwo}


def to_two(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """``who`` became ``account_id``, ``title`` became ``name``."""
    return "thing.renamed@2", {"account_id": data["who"], "name": data["title"], "stars": data["stars"]}


def to_three(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """There is a path."""
    return "thing.renamed@3", {**data, "path": "AQI="}


CHAIN = {
    "thing.renamed@1": Upcaster(to_two, subject="who", personal=("title",)),
    "thing.renamed@2": Upcaster(to_three, subject="account_id", personal=("name",)),
}


def test_the_registry_and_the_golden_schemas_agree() -> None:
    assert golden.problems() == []


def test_the_registry_is_sound() -> None:
    check_registry(WIRE, UPCASTERS)


def test_every_event_of_the_domain_has_a_wire_name() -> None:
    modules = [importlib.import_module(f"domain.{info.name}") for info in pkgutil.iter_modules(domain.__path__)]
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }
    assert {kind.__name__ for kind in found - set(WIRE.values())} == set()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stored_sample_still_decodes(name: str) -> None:
    codec = samples.codec(golden.FOLDER)
    stored = json.loads((golden.FOLDER / "samples" / f"{name}.json").read_text(encoding="utf-8"))
    assert stored
    for sample in stored:
        recorded = codec.decode((1, STREAM_ID, 1, sample["topic"], sample["stored"].encode()))
        assert not isinstance(recorded.event, Undecodable), recorded.event
        assert recorded.meta == META
        if name in WIRE:
            assert msgspec.to_builtins(recorded.event) == sample["event"]
            assert type(recorded.event) is WIRE[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_samples_are_as_the_schema_says_and_show_nothing_personal(name: str) -> None:
    schema = json.loads((golden.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for sample in json.loads((golden.FOLDER / "samples" / f"{name}.json").read_text(encoding="utf-8")):
        data = json.loads(sample["stored"])["data"]
        jsonschema.validate(data, schema, jsonschema.Draft202012Validator)
        if "x-subject" in schema and data[schema["x-subject"]] is not None:
            for field, shape in schema["properties"].items():
                if "x-personal" in shape and data[field] is not None:
                    assert data[field].startswith("aes1.")
                    assert sample["event"][field] not in sample["stored"]


def test_a_new_event_needs_the_command_and_then_nothing(tmp_path: Path) -> None:
    (problem,) = golden.problems(tmp_path, FIRST, {})
    assert problem == f"thing.renamed@1 has no golden schema yet. Run: {golden.COMMAND}"
    assert samples.write(tmp_path, FIRST) == ["thing.renamed@1"]
    assert golden.problems(tmp_path, FIRST, {}) == []
    assert samples.write(tmp_path, FIRST) == []


def test_a_published_event_that_changed_is_told_what_to_do(tmp_path: Path) -> None:
    samples.write(tmp_path, FIRST)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    changed: dict[str, type[Event]] = {"thing.renamed@1": RenamedTwo}
    assert samples.write(tmp_path, changed) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before
    (problem,) = golden.problems(tmp_path, changed, {})
    assert "register the changed class as thing.renamed@2" in problem
    assert "UPCASTERS" in problem
    assert golden.COMMAND in problem
    assert samples.write(tmp_path, changed, replace=["thing.renamed@1"]) == ["thing.renamed@1"]
    assert golden.problems(tmp_path, changed, {}) == []


def test_a_published_event_may_not_vanish(tmp_path: Path) -> None:
    samples.write(tmp_path, FIRST)
    (problem,) = golden.problems(tmp_path, {}, {})
    assert "thing.renamed@1 was published but is neither" in problem
    assert golden.problems(tmp_path, {}, CHAIN) == []
    (tmp_path / "samples" / "thing.renamed@1.json").unlink()
    (problem,) = golden.problems(tmp_path, {}, CHAIN)
    assert "without samples" in problem


def test_a_change_that_only_people_read_is_none() -> None:
    class Other(Renamed, frozen=True):
        """Another name and docstring."""

    assert golden.schema("thing.renamed@1", Other) == golden.schema("thing.renamed@1", Renamed)


def test_what_makes_a_field_personal_is_part_of_the_schema() -> None:
    class Plain(Event, frozen=True):
        who: Id | None
        title: str
        stars: int

    assert golden.schema("thing.renamed@1", Plain) != golden.schema("thing.renamed@1", Renamed)
    assert personal_fields(RenamedTwo) == ("name",)


def test_old_samples_are_upcast_through_every_version(tmp_path: Path) -> None:
    samples.write(tmp_path, FIRST)
    codec = samples.codec(tmp_path, SECOND, CHAIN)
    full, sparse = json.loads((tmp_path / "samples" / "thing.renamed@1.json").read_text(encoding="utf-8"))
    for sample in (full, sparse):
        recorded = codec.decode((7, STREAM_ID, 2, sample["topic"], sample["stored"].encode()))
        assert recorded.event == RenamedTwo(sample["event"]["who"], sample["event"]["title"], 2, b"\x01\x02")
        assert recorded.meta == META
        assert recorded.position == 7


def test_an_upcaster_that_fails_is_told_by_name() -> None:
    def broken(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        raise AttributeError("no such thing")

    keyring = Keyring(MemoryKeys(), bytes(32))
    state = b'{"data":{"who":null,"title":"x"},"meta":%b}' % Codec.encode_meta(META)
    for upcasters, reason in [
        ({"thing.renamed@1": Upcaster(broken)}, "AttributeError: no such thing"),
        ({"thing.renamed@1": CHAIN["thing.renamed@1"]}, "KeyError: 'stars'"),
        ({}, "UnknownEvent: unknown event 'thing.renamed@1'"),
    ]:
        recorded = Codec(keyring, SECOND, upcasters).decode((1, STREAM_ID, 1, "thing.renamed@1", state))
        assert isinstance(recorded.event, Undecodable)
        assert recorded.event.reason.startswith(reason)
        assert recorded.meta == META


@pytest.mark.parametrize(
    ("wire", "upcasters"),
    [
        ({"a@1": type("NoSubject", (Renamed,), {"subject": None}, frozen=True)}, {}),
        ({"a@1": type("NoField", (Renamed,), {"subject": "nobody"}, frozen=True)}, {}),
        (SECOND, {"thing.renamed@3": CHAIN["thing.renamed@2"]}),
    ],
)
def test_a_registry_that_cannot_work_is_refused(wire: dict[str, type[Event]], upcasters: dict[str, Upcaster]) -> None:
    with pytest.raises(ValueError, match="@"):
        check_registry(wire, upcasters)


def test_ids_in_samples_are_of_the_kind_that_ids_are() -> None:
    (event,) = golden.samples("thing.claimed@1", WIRE["name.claimed@1"])
    assert event.holder_id == derived("sample", "thing.claimed@1", "holder_id")  # type: ignore[attr-defined]
