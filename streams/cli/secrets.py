"""``moot secrets``: the one file that all processes of a fleet share, and that no backup may lack."""

from pathlib import Path
from typing import Annotated

import psycopg
import typer

from infra.postgres import connect
from infra.secret_proofs import check_secrets, proven
from infra.secrets import create_secrets, file_of, load_secrets
from infra.settings import Settings, load_settings
from streams.cli.console import OK, DataDir, Refused, words

FileOption = Annotated[
    Path | None, typer.Option("--file", help="The file. [default: MOOT_SECRETS_FILE]", metavar="FILE")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    secrets = typer.Typer(no_args_is_help=True, help="The secrets of a fleet: create them once, check them anywhere.")
    secrets.command("create")(create)
    secrets.command("check")(check)
    app.add_typer(secrets, name="secrets")


def create(
    file: FileOption = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Leave a file that is there as it is.")] = False,
    data_dir: DataDir = None,
) -> int:
    """Make a file of new secrets, which only its owner can read. Keep a copy of it apart from the database's backups.

    Exit code 3 when there is a file already, or when the database of MOOT_DATABASE_URL was written with others.
    """
    settings = load_settings(data_dir=data_dir, secrets_file=file)
    path = file_of(settings.secrets_place)
    if path.exists():
        load_secrets(path)
        if if_missing:
            words.print(f"{path} is there already.", highlight=False)
            return OK
        raise Refused(
            f"{path} is there already.",
            "What was written with its keys can be read with no others.",
            "Use it (moot secrets check), or name another file: --file FILE",
        )
    _refuse_beside_data(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    create_secrets(path)
    words.print(f"Made {path}. Give a copy to every machine of the fleet, and keep one.", highlight=False)
    return OK


def check(file: FileOption = None, data_dir: DataDir = None) -> int:
    """Check that the file is whole and closed to others and, where a database is named, belongs to its data."""
    settings = load_settings(data_dir=data_dir, secrets_file=file)
    path = file_of(settings.secrets_place)
    load_secrets(path)
    if settings.database_url is None:
        words.print(f"{path} is whole. No database is named to compare it with.", highlight=False)
        return OK
    with connect(settings.database_url.get_secret_value()) as connection:
        check_secrets(connection, path)
        known = proven(connection)
    words.print(f"{path} {'belongs to this data' if known else 'is whole; there is no data yet'}.", highlight=False)
    return OK


def _refuse_beside_data(settings: Settings) -> None:
    """Not to make what would be refused later; a database that does not answer is asked by ``moot migrate``."""
    if settings.database_url is None:
        return
    try:
        with connect(settings.database_url.get_secret_value()) as connection:
            known = proven(connection)
    except psycopg.OperationalError:
        return
    if known:
        raise Refused(
            "The database has data that was written with other secrets.",
            "New ones could neither read it nor find the names that are taken.",
            "Put the file back from your backup.",
        )
