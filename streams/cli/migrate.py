"""``moot migrate``: bring servers that are not Moot's own to this version of the schema."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from infra.cassandra.client import CassandraClient, cassandra_client
from infra.cassandra.errors import CassandraError
from infra.cassandra.schema import keyspace_missing, make_keyspace
from infra.failures import Failure
from infra.migrate import Migration, pending
from infra.postgres import connect
from infra.secret_proofs import check_secrets
from infra.settings import Settings, SettingsError, load_settings
from projections.catalogue import ALL
from streams.cli.console import OK, PENDING, DataDir, Output, OutputOption, counted, show_json, show_table, words
from streams.cli.session import set_up


class LogNotReached(Failure):
    """The Cassandra that the settings name could not be set up."""


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
    made, empty, and with MOOT_CASSANDRA_URL its keyspace. Exit code 2 when --check found something to do.
    """
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        raise SettingsError(
            "MOOT_DATABASE_URL must be set.",
            "An embedded PostgreSQL is brought up to date whenever it starts.",
            "Name a PostgreSQL, or just start: ./task up",
        )
    url = settings.database_url.get_secret_value()
    with _message_log(settings) as log:
        found, views = pending(url), _missing_views(url, settings.secrets_place)
        keyspaces = [log.keyspace] if log is not None and keyspace_missing(log) else []
        _show(found, views, keyspaces, output)
        if not found and not views and not keyspaces:
            words.print("The database is up to date.")
        elif check:
            return PENDING
        applied = [] if check else set_up(url, settings.secrets_place)
        if log is not None and not check:
            make_keyspace(log)
        if (found or views or keyspaces) and not check:
            words.print(f"Done: {counted(len(applied), 'migration')}, {counted(len(views), 'view')}.")
    return OK


@contextmanager
def _message_log(settings: Settings) -> Iterator[CassandraClient | None]:
    """The client of the message log, if there is one. What it raises in the block is said as a failure."""
    client = cassandra_client(settings)
    if client is None:
        yield None
        return
    with closing(client):
        try:
            yield client
        except CassandraError as error:
            raise LogNotReached(
                "The Cassandra of MOOT_CASSANDRA_URL could not be set up.",
                str(error),
                "Start it, or correct MOOT_CASSANDRA_URL and the rights of its user; then run this again.",
            ) from error


def _missing_views(url: str, secrets_place: Path) -> list[str]:
    """The views whose tables are not there, once the secrets proved to be those of this data."""
    with connect(url) as connection:
        check_secrets(connection, secrets_place)
        found = connection.execute(
            "SELECT n FROM unnest(%s::text[]) n WHERE to_regclass('views.' || n) IS NULL ORDER BY n", (list(ALL),)
        )
        return [name for (name,) in found.fetchall()]


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
