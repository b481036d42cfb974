"""Telling those who follow live what a command has changed."""

from collections.abc import Iterator
from contextlib import contextmanager

from infra.settings import Settings
from infra.signals import RedisPublisher, publishing_client


@contextmanager
def publisher(settings: Settings) -> Iterator[RedisPublisher]:
    """Where it is said which rows a command has changed. Its ``failures`` say whether it could be."""
    with publishing_client(settings.engine_urls()[1], settings.redis_publish_seconds_max) as client:
        yield RedisPublisher(client)
