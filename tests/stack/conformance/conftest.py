"""The suites of the ports once more, on the servers of a fleet: reached over TCP, with passwords, of other versions.

Each module takes over all that is in the suite of the same name, whose engines are those below then.
"""

import pytest
import redis

from infra.stack import Stack


@pytest.fixture
def database(server_database: str) -> str:
    """The conninfo of an empty database, dropped afterwards."""
    return server_database


@pytest.fixture
def redis_url(stack: Stack) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(stack.redis.url) as client:
        client.flushall()
    return stack.redis.url
