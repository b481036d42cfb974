"""``moot doctor``: is everything all right on this machine, and if not, what is the fix."""

import platform
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg
import redis
import typer

from infra.event_store import GroupCommitStore
from infra.failures import Failure
from infra.instance import running
from infra.migrate import available, pending
from infra.postgres import connect
from infra.secret_proofs import check_secrets
from infra.secrets import FILE_NAME
from infra.settings import Settings, load_settings
from streams.cli.console import DataDir, Output, OutputOption
from streams.cli.events import open_log
from streams.cli.findings import CLOCK_SECONDS_MAX, PARKED_FIX, Finding, message_ids, show_findings
from streams.cli.projections import standing
from streams.cli.session import engines

LAG_EVENTS_MAX = 10_000
"""Events that views may be behind while they are being caught up with, about a tenth of a second's folding."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Check the machine, the engines, the log and the views. Exit code 1 when something needs a fix.

    In a fleet: each of its dependencies, the relay, the topics and the workers' views as well.
    """
    settings = load_settings(data_dir=data_dir)
    if not settings.embedded:
        from streams.cli.doctor_fleet import examine  # noqa: PLC0415 - one machine has no Kafka to know of

        return show_findings(examine(settings), output)
    with engines(data_dir) as settings, open_log(settings) as log:
        findings = [_safely(name, check, settings, log) for name, check in CHECKS.items()]
    return show_findings(findings, output)


def _safely(
    name: str, check: Callable[[Settings, GroupCommitStore], Finding], settings: Settings, log: GroupCommitStore
) -> Finding:
    """A check that cannot be made is a finding too."""
    try:
        return check(settings, log)
    except (psycopg.Error, redis.RedisError, OSError) as error:
        return Finding(name, False, f"{type(error).__name__}: {error}".strip(), "See the logs, then ./task up again.")
    except Failure as error:
        return Finding(name, False, f"{error.what} {error.why}", error.fix)


def _python(settings: Settings, log: GroupCommitStore) -> Finding:
    return Finding("python", True, f"{platform.python_version()} at {sys.executable}")


def _serving(settings: Settings, log: GroupCommitStore) -> Finding:
    instance = running(settings.data_dir)
    if instance is None:
        return Finding("serving", True, "moot up is not running; its engines were started for this check")
    return Finding("serving", True, f"process {instance.pid} at {instance.graphql}")


def _disk(settings: Settings, log: GroupCommitStore) -> Finding:
    free = shutil.disk_usage(settings.data_dir).free
    found = f"{free // 1024**2:,} MB free for {settings.data_dir}"
    if free < 2 * settings.disk_free_min:
        return Finding("disk", False, found, "Free some space: PostgreSQL stops when there is none.")
    return Finding("disk", True, found)


def _memory(settings: Settings, log: GroupCommitStore) -> Finding:
    available_bytes = psutil.virtual_memory().available
    found = f"{available_bytes // 1024**2:,} MB available"
    if available_bytes < settings.memory_free_min:
        return Finding("memory", False, found, "End something else on this machine.")
    return Finding("memory", True, found)


def _postgres(settings: Settings, log: GroupCommitStore) -> Finding:
    began = time.perf_counter()
    with connect(settings.engine_urls()[0]) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'), pg_database_size(current_database())"
        ).fetchone()
    assert row is not None
    version, fsync, size = row
    found = f"{version}, {size // 1024**2:,} MB, answered in {_ms(began)}"
    if fsync != "on":
        return Finding("postgresql", False, f"{found}, fsync is {fsync}", "Turn fsync on: a crash may lose the log.")
    return Finding("postgresql", True, found)


def _redis(settings: Settings, log: GroupCommitStore) -> Finding:
    began = time.perf_counter()
    with redis.Redis.from_url(settings.engine_urls()[1], socket_timeout=5) as client:
        version = client.info("server")["redis_version"]
    return Finding("redis", True, f"{version}, answered in {_ms(began)}")


def _schema(settings: Settings, log: GroupCommitStore) -> Finding:
    missing = pending(settings.engine_urls()[0])
    newest = max((migration.number for migration in available()), default=0)
    if missing:
        return Finding("schema", False, f"{len(missing)} migrations are missing", "./task up applies them.")
    return Finding("schema", True, f"up to migration {newest:03}")


def _secrets(settings: Settings, log: GroupCommitStore) -> Finding:
    with connect(settings.engine_urls()[0]) as connection:
        check_secrets(connection, settings.secrets_place)
    return Finding("secrets", True, f"{FILE_NAME} belongs to this data")


def _message_ids(settings: Settings, log: GroupCommitStore) -> Finding:
    with connect(settings.engine_urls()[0]) as connection:
        return message_ids(connection)


def _log(settings: Settings, log: GroupCommitStore) -> Finding:
    head = log.head_sync()
    if head == 0:
        return Finding("log", True, "empty")
    newest = log.read_sync(head - 1, 1)[0]
    return Finding("log", True, f"{head:,} events, the newest of {newest.meta.recorded_at:%Y-%m-%d %H:%M:%S} UTC")


def _clock(settings: Settings, log: GroupCommitStore) -> Finding:
    head, now = log.head_sync(), datetime.now(UTC)
    if head == 0:
        return Finding("clock", True, f"{now:%Y-%m-%d %H:%M:%S} UTC")
    ahead = log.read_sync(head - 1, 1)[0].meta.recorded_at - now
    if ahead > timedelta(seconds=CLOCK_SECONDS_MAX):
        found = f"{now:%Y-%m-%d %H:%M:%S} UTC is {ahead} before the newest event"
        return Finding("clock", False, found, "Set the clock: timedatectl set-ntp true")
    return Finding("clock", True, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _views(settings: Settings, log: GroupCommitStore) -> Finding:
    rows = _standing(settings, log)
    other = [row["projection"] for row in rows if row["state"] == "other version"]
    if other:
        return Finding(
            "views",
            False,
            f"built by another version: {' '.join(other)}",
            f"moot projections rebuild {' '.join(other)}",
        )
    lag = max(row["lag"] for row in rows)
    if lag > LAG_EVENTS_MAX:
        fix = "moot projections rebuild --all" if running(settings.data_dir) else "./task up catches up."
        return Finding("views", False, f"{lag:,} events behind the log", fix)
    return Finding("views", True, f"{len(rows)} views, {lag:,} events behind the log")


def _dead_letters(settings: Settings, log: GroupCommitStore) -> Finding:
    parked = {row["projection"]: row["parked"] for row in _standing(settings, log) if row["parked"]}
    if parked:
        found = ", ".join(f"{count:,} in {name}" for name, count in parked.items())
        return Finding("dead letters", False, found, PARKED_FIX)
    return Finding("dead letters", True, "none")


def _standing(settings: Settings, log: GroupCommitStore) -> list[dict[str, Any]]:
    with connect(settings.engine_urls()[0]) as connection:
        return standing(connection, log.head_sync())


def _ms(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


CHECKS: dict[str, Callable[[Settings, GroupCommitStore], Finding]] = {
    "python": _python,
    "serving": _serving,
    "disk": _disk,
    "memory": _memory,
    "postgresql": _postgres,
    "redis": _redis,
    "schema": _schema,
    "secrets": _secrets,
    "message ids": _message_ids,
    "log": _log,
    "clock": _clock,
    "views": _views,
    "dead letters": _dead_letters,
}
"""Every check, in the order in which it is shown."""
