"""How a setting is declared."""

from typing import Any

from pydantic import Field


def setting(default: Any, unit: str, why: str, **bounds: Any) -> Any:
    """A setting: its default, its unit (``""`` where there is none), the reason, and bounds as pydantic has them."""
    return Field(default, description=why, json_schema_extra={"unit": unit}, **bounds)
