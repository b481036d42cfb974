"""Every setting and every limit of Moot, validated once, at start.

Each has a default, a unit and a reason, and is set by the environment variable ``MOOT_`` and its name. The page
``docs/settings.md`` is generated from this module.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ConfigDict, SecretStr, ValidationError, ValidationInfo, field_validator

from domain.limits import Limits
from infra.cassandra_settings import CassandraSettings
from infra.chat_settings import ChatSettings
from infra.engine_urls import check_cassandra_url, check_postgres_url, check_redis_url
from infra.failures import Failure
from infra.fleet_settings import FleetSettings
from infra.kafka_settings import KafkaSettings
from infra.presence_settings import PresenceSettings
from infra.proxies import networks
from infra.setting import group, setting
from infra.store_limits import LIMITS, StoreLimits
from infra.view_settings import ViewSettings
from infra.worker_settings import WorkerSettings

PREFIX = "MOOT_"
ROOT = Path(__file__).resolve().parents[1]
"""The folder that this copy of Moot lives in."""


class SettingsError(Failure):
    """One or more settings cannot be used. The message names each variable, its value and what would be accepted."""


class Settings(
    FleetSettings, WorkerSettings, KafkaSettings, CassandraSettings, ViewSettings, PresenceSettings, ChatSettings
):
    """The settings of one process. Built by ``load_settings``; does not change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    # The machine.
    data_dir: Path = setting(
        ROOT / ".moot", "folder", "Where the embedded engines, the secrets, the captured mail and the logs live."
    )
    stack_dir: Path = setting(
        ROOT / ".moot-stack",
        "folder",
        "Where the native stack (`./task stack:up`) keeps its servers and its downloads.",
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
    engine_restarts_max: int = setting(
        5,
        "restarts",
        "Of engines that exit under a running server; more in a row mean that restarting is no cure.",
        ge=0,
    )
    engine_restarts_seconds: float = setting(60.0, "seconds", "In which so many restarts are too many.", gt=0)
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

    pool_answer_seconds_max: float = setting(
        10.0,
        "seconds",
        "How long PostgreSQL may take over one answer to a read before the connection is given up.",
        gt=0,
    )

    # The event store.
    store_waiting_max: int = setting(
        LIMITS.waiting_max,
        "commands",
        "Appends, and as many loads, that may wait before more are refused: half a second's work.",
        ge=1,
    )
    store_batch_events_max: int = setting(
        LIMITS.batch_events_max,
        "events",
        "In one transaction of live commands, so that the last to join waits for 50 ms at most.",
        ge=1,
    )
    store_bulk_events_max: int = setting(
        LIMITS.bulk_events_max,
        "events",
        "In one transaction of an import: more makes it no faster, and live commands wait for it.",
        ge=1,
    )
    store_load_streams_max: int = setting(
        LIMITS.load_streams_max, "streams", "In one query; all that is waited for is loaded together.", ge=1
    )
    store_follow_events_max: int = setting(
        LIMITS.follow_events_max, "events", "In one batch that a follower of the log gets: a megabyte or so.", ge=1
    )
    store_event_bytes_max: int = setting(
        LIMITS.event_bytes_max,
        "bytes",
        "Of one event as stored: the longest texts there may be, encrypted, are below half of it.",
        ge=10_000,
    )
    store_connections_max: int = setting(
        LIMITS.connections_max,
        "connections",
        "To PostgreSQL: one writes, one loads, the others read pages and keys and import.",
        ge=4,
    )
    store_connect_seconds_max: float = setting(
        LIMITS.connect_seconds_max,
        "seconds",
        "How long a command waits for a connection while PostgreSQL is away, before it fails as unavailable.",
        gt=0,
    )
    store_lock_seconds_max: int = setting(
        LIMITS.lock_seconds_max,
        "seconds",
        "How long an append waits for another process that appends; an import takes a fraction of a second each time.",
        ge=1,
    )
    store_answer_seconds_max: float = setting(
        LIMITS.answer_seconds_max,
        "seconds",
        "How long PostgreSQL may take over one answer, above the wait for that lock, until the connection is given up.",
        gt=0,
    )
    store_poll_seconds: float = setting(
        LIMITS.poll_seconds,
        "seconds",
        "A reader that is told nothing looks for itself: its delay when a notice is lost.",
        gt=0,
    )
    store_cached_keys_max: int = setting(
        LIMITS.cached_keys_max, "keys", "Authors' keys held in memory, some 250 bytes each.", ge=1
    )
    store_reader_threads: int = setting(
        LIMITS.reader_threads,
        "threads",
        "That read pages of the log for the server; a page is short work, and the runner has its own.",
        ge=1,
    )

    # The API over GraphQL.
    graphql_body_bytes_max: int = setting(
        256 * 1024, "bytes", "The largest request body: the longest post, its variables and a long query fit.", ge=1024
    )
    graphql_tokens_max: int = setting(
        2_000, "tokens", "Of a document, comments as much: the parser's time grows with them.", ge=100
    )
    graphql_depth_max: int = setting(
        16, "levels", "Of fields in a document: five levels of replies, each as edges and node.", ge=3
    )
    graphql_cost_max: int = setting(
        20_000, "fields", "What one operation may resolve at most, each page counted in full.", ge=100
    )
    graphql_aliases_max: int = setting(
        50, "aliases", "Of a document: they are how one asks for the same thing often.", ge=0
    )
    graphql_directives_max: int = setting(50, "directives", "Of a document.", ge=0)
    graphql_page_size_max: int = setting(100, "items", "The largest `first`, `last` or list of `ids`.", ge=1, le=1_000)
    graphql_cached_characters_max: int = setting(
        256 * 1024,
        "characters",
        "Of the documents kept parsed and validated. Kept, a document takes some 300 times its text.",
        ge=0,
    )
    graphql_idempotency_key_length_max: int = setting(
        200, "characters", "Of a client's idempotency key: a UUID or two, or a sentence.", ge=36
    )
    allowed_origins: str = setting(
        "", "origins", "Other sites whose pages may call the API from a browser, separated by spaces; `*`: all of them."
    )
    trusted_proxies: str = setting(
        "",
        "addresses",
        "Reverse proxies whose `X-Forwarded-For` is believed: addresses or networks, separated by spaces. "
        "All who come through another one share the limits of signing in.",
    )
    position_wait_seconds_max: float = setting(
        2.0, "seconds", "How long a read waits for the views to reach a position before it answers as they stand.", gt=0
    )

    redis_publish_seconds_max: float = setting(
        1.0, "seconds", "How long the runner waits for Redis to take its signals; the rows are committed already.", gt=0
    )

    # Live updates over WebSocket.
    websocket_init_seconds_max: float = setting(
        10.0, "seconds", "How long a socket may stay open without `connection_init`: an idle one costs memory.", gt=0
    )
    websocket_ping_seconds: float = setting(
        25.0,
        "seconds",
        "How often a client is pinged; one that was silent since the ping before is gone and is closed. Proxies cut "
        "silent connections after 30 to 60 seconds.",
        gt=0,
    )
    websocket_close_seconds_max: float = setting(
        5.0, "seconds", "How long a client may take to accept the closing before it is cut off.", gt=0
    )
    websocket_message_bytes_max: int = setting(
        256 * 1024, "bytes", "Of one message from a client, as large as a request body may be.", ge=1024
    )
    websocket_operations_max: int = setting(
        100, "operations", "Of one connection at a time: a page shows some dozens of scores.", ge=1
    )
    websocket_queue_messages_max: int = setting(
        500, "messages", "Waiting for one client; with one more it is closed as too slow, and may resume.", ge=2
    )
    websocket_queue_bytes_max: int = setting(
        4 * 1024**2, "bytes", "The same in bytes, so that slow clients together cannot fill the memory.", ge=64 * 1024
    )
    subscription_backfill_max: int = setting(
        1_000, "events", "A cursor with more events after it is too old: reading the list anew costs less.", ge=1
    )
    subscription_page_size: int = setting(
        100, "events", "What was missed is sent in pages of so many, each when the one before has left.", ge=1
    )

    # Signing in.
    password_hashes_at_once_max: int = setting(
        2, "hashes", "Argon2id takes 64 MiB and two threads' worth of work each; a core more gains nothing.", ge=1
    )
    password_hashes_waiting_max: int = setting(
        32, "hashes", "Sign-ins that may wait for theirs, about three seconds; the next is told to come back.", ge=0
    )
    access_token_seconds: int = setting(
        15 * 60,
        "seconds",
        "Life of an access token. Its session is looked up with each request, so signing out does not wait for it.",
        ge=1,
    )
    access_token_skew_seconds: int = setting(10, "seconds", "How far clocks may be apart when a token is judged.", ge=0)
    refresh_token_seconds: int = setting(
        7 * 24 * 60 * 60, "seconds", "Life of a refresh token: who stays away for longer signs in again.", ge=60
    )
    refresh_retry_seconds: int = setting(
        60, "seconds", "For how long a refresh whose answer was lost may be asked for again with the same key.", ge=0
    )
    session_seconds_max: int = setting(
        90 * 24 * 60 * 60, "seconds", "Life of a session, however often it is refreshed.", ge=60
    )
    sessions_max: int = setting(50, "sessions", "Of one account; one more ends the oldest.", ge=1)
    session_redis_seconds_max: float = setting(
        0.5, "seconds", "How long Redis may take to say whether a session has ended, before PostgreSQL is asked.", gt=0
    )
    unread_rest_seconds: float = setting(
        0.5,
        "seconds",
        "How long what somebody has not read in a server is not counted again for who follows it: in a busy server "
        "each count is of many messages.",
        ge=0,
    )
    sign_ins_per_account_max: int = setting(
        10, "attempts", "In a row with one name or address, known or not; a success starts afresh.", ge=1
    )
    sign_ins_per_account_seconds: float = setting(
        30.0, "seconds", "After that, one more attempt each: 2,880 guesses a day are too few to find a password.", gt=0
    )
    sign_ins_per_address_max: int = setting(
        300, "attempts", "In a row from one network address, whatever the accounts: a school may share one.", ge=1
    )
    sign_ins_per_address_seconds: float = setting(5.0, "seconds", "After that, one more attempt each.", gt=0)
    sign_ups_per_address_max: int = setting(
        300,
        "sign-ups",
        "In a row from one network address; it also bounds how many e-mail addresses can be probed.",
        ge=1,
    )
    sign_ups_per_address_seconds: float = setting(30.0, "seconds", "After that, one more sign-up each.", gt=0)
    confirmations_per_account_max: int = setting(
        5, "mails", "In a row that an account may have sent to its address, which may be somebody else's.", ge=1
    )
    confirmations_per_account_seconds: float = setting(600.0, "seconds", "After that, one more mail each.", gt=0)
    confirmation_seconds: int = setting(
        24 * 60 * 60, "seconds", "How long the code that confirms an e-mail address works.", ge=60
    )
    sign_up_abandoned_seconds: int = setting(
        120, "seconds", "After this, a sign-up that was cut off gives back its e-mail address.", ge=10
    )

    # The rules of the forum, each a setting by its own name.
    rules: Limits = Limits()

    @field_validator("database_url", "redis_url", "cassandra_url")
    @classmethod
    def _are_addresses(cls, url: SecretStr | None, field: ValidationInfo) -> SecretStr | None:
        if url is not None:
            assert field.field_name is not None
            _CHECKS[field.field_name](url.get_secret_value())
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks(text)
        return text

    @property
    def embedded(self) -> bool:
        """Whether any engine is ours to start."""
        return self.database_url is None or self.redis_url is None

    @property
    def store_limits(self) -> StoreLimits:
        """The settings ``store_…``."""
        return group(self, "store", StoreLimits)

    def engine_urls(self) -> tuple[str, str]:
        """Where PostgreSQL and Redis answer. Raises ``SettingsError`` when that is not known yet."""
        if self.database_url is None or self.redis_url is None:
            raise SettingsError(
                "No engines are running.",
                "database_url and redis_url are not set, and the embedded engines were not started.",
                "Start them (start_engines) and use the settings they give.",
            )
        return self.database_url.get_secret_value(), self.redis_url.get_secret_value()

    @property
    def secrets_place(self) -> Path:
        """Where the secrets are: a file, or the folder that holds it."""
        return self.secrets_file or self.data_dir

    @property
    def logs_dir(self) -> Path:
        """Where the server and the engines log."""
        return self.data_dir / "logs"


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings from the environment, with those ``given`` (by field name, ``None``: not given) in front.

    Raises ``SettingsError`` naming every variable that is unknown or cannot be used.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in (*Settings.model_fields, *_RULES) if name != "rules"}
    found = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    unknown = [_unknown(name, known) for name in sorted(found.keys() - known.keys())]
    if unknown:
        raise SettingsError(
            "Unknown settings:", "\n".join(unknown), "Unset them, or see docs/settings.md for the names."
        )
    named = {known[name]: value for name, value in found.items()}
    problems: list[str] = []
    rules = {name: _rule(name, named.pop(name), problems) for name in _RULES if name in named}
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**{"rules": Limits(**rules), **named, **overrides})
    except ValidationError as error:
        problems += _problems(error, overrides)
    if problems:
        raise SettingsError(
            "Some settings cannot be used:", "\n".join(problems), "Correct them, or unset them to use the defaults."
        )
    folders = {name: getattr(settings, name) for name in ("data_dir", "stack_dir", "secrets_file")}
    named = {name: folder.expanduser().absolute() for name, folder in folders.items() if folder is not None}
    return settings.model_copy(update=named)


_CHECKS = {
    "database_url": check_postgres_url,
    "redis_url": check_redis_url,
    "cassandra_url": check_cassandra_url,
}
_RULES = {field.name: field.type for field in msgspec.structs.fields(Limits)}


def _unknown(name: str, known: Mapping[str, str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"  {name} is no setting" + (f"; did you mean {close[0]}?" if close else ".")


def _rule(name: str, value: str, problems: list[str]) -> Any:
    try:
        return msgspec.convert(value, _RULES[name], strict=False)
    except msgspec.ValidationError as error:
        problems.append(f"  {PREFIX}{name.upper()} = {value!r}: {error}")
        return 1


def _problems(error: ValidationError, overrides: Mapping[str, Any]) -> list[str]:
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else "?"
        secret = field in Settings.model_fields and "SecretStr" in str(Settings.model_fields[field].annotation)
        value = "(hidden)" if secret else repr(problem["input"])
        name = f"--{field.replace('_', '-')}" if field in overrides else PREFIX + field.upper()
        lines.append(f"  {name} = {value}: {problem['msg']}")
    return lines
