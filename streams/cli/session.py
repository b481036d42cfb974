"""The engines for the length of one command: those of the ``moot up`` that runs, or started and stopped again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from psycopg import Connection

from infra.cassandra.log import LogStore
from infra.cassandra.opening import message_log
from infra.cassandra.schema import make_keyspace, make_missing
from infra.embedded import has_data, start_engines
from infra.failures import Failure
from infra.logging import configure_logging
from infra.migrate import Migration, migrate, pending
from infra.postgres import connect
from infra.rows import create_missing
from infra.secret_proofs import check_secrets, keep_proofs
from infra.secrets import load_or_create_secrets, load_secrets
from infra.settings import Settings, load_settings
from projections.catalogue import ALL
from streams.cli.interruption import Ending
from streams.cli.preflight import check_machine

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""What ends a command besides Ctrl-C: the system, or a terminal that is closed."""


class NothingHere(Failure):
    """The data directory holds no database yet."""


class NotSetUp(Failure):
    """The database was not brought to this version yet."""


@contextmanager
def engines(data_dir: Path | None, *, create: bool = False) -> Iterator[Settings]:
    """Settings that name running, migrated engines over the data directory, until the block is left.

    With ``create`` an empty directory is set up first; otherwise it raises ``NothingHere``. Engines that are all given
    by settings are taken as they are: whoever set them up migrates them (raises ``NotSetUp``). A signal that ends the
    process stops those that were started, too.
    """
    settings = load_settings(data_dir=data_dir)
    if not settings.embedded and not create:
        configure_logging(settings, name="cli")
        check_set_up(settings)
        yield settings
        return
    if settings.embedded and not has_data(settings) and not create:
        raise NothingHere(
            f"There is no data in {settings.data_dir} yet.",
            "The command works on what an earlier start has left there.",
            "Start it once: ./task up",
        )
    check_machine(settings)
    make_secrets(settings)
    configure_logging(settings, name="cli")
    with Ending(*END_SIGNALS) as ending, start_engines(settings) as running, message_log(settings) as messages:
        set_up(running.database_url, settings.secrets_place, messages)
        with ending.work():
            yield running.settings


def make_secrets(settings: Settings) -> None:
    """Make sure that there are secrets: those that are named, or those of the data directory, made on its first start.

    Raises ``SecretsFailure``.
    """
    if settings.secrets_file is None:
        load_or_create_secrets(settings.data_dir, has_data=has_data(settings))
    else:
        load_secrets(settings.secrets_file)


def set_up(database_url: str, secrets_place: Path, messages: LogStore | None = None) -> list[Migration]:
    """Bring the schema up to date, and make the tables of views that are not there yet, so that they can be read.

    Before anything is written, the secrets must prove to be those of the data: raises ``ForeignSecrets`` otherwise.
    Gives the migrations that were applied.
    """
    with connect(database_url) as connection:
        check_secrets(connection, secrets_place)
        applied = migrate(database_url)
        keep_proofs(connection, secrets_place)
        if messages is None:
            _check_place(connection, in_cassandra=False)
        else:
            make_keyspace(messages.client)
            make_missing(messages, connection, ALL.values())
        create_missing(connection, list(ALL.values()))
    return applied


def _check_place(connection: Connection[Any], *, in_cassandra: bool) -> None:
    """Make sure that messages are where this process will look for them. Raises ``NotSetUp``."""
    known = {name for (name,) in connection.execute("SELECT projection FROM views.logs").fetchall()}
    if known and not in_cassandra:
        raise NotSetUp(
            "The messages are kept in Cassandra, and MOOT_CASSANDRA_URL is not set.",
            "Without it this process would neither find them nor write them where others look.",
            "Set MOOT_CASSANDRA_URL as for the other processes.",
        )
    if in_cassandra and (missing := {name for name, view in ALL.items() if view.message_log} - known):
        raise NotSetUp(
            "The messages are not kept in Cassandra yet, and MOOT_CASSANDRA_URL is set.",
            f"There is no table of {', '.join(sorted(missing))}.",
            "moot migrate",
        )


def check_set_up(settings: Settings) -> None:
    """Make sure that ``set_up`` has nothing to do, and do nothing. Raises ``NotSetUp`` or ``SecretsFailure``."""
    database_url, _ = settings.engine_urls()
    with connect(database_url) as connection:
        check_secrets(connection, settings.secrets_place)
    check_migrated(database_url)
    with connect(database_url) as connection:
        _check_place(connection, in_cassandra=settings.cassandra_url is not None)


def check_migrated(database_url: str) -> None:
    """Make sure that the schema is that of this version. Raises ``NotSetUp`` or ``MigrationFailure``."""
    if missing := pending(database_url):
        raise NotSetUp(
            f"The database is behind this version of Moot by {len(missing)} migrations.",
            f"The first is {missing[0].number:03}_{missing[0].name}. Where the engines are not Moot's own, nothing"
            " changes them unasked.",
            "moot migrate",
        )
