"""Every setting and every limit of Moot, validated once, at start.

Each has a default, a unit and a reason, and is set by the environment variable ``MOOT_`` and its name. The page
``docs/settings.md`` is generated from this module.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from infra.failures import Failure

PREFIX = "MOOT_"
ROOT = Path(__file__).resolve().parents[1]
"""The folder that this copy of Moot lives in."""


class SettingsError(Failure):
    """One or more settings cannot be used. The message names each variable, its value and what would be accepted."""


def setting(default: Any, unit: str, why: str, **bounds: Any) -> Any:
    """A setting: its default, its unit (``""`` where there is none), the reason, and bounds as pydantic has them."""
    return Field(default, description=why, json_schema_extra={"unit": unit}, **bounds)


class Settings(BaseModel):
    """The settings of one process. Built by ``load_settings``; does not change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # The machine.
    data_dir: Path = setting(
        ROOT / ".moot", "folder", "Where the embedded engines, the secrets, the captured mail and the logs live."
    )
    host: str = setting("127.0.0.1", "address", "The API listens here. Loopback, because this set-up has no TLS.")
    port: int = setting(8000, "TCP port", "The API listens here; 0 lets the system choose.", ge=0, le=65_535)
    database_url: SecretStr | None = setting(
        None, "conninfo or URI", "A PostgreSQL of your own (18 or newer) in place of the embedded one."
    )
    redis_url: SecretStr | None = setting(
        None, "URI", "A Redis of your own (6.2 or newer) in place of the embedded one."
    )
    disk_free_min: int = setting(
        512 * 1024**2, "bytes", "Below this, `up` refuses to start: a full disk stops PostgreSQL in mid-write.", ge=0
    )
    memory_free_min: int = setting(
        256 * 1024**2, "bytes", "Below this, `up` refuses to start: the kernel would kill an engine.", ge=0
    )
    engine_start_seconds_max: float = setting(
        60.0,
        "seconds",
        "How long an engine may take to answer. Recovery after a crash reads at most 2 GB of WAL.",
        gt=0,
    )
    engine_stop_seconds_max: float = setting(
        30.0, "seconds", "How long an engine may take to stop before it is stopped without a checkpoint.", gt=0
    )
    shutdown_seconds_max: float = setting(
        5.0, "seconds", "How long requests under way may still run once the server was told to stop.", gt=0
    )
    log_level: str = setting(
        "info", "", "What goes to the log file: debug, info, warning or error.", pattern="^(debug|info|warning|error)$"
    )
    log_file_size_max: int = setting(
        10 * 1024**2, "bytes", "A log file that has reached this is put aside; three are kept.", ge=1024
    )

    # The embedded engines.
    postgres_shared_buffers: int = setting(
        256 * 1024**2,
        "bytes",
        "PostgreSQL's own cache. Touched only as it fills, so an idle site costs little.",
        ge=2**20,
    )
    postgres_connections_max: int = setting(
        60, "connections", "The API's pool, the writer, the runner, rebuilds and a few tools at the same time.", ge=10
    )
    redis_memory_max: int = setting(
        256 * 1024**2,
        "bytes",
        "What Redis may hold. All of it can be derived again, so the oldest goes first.",
        ge=2**20,
    )

    # Connections to PostgreSQL.
    pool_connections_min: int = setting(
        2, "connections", "Kept open for reads, so that the first request is fast.", ge=1
    )
    pool_connections_max: int = setting(
        16, "connections", "Reads at the same time; more would only queue for cores.", ge=1
    )
    pool_wait_seconds_max: float = setting(
        10.0, "seconds", "How long a read may wait for a connection before it fails as unavailable.", gt=0
    )

    @property
    def embedded(self) -> bool:
        """Whether any engine is ours to start."""
        return self.database_url is None or self.redis_url is None

    @property
    def logs_dir(self) -> Path:
        """Where the server and the engines log."""
        return self.data_dir / "logs"


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings from the environment, with those ``given`` (by field name, ``None``: not given) in front.

    Raises ``SettingsError`` naming every variable that is unknown or cannot be used.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    found = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    unknown = [_unknown(name, known) for name in sorted(found.keys() - known.keys())]
    if unknown:
        raise SettingsError(
            "Unknown settings:", "\n".join(unknown), "Unset them, or see docs/settings.md for the names."
        )
    values = {known[name]: value for name, value in found.items()}
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**{**values, **overrides})
    except ValidationError as error:
        raise _explained(error, overrides) from None
    return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})


def _unknown(name: str, known: Mapping[str, str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"  {name} is no setting" + (f"; did you mean {close[0]}?" if close else ".")


def _explained(error: ValidationError, overrides: Mapping[str, Any]) -> SettingsError:
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else "?"
        secret = field in Settings.model_fields and "SecretStr" in str(Settings.model_fields[field].annotation)
        value = "(hidden)" if secret else repr(problem["input"])
        name = f"--{field.replace('_', '-')}" if field in overrides else PREFIX + field.upper()
        lines.append(f"  {name} = {value}: {problem['msg']}")
    return SettingsError(
        "Some settings cannot be used:", "\n".join(lines), "Correct them, or unset them to use the defaults."
    )
