"""Telling those who follow live what a command has changed."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from infra.settings import Settings
from infra.signals import RedisPublisher


@contextmanager
def publisher(settings: Settings) -> Iterator[RedisPublisher]:
    """Where it is said which rows a command has changed. Its ``failures`` say whether it could be."""
    seconds = settings.redis_publish_seconds_max
    url = settings.engine_urls()[1]
    with redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds) as client:
        yield RedisPublisher(client)
