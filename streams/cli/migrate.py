"""``moot migrate``: bring servers that are not Moot's own to this version of the schema."""

from pathlib import Path
from typing import Annotated

import typer

from infra.cassandra.log import LogStore
from infra.cassandra.opening import message_log
from infra.cassandra.schema import keyspace_missing, missing
from infra.migrate import Migration, pending
from infra.postgres import connect
from infra.secret_proofs import check_secrets
from infra.settings import SettingsError, load_settings
from projections.catalogue import ALL
from streams.cli.console import OK, PENDING, DataDir, Output, OutputOption, counted, show_json, show_table, words
from streams.cli.session import set_up


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only say what would be done.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Bring the database of MOOT_DATABASE_URL to this version: show what has to be done, then do it.

    Each migration is a transaction; any number of these may run at once. Tables of views that are not there yet are
    made, empty; with MOOT_CASSANDRA_URL its keyspace, and those of the message log there. Exit code 2 when --check
    found something to do.
    """
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        raise SettingsError(
            "MOOT_DATABASE_URL must be set.",
            "An embedded PostgreSQL is brought up to date whenever it starts.",
            "Name a PostgreSQL, or just start: ./task up",
        )
    url = settings.database_url.get_secret_value()
    with message_log(settings) as log:
        found, views = pending(url), _missing_views(url, settings.secrets_place, log)
        keyspaces = [log.client.keyspace] if log is not None and keyspace_missing(log.client) else []
        _show(found, views, keyspaces, output)
        if not found and not views and not keyspaces:
            words.print("The database is up to date.")
        elif check:
            return PENDING
        applied = [] if check else set_up(url, settings.secrets_place, log)
        if (found or views or keyspaces) and not check:
            words.print(f"Done: {counted(len(applied), 'migration')}, {counted(len(views), 'view')}.")
    return OK


def _missing_views(url: str, secrets_place: Path, log: LogStore | None) -> list[str]:
    """The views whose tables are not there, once the secrets proved to be those of this data."""
    here = [name for name, view in ALL.items() if log is None or not view.message_log]
    with connect(url) as connection:
        check_secrets(connection, secrets_place)
        found = connection.execute(
            "SELECT n FROM unnest(%s::text[]) n WHERE to_regclass('views.' || n) IS NULL ORDER BY n", (here,)
        )
        names = [name for (name,) in found.fetchall()]
        return names if log is None else [*names, *missing(log, connection, ALL.values())]


def _show(found: list[Migration], views: list[str], keyspaces: list[str], output: Output) -> None:
    if output is Output.JSON:
        migrations = [f"{migration.number:03}_{migration.name}" for migration in found]
        show_json({"migrations": migrations, "views": views, "keyspaces": keyspaces})
        return
    rows = [(f"{migration.number:03}", "migration", migration.name.replace("_", " ")) for migration in found]
    rows += [("", "view", name) for name in views]
    rows += [("", "keyspace", name) for name in keyspaces]
    if rows:
        show_table(("number", "kind", "what"), rows)
