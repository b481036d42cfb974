"""``moot log`` on a database that nobody has set up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.migrate import migrate
from streams.cli.console import ERROR
from streams.cli.log import audit_log, status
from streams.cli.session import NotSetUp


@pytest.mark.usefixtures("logging_again")
@pytest.mark.parametrize("command", [status, audit_log])
def test_a_database_that_is_not_migrated_is_said_with_what_to_do(
    command: Callable[[Path], int], database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOOT_DATABASE_URL", database)
    monkeypatch.setenv("MOOT_KAFKA_URL", "127.0.0.1:1")
    with pytest.raises(NotSetUp) as failure:
        command(tmp_path)
    assert failure.value.fix == "moot migrate"


@pytest.mark.usefixtures("logging_again")
def test_a_database_that_is_migrated_says_that_no_relay_leads(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database)
    monkeypatch.setenv("MOOT_DATABASE_URL", database)
    assert status(tmp_path) == ERROR
