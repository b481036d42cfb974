"""The real servers: one stack for the whole run, whole again before each test that uses it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from infra.stack import SERVICES, Stack, start_stack
from tests.databases import database_on
from tests.stack.roles import until
from tests.stack.whole import Whole
from tests.stack.wire import CLIENTS, Connect

StartStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def running_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """All servers: those of ``--stack-dir``, where each lane of a run has its own, or started for this run."""
    given = request.config.getoption("--stack-dir")
    if given is not None:
        yield start_stack(Path(given, os.environ.get("PYTEST_XDIST_WORKER", "")), durable=False)
        return
    folder = Path(tempfile.mkdtemp(prefix="moot-stack-tests-"))
    with start_stack(folder, durable=False) as stack:
        yield stack
    shutil.rmtree(folder)


def unhurt(stack: Stack) -> Stack:
    """All servers, running and unhurt, whatever the test before did to them."""
    for server in stack.servers.values():
        server.start()
    for name in SERVICES:
        if name != "toxiproxy":
            stack.proxy(name).heal()
    return stack


@pytest.fixture
def stack(running_stack: Stack) -> Stack:
    """All servers, unhurt as a test begins."""
    return unhurt(running_stack)


@pytest.fixture(scope="module")
def sound_stack(running_stack: Stack) -> Stack:
    """All servers, unhurt as a module begins: whatever it starts must not meet what another module left."""
    return unhurt(running_stack)


@pytest.fixture(scope="module")
def running(sound_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The fleet, for all tests of this module."""
    with Whole(sound_stack, tmp_path_factory.mktemp("whole")) as whole:
        yield whole


@pytest.fixture
def whole(running: Whole, stack: Stack) -> Whole:
    """The fleet, well."""
    until(running.all_alive)
    return running


@pytest.fixture
def direct(stack: Stack) -> Iterator[Connect]:
    """Connects to a server; closed afterwards."""
    with ExitStack() as clients:
        yield lambda name: clients.enter_context(closing(CLIENTS[name](stack.servers[name].url)))


@pytest.fixture
def proxied(stack: Stack) -> Iterator[Connect]:
    """Connects to a server through the fault proxy; closed afterwards."""
    with ExitStack() as clients:
        yield lambda name: clients.enter_context(closing(CLIENTS[name](stack.servers[name].proxied_url)))


@pytest.fixture
def kafka_url(stack: Stack) -> str:
    """The bootstrap servers of a real Kafka. Its topics are shared: use names of your own."""
    return stack.kafka.url


@pytest.fixture
def server_database(stack: Stack) -> Iterator[str]:
    """The conninfo of an empty database on the PostgreSQL server, dropped afterwards."""
    with database_on(stack.postgres.url) as conninfo:
        yield conninfo
        stack.postgres.start()  # a test may have stopped it


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Starts stacks for this test alone, by default in one folder; all are stopped afterwards."""
    made: list[Stack] = []

    def start(*services: str, folder: Path = tmp_path / "stack") -> Stack:
        stack = start_stack(folder, services, durable=False)
        made.append(stack)
        return stack

    yield start
    for one in made:
        one.stop()
