"""One served stack for the tests of live updates, with limits small enough to be met."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from infra.composition import utc_now
from infra.embedded import Engines
from infra.migrate import migrate
from infra.secrets import load_or_create_secrets
from infra.settings import load_settings
from tests.api.stack import PATIENT, Client, Stack, serving
from tests.databases import new_database
from tests.live.redis_server import RedisServer


@contextmanager
def served(
    engines: Engines, redis: RedisServer | None = None, clock: Callable[[], datetime] = utc_now, **given: Any
) -> Iterator[Stack]:
    """The whole stack over a database of its own, with these settings."""
    database = new_database(engines.database_url, "live")
    folder = Path(tempfile.mkdtemp(prefix="moot-live-"))
    migrate(database)
    load_or_create_secrets(folder, has_data=False)
    # A Redis of its own: two runners must not speak on the same channels.
    with nullcontext(redis) if redis else RedisServer() as redis:
        found = {"database_url": database, "redis_url": redis.url, **PATIENT, **given}
        settings = load_settings({}, data_dir=folder, **found)
        with serving(settings, clock) as running:
            yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(engines: Engines) -> Iterator[Stack]:
    """The served stack, with generous limits."""
    with served(engines, access_token_seconds=3600) as running:
        yield running


@pytest.fixture(scope="session")
def strict(engines: Engines) -> Iterator[Stack]:
    """The served stack, with limits that a test reaches in no time."""
    with served(
        engines,
        websocket_init_seconds_max=0.3,
        websocket_ping_seconds=0.3,
        websocket_close_seconds_max=1.0,
        websocket_message_bytes_max=2048,
        websocket_operations_max=3,
        websocket_queue_messages_max=10,
        subscription_backfill_max=20,
        subscription_page_size=3,
        allowed_origins="https://forum.example",
    ) as running:
        yield running


@pytest.fixture
def somebody(stack: Stack) -> Iterator[Callable[[], Client]]:
    """Makes people who are signed in."""
    with ExitStack() as clients:
        yield lambda: clients.enter_context(Client(stack)).appear()
