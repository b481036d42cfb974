"""The settings of a fleet: its replica, its secrets, what it tells of itself, and its breakers."""

from pathlib import Path

from pydantic import BaseModel, SecretStr, field_validator

from infra.engine_urls import check_http_url
from infra.setting import setting


class FleetSettings(BaseModel):
    """Part of ``Settings``. One process on one machine needs none of these."""

    database_replica_url: SecretStr | None = setting(
        None,
        "conninfo or URI",
        "A streaming replica of PostgreSQL, which queries read from as far as it has come. Commands never do.",
    )
    replica_retry_seconds: float = setting(
        0.2, "seconds", "How long a replica that had not come far enough is not asked again how far it is.", gt=0
    )
    replica_wait_seconds_max: float = setting(
        1.0,
        "seconds",
        "How long a read waits for a connection to the replica before the primary answers it: its user waits as well.",
        gt=0,
    )
    secrets_file: Path | None = setting(
        None,
        "file",
        "The secrets of the fleet, the same for all of its processes, made by `moot secrets create`. Without it: "
        "`secrets.json` in the data directory.",
    )
    api_url: str | None = setting(
        None,
        "URL",
        "Where `moot post`, `vote`, `watch` and `chat` find the API of a fleet, such as https://moot.example. Without "
        "it: the `moot up` of the data directory.",
    )
    log_to: str = setting(
        "file",
        "",
        "Where everything is logged as JSON lines: `file`, in the data directory, with errors in words on standard "
        "error; or `stderr`, as containers want it.",
        pattern="^(file|stderr)$",
    )
    metrics_host: str = setting(
        "127.0.0.1", "address", "Where /metrics and /healthz are served beside the API: not for everybody to see."
    )
    metrics_port: int | None = setting(
        None, "TCP port", "Of them; without it they are not served. 0 lets the system choose.", ge=0, le=65_535
    )
    otlp_endpoint: str | None = setting(
        None,
        "URL",
        "Of a collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318. Without it nothing is "
        "traced. Headers and the like are OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_…",
    )
    trace_ratio: float = setting(
        1.0, "of 1", "Of all traces, how many are kept: the same ones in every process of a fleet.", ge=0, le=1
    )
    trace_batch_max: int = setting(
        20, "traces", "That one batch of the relay or of a worker adds spans to: the rest would say the same.", ge=0
    )
    breaker_failures_max: int = setting(
        5, "failures", "In a row until a dependency that does not answer is not asked any more.", ge=1
    )
    breaker_open_seconds_min: float = setting(
        0.5, "seconds", "Until one call is let through to see whether it is back; any part of its second half.", gt=0
    )
    breaker_open_seconds_max: float = setting(
        5.0, "seconds", "The same after it was away each time, twice as long as before: so soon it is found back.", gt=0
    )
    breaker_probe_seconds_max: float = setting(
        10.0, "seconds", "How long that one call may take before another one looks.", gt=0
    )
    read_attempts_max: int = setting(
        2, "attempts", "Of a read whose connection broke: a restart of PostgreSQL breaks all of them once.", ge=1
    )
    read_retry_seconds_max: float = setting(
        0.1, "seconds", "Between them; any part of it, so that not all come back at the same moment.", ge=0
    )
    redis_attempts_max: int = setting(
        2, "attempts", "Of a command to Redis whose connection broke: a restart breaks all of them once.", ge=1
    )
    redis_connect_seconds_max: float = setting(
        1.0, "seconds", "How long connecting to Redis, and one of its answers, may take.", gt=0
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None:
            check_http_url(url)
        return url
