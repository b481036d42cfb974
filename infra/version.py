"""Which version of Moot this is. A test compares it with ``pyproject.toml``: Moot runs from its folder, uninstalled."""

from typing import Final

VERSION: Final = "0.1.0"
