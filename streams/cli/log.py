"""``moot log``: is all of the log in Kafka, and a lost event store from what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import typer
from psycopg import Connection

from infra.failures import Failure
from infra.postgres import connect
from infra.relay_store import standing
from infra.secrets import load_secrets
from infra.settings import Settings, load_settings
from streams.cli.console import (
    ERROR,
    OK,
    PENDING,
    DataDir,
    Output,
    OutputOption,
    Refused,
    say_foreign,
    show_json,
    show_table,
    text,
    words,
)
from streams.cli.fleet import database, database_url, kafka, reporter
from streams.cli.session import check_migrated, engines
from streams.log_audit import Audit, audit
from streams.log_restore import NotRestored, Restored, check_master_key, restore

LISTED = 10
"""Of each finding in the table; --output json has more."""


class Unreadable(Failure):
    """Something of the log was restored that nobody can read."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    log = typer.Typer(no_args_is_help=True, help="The log on Kafka: status, audit it, or restore the store from it.")
    log.command("status")(status)
    log.command("audit")(audit_log)
    log.command("restore")(restore_log)
    app.add_typer(log, name="log")


@contextmanager
def _log(data_dir: Path | None) -> Iterator[tuple[Settings, Connection[Any]]]:
    """The database that holds the log. Raises ``NotSetUp`` where that is not set up for this version."""
    with database(data_dir) as settings:
        check_migrated(database_url(settings))
        with connect(database_url(settings)) as connection:
            yield settings, connection


def status(data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Show how far the relay has come, and which leads. Exit code 2 when it is behind, 1 when none leads."""
    with _log(data_dir) as (_, connection):
        found = standing(connection)
    if output is Output.JSON:
        show_json(msgspec.to_builtins(found))
    else:
        leader = "none" if found.leader is None else f"{found.leader} (since {found.since:%Y-%m-%d %H:%M:%S} UTC)"
        show_table(
            ("head", "sent", "behind", "leader"),
            [(found.head, found.sent, found.behind, leader)],
            right=("head", "sent", "behind"),
        )
    if found.leader is None:
        words.print("No relay leads: start one with moot relay.")
        return ERROR
    return PENDING if found.behind else OK


def audit_log(data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Prove that every event of the store is in Kafka exactly once, in its place, in order, byte for byte.

    Exit code 0 when it is, 2 when the newest are still on their way, 1 when anything is wrong: it says which.
    """
    with (
        _log(data_dir) as (settings, connection),
        kafka(settings) as log,
    ):
        found = audit(connection, log, progress=reporter("audit"))
    _show_audit(found, output)
    if not found.perfect:
        return ERROR
    return PENDING if found.behind else OK


def _show_audit(found: Audit, output: Output) -> None:
    if output is Output.JSON:
        show_json({**msgspec.to_builtins(found), "perfect": found.perfect})
        return
    columns = ("head", "sent", "behind", "records", "authors", "perfect")
    show_table(columns, [[getattr(found, column) for column in columns]], right=columns[:-1])
    for name, finding in found.findings.items():
        words.print(f"\n[bold]{name.replace('_', ' ')}[/]: {text(finding.count)}", highlight=False)
        for one in finding.first[:LISTED]:
            words.print(f"  {one}", highlight=False, markup=False)
        if finding.count > LISTED:
            words.print(f"  and {finding.count - LISTED:,} more")


def restore_log(data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Make an empty event store whole again from Kafka: events at their positions, and their authors' keys.

    Needs the secrets.json of the lost installation in the data directory. Accounts' e-mail addresses and passwords were
    never in the log: they come from a backup of PostgreSQL, or people sign up anew.
    """
    settings = load_settings(data_dir=data_dir)
    secrets = load_secrets(settings.secrets_place)
    try:
        with kafka(settings) as log:
            check_master_key(log, secrets.master_key)
            with engines(data_dir, create=True) as running, connect(database_url(running)) as connection:
                found = restore(connection, log, secrets.master_key, progress=reporter("restore"))
    except NotRestored as error:
        raise Refused(error.what, error.why, error.fix) from error
    _show_restored(found, output)
    say_foreign(found.foreign)
    if found.unreadable:
        raise Unreadable(
            f"{len(found.unreadable):,} authors have events that nobody can read.",
            f"Their keys are not in Kafka, nor word that they were destroyed: {' '.join(found.unreadable[:LISTED])}",
            "The events themselves are restored. Bring log.author_keys back from a backup of PostgreSQL.",
        )
    words.print("The event store is whole. Now: moot projections rebuild --all, or ./task up, which does it.")
    return OK


def _show_restored(found: Restored, output: Output) -> None:
    if output is Output.JSON:
        show_json(msgspec.to_builtins(found))
        return
    columns = ("events", "streams", "keys", "destroyed_keys")
    row: list[Any] = [getattr(found, column) for column in columns]
    show_table(
        [column.replace("_", " ") for column in columns], [row], right=("events", "streams", "keys", "destroyed keys")
    )
