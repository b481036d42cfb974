"""``moot migrate``: bring a PostgreSQL that is not Moot's own to this version of the schema."""

from pathlib import Path
from typing import Annotated

import typer

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
    made, empty. Exit code 2 when --check found something to do.
    """
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        raise SettingsError(
            "MOOT_DATABASE_URL must be set.",
            "An embedded PostgreSQL is brought up to date whenever it starts.",
            "Name a PostgreSQL, or just start: ./task up",
        )
    url = settings.database_url.get_secret_value()
    found, views = pending(url), _missing_views(url, settings.secrets_place)
    _show(found, views, output)
    if not found and not views:
        words.print("The database is up to date.")
    elif check:
        return PENDING
    applied = [] if check else set_up(url, settings.secrets_place)
    if (found or views) and not check:
        words.print(f"Done: {counted(len(applied), 'migration')}, {counted(len(views), 'view')}.")
    return OK


def _missing_views(url: str, secrets_place: Path) -> list[str]:
    """The views whose tables are not there, once the secrets proved to be those of this data."""
    with connect(url) as connection:
        check_secrets(connection, secrets_place)
        found = connection.execute(
            "SELECT n FROM unnest(%s::text[]) n WHERE to_regclass('views.' || n) IS NULL ORDER BY n", (list(ALL),)
        )
        return [name for (name,) in found.fetchall()]


def _show(found: list[Migration], views: list[str], output: Output) -> None:
    if output is Output.JSON:
        migrations = [f"{migration.number:03}_{migration.name}" for migration in found]
        show_json({"migrations": migrations, "views": views})
        return
    rows = [(f"{migration.number:03}", "migration", migration.name.replace("_", " ")) for migration in found]
    rows += [("", "view", name) for name in views]
    if rows:
        show_table(("number", "kind", "what"), rows)
