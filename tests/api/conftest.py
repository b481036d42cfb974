"""One served stack for all tests of the API; every test brings its own people and communities."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.embedded import Engines, start_engines
from infra.migrate import migrate
from infra.secrets import load_or_create_secrets
from infra.settings import load_settings
from tests.api.stack import PATIENT, Client, Stack, serving
from tests.databases import new_database


@pytest.fixture(scope="session")
def stack(engines: Engines) -> Iterator[Stack]:
    """The served stack, over a database of its own."""
    database = new_database(engines.database_url, "api")
    folder = Path(tempfile.mkdtemp(prefix="moot-api-"))
    migrate(database)
    load_or_create_secrets(folder, has_data=False)
    # A Redis of its own: channels are one space for all who share a server, and other tests run runners too.
    settings = load_settings({}, data_dir=folder, database_url=database, **PATIENT)
    with start_engines(settings, durable=False) as own, serving(own.settings) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def visitor(stack: Stack) -> Iterator[Client]:
    """Somebody who is not signed in."""
    with Client(stack) as client:
        yield client


@pytest.fixture
def somebody(stack: Stack) -> Iterator[Callable[[], Client]]:
    """Makes people who are signed in."""
    with ExitStack() as clients:
        yield lambda: clients.enter_context(Client(stack)).appear()
