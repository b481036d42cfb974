"""What a relay stands between."""

from collections.abc import Iterator

import pytest

from infra.log_memory import MemoryLog
from infra.migrate import migrate
from tests.relay.world import History, declare


@pytest.fixture
def store(database: str) -> str:
    migrate(database)
    return database


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    declare(log)
    return log


@pytest.fixture
def history(store: str) -> Iterator[History]:
    history = History(store)
    yield history
    history.close()
