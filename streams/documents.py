"""The pages of ``docs/`` that come from the code: the catalogue of events, the settings, the GraphQL schema.

``python -m streams.documents`` writes them; a test compares them with what it would write.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from domain.event import Event
from domain.limits import Limits
from infra.settings import PREFIX, ROOT, Settings
from projections.catalogue import ALL
from read_api.schema import sdl
from schemas.registry import UPCASTERS, WIRE, personal_fields

GENERATED = "This page is generated from the code by `./task docs`; a test keeps it fresh."
EXAMPLE_ROOT = "."
"""What stands on the page in place of the folder of this very copy."""


def events() -> str:
    """The catalogue of events: what each says, field by field, who folds it, and what is personal."""
    folded = {
        kind: [name for name, projection in ALL.items() if kind in projection.handlers] for kind in set(WIRE.values())
    }
    lines = [
        "# Events",
        "",
        GENERATED,
        "",
        "Every fact that Moot records, under its wire name. Personal fields are encrypted with a key of their",
        "author; destroying the key erases them everywhere. Every event also has metadata: the ids of its command,",
        "correlation, causation and actor, and when it occurred and was recorded.",
        "",
    ]
    for wire, kind in WIRE.items():
        personal = personal_fields(kind)
        lines += [f"## `{wire}`", "", _paragraph(kind), "", "| field | type | |", "| --- | --- | --- |"]
        for field in msgspec.structs.fields(kind):
            notes = ["personal"] if field.name in personal else []
            notes += [] if field.default is NODEFAULT else [f"default `{field.default!r}`"]
            lines.append(f"| `{field.name}` | `{_type(kind, field.name)}` | {', '.join(notes)} |")
        if kind.subject is not None:
            lines += ["", f"Belongs to the person in `{kind.subject}`."]
        lines += ["", f"Folded by: {', '.join(f'`{name}`' for name in folded[kind]) or 'no view'}.", ""]
    if UPCASTERS:
        lines += ["## No longer written", "", *(f"- `{wire}`" for wire in UPCASTERS), ""]
    return "\n".join(lines)


def settings() -> str:
    """Every setting: its variable, default, unit and reason."""
    lines = [
        "# Settings",
        "",
        GENERATED,
        "",
        "Each is an environment variable. They are validated once, at start; an unknown one is an error too.",
        "",
        "| variable | default | unit | why |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        if name != "rules":
            unit = field.json_schema_extra["unit"] if isinstance(field.json_schema_extra, dict) else ""
            lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {unit} | {field.description} |")
    lines += ["", "## Rules of the forum", "", "| variable | default | why |", "| --- | --- | --- |"]
    reasons = _attribute_docstrings(Limits)
    for rule in msgspec.structs.fields(Limits):
        lines.append(f"| `{PREFIX}{rule.name.upper()}` | {_default(rule.default)} | {reasons[rule.name]} |")
    return "\n".join([*lines, "", _paragraph(Limits), ""])


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "events.md": events,
    "settings.md": settings,
    "schema.graphql": lambda: sdl().rstrip("\n") + "\n",
}
"""Each page of ``docs/`` and what it should say."""


def write(folder: Path = ROOT / "docs") -> list[str]:
    """Write the pages; gives the names of those that changed."""
    folder.mkdir(exist_ok=True)
    changed = []
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def _paragraph(thing: type[Any]) -> str:
    return inspect.cleandoc(thing.__doc__ or "").replace("``", "`")


def _type(kind: type[Event], name: str) -> str:
    """A field's type as a reader would write it, without the module names."""
    hint = get_type_hints(kind)[name]
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    for prefix in ("typing.", "domain.event.", "datetime."):
        text = text.replace(prefix, "")
    return text.replace("|", "\\|")


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Path):
        return f"`{EXAMPLE_ROOT}/{value.relative_to(ROOT)}`"
    return f"`{value}`" if value != "" else "empty"


def _attribute_docstrings(struct: type[Struct]) -> dict[str, str]:
    """The text below each field of a class, in one line."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


if __name__ == "__main__":
    sys.stderr.write(f"written: {', '.join(write()) or 'nothing, all pages are fresh'}\n")
