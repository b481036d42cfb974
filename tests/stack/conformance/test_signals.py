"""Signals by way of a Redis server."""

import pytest
import redis
import redis.asyncio

from infra.stack import Stack
from tests.live.test_signals import *


class Server:
    """The stack's, for those tests that neither kill nor freeze their own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def client(self) -> redis.Redis:
        """A client for threads."""
        return redis.Redis.from_url(self._url, socket_timeout=1.0)

    def async_client(self) -> redis.asyncio.Redis:
        """A client for an event loop."""
        return redis.asyncio.Redis.from_url(self._url)


@pytest.fixture
def server(stack: Stack) -> Server:
    """In place of the embedded one."""
    return Server(stack.redis.url)
