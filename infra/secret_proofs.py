"""Whether secrets belong to the data beside them: keyed proofs, stored with the data on its first start.

With another ``name_key`` every name would be free again, and with another ``master_key`` new text would be encrypted
with keys that nobody has once the right file is back. The two other keys only end sessions and page cursors when
they change, so they may.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from hmac import compare_digest, digest
from pathlib import Path
from typing import Any

from psycopg import Connection

from infra.secrets import FILE_NAME, Secrets, SecretsFailure, file_of, load_secrets

PROVEN = ("master_key", "name_key")
"""The keys that data depends on."""


class ForeignSecrets(SecretsFailure):
    """The file of secrets is well formed, but the data beside it was written with another one."""

    def __init__(self, place: Path | None, found: str) -> None:
        super().__init__(
            f"{FILE_NAME if place is None else file_of(place)} does not belong to this data: {found}.",
            "Its keys find the names that are taken and decrypt what people wrote. With others, names would be given"
            " away twice and new text be lost, so nothing was written.",
            f"Restore the {FILE_NAME} that belongs to this data, or start with another folder:"
            " MOOT_DATA_DIR=… ./task up",
        )


def check_secrets(connection: Connection[Any], place: Path) -> None:
    """Return if the data was written with these secrets (a file, or its folder), or there is none yet. Writes nothing.

    Data from before there were proofs is asked for one author's key, which only its own master key opens.
    Raises ``SecretsFailure``: a ``ForeignSecrets`` where the secrets are of other data.
    """
    secrets = load_secrets(place)
    stored = _stored(connection)
    wanted = _proofs(secrets)
    others = [name for name in PROVEN if name in stored and not compare_digest(stored[name], wanted[name])]
    if others:
        raise ForeignSecrets(place, f"another {' and another '.join(others)} wrote it")
    if "master_key" not in stored:
        _unwrap_one(connection, secrets, place)


def keep_proofs(connection: Connection[Any], place: Path) -> None:
    """Keep proofs of these secrets where there are none, after ``check_secrets``; checks those that are there.

    Of two first starts with different secrets one is refused: the first proof stays. Raises ``SecretsFailure``.
    """
    if len(_stored(connection)) < len(PROVEN):
        proofs = _proofs(load_secrets(place))
        connection.execute(
            "INSERT INTO log.secret_proofs (name, proof) SELECT * FROM unnest(%s::text[], %s::bytea[])"
            " ON CONFLICT DO NOTHING",
            (list(proofs), list(proofs.values())),
        )
    check_secrets(connection, place)


def proven(connection: Connection[Any]) -> bool:
    """Whether there is data that belongs to some secrets."""
    return bool(_stored(connection))


def _proofs(secrets: Secrets) -> dict[str, bytes]:
    return {name: digest(getattr(secrets, name), f"moot proof of {name}".encode(), "sha256") for name in PROVEN}


def _stored(connection: Connection[Any]) -> Mapping[str, bytes]:
    if not _exists(connection, "log.secret_proofs"):
        return {}
    return dict(connection.execute("SELECT name, proof FROM log.secret_proofs").fetchall())


def _unwrap_one(connection: Connection[Any], secrets: Secrets, place: Path) -> None:
    if not _exists(connection, "log.author_keys"):
        return
    row = connection.execute("SELECT author_id FROM log.author_keys WHERE wrapped IS NOT NULL LIMIT 1").fetchone()
    if row is None:
        return
    # Only data from before there were proofs comes here; every other start does without reading the library.
    from infra.keyring import Keyring, PostgresKeys, WrongMasterKey  # noqa: PLC0415

    try:
        Keyring(PostgresKeys(lambda: nullcontext(connection)), secrets.master_key).fetch([row[0]])
    except WrongMasterKey as error:
        raise ForeignSecrets(place, "another master_key wrote it") from error


def _exists(connection: Connection[Any], table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return row is not None and bool(row[0])
