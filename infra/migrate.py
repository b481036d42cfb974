"""Numbered SQL files, each run once, in order, in a transaction of its own.

``schemas/sql/migrations/NNN_name.sql``. What ran is in ``public.migrations`` with the checksum of the file as it
was then: a published file never changes; what must change later gets a number of its own.
"""

import re
from hashlib import sha256
from pathlib import Path

import psycopg
from msgspec import Struct

from infra.failures import Failure
from infra.postgres import connect

FOLDER = Path(__file__).resolve().parents[1] / "schemas" / "sql" / "migrations"

_LOCK = 0x6D6F6F74
"""PostgreSQL's advisory lock that lets one process migrate at a time: ``moot`` in ASCII."""

_FILE_NAME = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql\Z")

_LEDGER = """
CREATE TABLE IF NOT EXISTS public.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationFailure(Failure):
    """The database and this version of Moot do not go together."""


class Migration(Struct, frozen=True):
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The checksum of the file's text, in hex."""
        return sha256(self.sql.encode()).hexdigest()


def available(folder: Path = FOLDER) -> list[Migration]:
    """The migrations this version of Moot brings, by number. Raises ``MigrationFailure`` when two share a number."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        named = _FILE_NAME.match(path.name)
        if named is None:
            raise MigrationFailure(f"{path.name} is not named NNN_name.sql.", "Order is by number.", "Rename the file.")
        number = int(named[1])
        if number in found:
            raise MigrationFailure(
                f"Two migrations have the number {number}.", "Order would be undefined.", "Renumber the newer one."
            )
        found[number] = Migration(number, named[2], path.read_text(encoding="utf-8"))
    return list(found.values())


def migrate(dsn: str, folder: Path = FOLDER) -> list[Migration]:
    """Bring the database up to date; gives what was applied, in order.

    Safe to run from several processes at once. Raises ``MigrationFailure`` when the database has seen a newer
    version of Moot, when a file changed after it ran, or when one fails: those before it stay applied, and
    nothing of the failed one does.
    """
    migrations = available(folder)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(_LEDGER)
        applied = _checked(connection, migrations)
        pending = [migration for migration in migrations if migration.number not in applied]
        for migration in pending:
            _apply(connection, migration)
    return pending


def pending(dsn: str, folder: Path = FOLDER, *, answer_seconds_max: float | None = None) -> list[Migration]:
    """What ``migrate`` would apply. Changes nothing. Raises ``MigrationFailure`` as ``migrate`` does."""
    migrations = available(folder)
    with connect(dsn, answer_seconds_max=answer_seconds_max) as connection:
        row = connection.execute("SELECT to_regclass('public.migrations')").fetchone()
        applied = _checked(connection, migrations) if row and row[0] else set()
    return [migration for migration in migrations if migration.number not in applied]


def _checked(connection: psycopg.Connection, migrations: list[Migration]) -> set[int]:
    """The numbers that ran, after making sure that this version of Moot knows each as it was."""
    known = {migration.number: migration for migration in migrations}
    applied = connection.execute("SELECT number, name, sha256 FROM public.migrations ORDER BY number").fetchall()
    for number, name, digest in applied:
        if number not in known:
            raise MigrationFailure(
                f"The database was last used by a newer version of Moot (migration {number:03}_{name}).",
                "This version does not know what that changed, and would damage it.",
                "Use that newer version, or another folder: MOOT_DATA_DIR=… ./task up",
            )
        if known[number].sha256 != digest:
            raise MigrationFailure(
                f"Migration {number:03}_{name} is not the one that ran on this database.",
                "A migration never changes after it ran.",
                f"Restore schemas/sql/migrations/{number:03}_{name}.sql, and put the change into a new number.",
            )
    return {number for number, _, _ in applied}


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO public.migrations (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.sha256),
            )
    except psycopg.Error as error:
        raise MigrationFailure(
            f"Migration {migration.number:03}_{migration.name} failed and was rolled back.",
            str(error).strip(),
            "Nothing of it was kept. Correct the cause and start again.",
        ) from error
