"""Engines for the tests: one real PostgreSQL and one real Redis for the whole run, empty for each test that asks."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import structlog

from infra.embedded import Engines, start_engines
from infra.migrate import migrate
from infra.secrets import load_or_create_secrets
from infra.settings import Settings, load_settings
from tests.databases import database_on
from tests.reporting import pytest_addoption, pytest_sessionfinish, pytest_unconfigure

# How long an example takes says something about the machine alone.
hypothesis.settings.register_profile("moot", deadline=None)
hypothesis.settings.load_profile("moot")

__all__ = ["pytest_addoption", "pytest_sessionfinish", "pytest_unconfigure"]


STACK = Path(__file__).with_name("stack")
"""The tests in this folder run on the real servers of the native stack: ``./task test:stack``."""
FAULTS = (
    "test_chat_faults.py",
    "test_dependencies.py",
    "test_first_steps.py",
    "test_fleet_faults.py",
    "test_network_faults.py",
    "test_rebuilds.py",
    "test_relay_faults.py",
    "test_replica.py",
    "test_roles.py",
    "test_worker_faults.py",
    "test_worker_kills.py",
)
"""Those of them that take minutes, whole fleets under faults: ``-m "stack and not faults"`` leaves them out."""


WAITING = ("faults", "cli", "machines", "imports", "live")
"""Folders of tests that wait for processes, which take longest: begun first, they leave no process alone at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the native stack, and what of it shares something in its file; the long ones come first."""
    for item in items:
        if STACK in item.path.parents:
            item.add_marker("stack")
            if item.path.name in FAULTS:
                item.add_marker("faults")
            if shares(item):
                item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: (item.get_closest_marker("faults") is None, item.path.parent.name not in WAITING))


def shares(item: pytest.Item) -> bool:
    """Whether it uses what is made once for several tests of its file, and so must be in the same process as they."""
    assert isinstance(item, pytest.Function)
    used = item._fixtureinfo.name2fixturedefs.values()
    return any(definition.scope not in {"function", "session"} for definitions in used for definition in definitions)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The embedded engines, durable writes off for speed; one pair for each process of the test run."""
    folder = Path(tempfile.mkdtemp(prefix="moot-test-"))
    settings = load_settings({}, data_dir=folder, postgres_connections_max=200)
    with start_engines(settings, durable=False) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(engines: Engines) -> str:
    """The conninfo of a real PostgreSQL server."""
    return engines.database_url


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The conninfo of an empty database, dropped afterwards."""
    with database_on(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def redis_url(engines: Engines) -> str:
    """The URL of an empty real Redis."""
    with redis.Redis.from_url(engines.redis_url) as client:
        client.flushall()
    return engines.redis_url


@pytest.fixture
def settings(database: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings over an empty, migrated database, an empty Redis and secrets of their own: enough for ``open_moot``."""
    migrate(database)
    load_or_create_secrets(tmp_path, has_data=False)
    return load_settings({}, data_dir=tmp_path, database_url=database, redis_url=redis_url)


@pytest.fixture
def logging_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging as it was, afterwards. Meanwhile no logger remembers how: what is configured later would pass it by."""
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False})
    )
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if handler not in before:
            handler.close()
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()
