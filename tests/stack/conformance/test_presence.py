"""Presence and typing by way of a Redis server."""

import pytest
import redis.asyncio

from infra.stack import Stack
from tests.presence.test_rules import *

DATABASE = 5
"""Of its own: it is emptied again and again."""


class Server:
    """The stack's."""

    def __init__(self, url: str) -> None:
        self._url = url

    def async_client(self) -> redis.asyncio.Redis:
        """A client for an event loop."""
        return redis.asyncio.Redis.from_url(self._url, db=DATABASE)


@pytest.fixture
def server(stack: Stack) -> Server:
    """In place of the embedded one."""
    return Server(stack.redis.url)
