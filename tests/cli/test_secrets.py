"""Secrets that do not belong to the data beside them: refused before anything is written."""

import base64
import json
import secrets
from pathlib import Path

import psycopg
import pytest

from infra.embedded import start_engines
from infra.keyring import Keyring, MemoryKeys, WrongMasterKey
from infra.secret_proofs import ForeignSecrets, check_secrets, keep_proofs
from infra.secrets import FILE_NAME, KEY_LENGTH
from infra.settings import Settings, load_settings
from streams.cli.console import explain_error
from tests.serving import Up, moot


def _swap(folder: Path, *names: str) -> str:
    """Put other keys of these names into the file; gives its text before."""
    path = folder / FILE_NAME
    before = path.read_text()
    content = json.loads(before)
    path.write_text(
        json.dumps(content | {name: base64.b64encode(secrets.token_bytes(KEY_LENGTH)).decode() for name in names})
    )
    return before


def _contents(folder: Path) -> list[object]:
    """All that a start could write: events, keys, proofs, migrations."""
    with (
        start_engines(load_settings({}, data_dir=folder)) as engines,
        psycopg.connect(engines.database_url) as connection,
    ):
        return [
            connection.execute(f"SELECT array_agg(x::text ORDER BY x::text) FROM {table} x").fetchone()
            for table in ("log.stored_events", "log.author_keys", "log.secret_proofs", "public.migrations")
        ]


def test_other_secrets_are_refused_untouched_and_the_right_ones_work_again(tmp_path: Path) -> None:
    said = ("--data-dir", str(tmp_path))
    with Up(tmp_path):
        assert moot("post", "Mine", "--as", "ada", *said).returncode == 0
    before = _contents(tmp_path)
    for names in (("name_key",), ("master_key",), ("master_key", "name_key")):
        right = _swap(tmp_path, *names)
        for command in (("up", "--port", "0"), ("doctor",), ("events", "tail")):
            found = moot(*command, *said)
            assert (found.returncode, found.stdout) == (1, "")
            assert f"does not belong to this data: another {names[0]}" in found.stderr
            assert f"\nfix: Restore the {FILE_NAME} that belongs to this data" in found.stderr
            assert "Traceback" not in found.stderr
        (tmp_path / FILE_NAME).write_text(right)
    assert _contents(tmp_path) == before
    with Up(tmp_path):
        assert moot("post", "Mine again", "--as", "ada", *said).returncode == 0
    findings = {row["check"]: row["found"] for row in json.loads(moot("doctor", "-o", "json", *said).stdout)}
    assert findings["secrets"] == f"{FILE_NAME} belongs to this data"


def test_keys_that_data_does_not_depend_on_may_change(settings: Settings, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        keep_proofs(connection, settings.data_dir)
        _swap(settings.data_dir, "token_key", "cursor_key")
        check_secrets(connection, settings.data_dir)


def test_data_from_before_proofs_is_proven_by_an_author_key(settings: Settings, database: str) -> None:
    author = "00000000-0000-8000-8000-000000000001"
    keys = MemoryKeys()
    master = base64.b64decode(json.loads((settings.data_dir / FILE_NAME).read_text())["master_key"])
    Keyring(keys, master).ensure([author])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO log.author_keys (author_id, wrapped) VALUES (%s, %s)", (author, keys.fetch([author])[author])
        )
        right = _swap(settings.data_dir, "master_key")
        with pytest.raises(ForeignSecrets):
            check_secrets(connection, settings.data_dir)
        (settings.data_dir / FILE_NAME).write_text(right)
        check_secrets(connection, settings.data_dir)
        keep_proofs(connection, settings.data_dir)
        _swap(settings.data_dir, "name_key")
        with pytest.raises(ForeignSecrets, match="another name_key"):
            check_secrets(connection, settings.data_dir)


def test_the_first_of_two_first_starts_decides(settings: Settings, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        keep_proofs(connection, settings.data_dir)
        _swap(settings.data_dir, "master_key")
        with pytest.raises(ForeignSecrets, match="another master_key"):
            keep_proofs(connection, settings.data_dir)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (WrongMasterKey("the key of author x was not wrapped with this master key"), "does not belong to this data"),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), "cannot take a value"),
    ],
)
def test_an_error_of_the_machinery_is_said_in_words(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain_error(error, internal=True) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "\nfix: " in said
