"""Golden schemas: what every event looks like where it is stored, as JSON Schema, kept under ``schemas/events``.

A file is there for every wire name that was ever written, with samples of stored events under ``samples``. Events
are kept for ever, so a published schema never changes: what must change gets a new version, and an upcaster that
makes new ones of the old. Tests compare these files with the registry and decode every sample.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from domain.event import Event
from domain.ids import derived
from schemas.registry import UPCASTERS, WIRE, Upcaster, personal_fields

FOLDER = Path(__file__).with_name("events")
COMMAND = ".venv/bin/python -m tests.golden"
"""Writes what is missing."""


def schema(wire: str, kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event's data, without what may change freely: class name and docstrings.

    ``x-subject`` names the field with the person whose key encrypts the fields marked ``x-personal``.
    """
    (name,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    defined = {key: _bare(value) for key, value in components.items()}
    top = defined.pop(name["$ref"].removeprefix("#/$defs/"))
    for field in personal_fields(kind):
        top["properties"][field]["x-personal"] = True
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": wire, **top}
    if kind.subject is not None:
        found["x-subject"] = kind.subject
    return found | ({"$defs": defined} if defined else {})


def _bare(node: Any) -> Any:
    if isinstance(node, Mapping):
        # A title or description that is a string is one of the schema; in "properties" it would be a field.
        return {
            key: _bare(value)
            for key, value in node.items()
            if not (key in ("title", "description") and isinstance(value, str))
        }
    return [_bare(item) for item in node] if isinstance(node, list) else node


def next_version(wire: str) -> str:
    """The wire name after this one: ``post.edited@2`` for ``post.edited@1``."""
    name, _, version = wire.rpartition("@")
    return f"{name}@{int(version) + 1}"


def problems(
    folder: Path = FOLDER,
    wire: Mapping[str, type[Event]] = WIRE,
    upcasters: Mapping[str, Upcaster] = UPCASTERS,
) -> list[str]:
    """What is wrong between the registry and the golden schemas, each with what to do about it."""
    found = []
    for name, kind in wire.items():
        path = folder / f"{name}.json"
        if not path.exists():
            found.append(f"{name} has no golden schema yet. Run: {COMMAND}")
        elif json.loads(path.read_text(encoding="utf-8")) != schema(name, kind):
            found.append(_changed(name, kind))
    published = {path.stem for path in folder.glob("*@*.json")}
    found.extend(
        f"{name} was published but is neither in WIRE nor in UPCASTERS: stored events could not be read any more. "
        f"Register it again, or add an upcaster for it in schemas/registry.py."
        for name in sorted(published - wire.keys() - upcasters.keys())
    )
    found.extend(
        f"{name} is published without samples. Run: {COMMAND}"
        for name in sorted(published)
        if not (folder / "samples" / f"{name}.json").exists()
    )
    return found


def _changed(name: str, kind: type[Event]) -> str:
    newer = next_version(name)
    return (
        f"{kind.__name__} is not what {name}.json says, and events like that are stored. Restore the class, or keep it "
        f"as the old version: register the changed class as {newer} in schemas/registry.py, put {name!r} into "
        f"UPCASTERS with a function that makes {newer} of it, and run: {COMMAND}\n"
        f"Only if {name} was in no release yet: {COMMAND} --replace {name}"
    )


def write_schemas(
    folder: Path = FOLDER, wire: Mapping[str, type[Event]] = WIRE, replace: Sequence[str] = ()
) -> list[str]:
    """Write the schemas that are missing, and those to ``replace``; gives their wire names. Others stay untouched."""
    written = []
    for name, kind in wire.items():
        path = folder / f"{name}.json"
        if name in replace or not path.exists():
            path.write_text(json.dumps(schema(name, kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            written.append(name)
    return written


def samples(wire: str, kind: type[Event]) -> list[Event]:
    """Made-up events of this class: one with every field filled, and one with ``None`` wherever that may be."""
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind.__name__} is no event")
    full = {field.name: _example(wire, field.name, field.type) for field in info.fields}
    sparse = {field.name: None if _optional(field.type) else full[field.name] for field in info.fields}
    return [kind(**full)] + ([kind(**sparse)] if sparse != full else [])


def _optional(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.UnionType) and kind.includes_none


def _example(wire: str, name: str, kind: inspect.Type) -> Any:
    match kind:
        case inspect.Metadata(type=inner):
            return _example(wire, name, inner)
        case inspect.UnionType(types=types):
            return _example(wire, name, next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.StrType():
            is_id = name.endswith("_id") and name != "source_id"
            return derived("sample", wire, name) if is_id else f"Sample “{name}” 🐍\n<&> of {wire}"
        case _ if type(kind) in _EXAMPLES:
            return _EXAMPLES[type(kind)]
        case _:
            raise TypeError(f"{wire}: no example for field {name!r} of {kind}; add one to schemas/golden.py")


_EXAMPLES: dict[type[inspect.Type], Any] = {
    inspect.IntType: 2,
    inspect.BoolType: True,
    inspect.BytesType: bytes(range(246, 256)),
    inspect.DateTimeType: datetime(2014, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
}
