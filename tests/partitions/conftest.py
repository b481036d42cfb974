"""An empty database, migrated, and a worker's connection to it."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra import migrate
from infra.postgres import connect
from infra.rows import prepare_for_folding


@pytest.fixture
def views(database: str) -> str:
    migrate.migrate(database)
    return database


@pytest.fixture
def connection(views: str) -> Iterator[Any]:
    with connect(views) as opened:
        prepare_for_folding(opened, "moot worker")
        yield opened
