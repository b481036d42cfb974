"""How a setting is declared, and how those of one part are handed to it."""

from typing import Any, TypeVar

from msgspec import Struct
from pydantic import Field

L = TypeVar("L", bound=Struct)


def setting(default: Any, unit: str, why: str, **bounds: Any) -> Any:
    """A setting: its default, its unit (``""`` where there is none), the reason, and bounds as pydantic has them."""
    return Field(default, description=why, json_schema_extra={"unit": unit}, **bounds)


def group(settings: object, prefix: str, kind: type[L]) -> L:
    """The settings that begin with the prefix and an underscore, as limits whose fields are the rest of their names."""
    return kind(**{name: getattr(settings, f"{prefix}_{name}") for name in kind.__struct_fields__})
