"""What the roles and tools of a fleet have in common: where PostgreSQL, Redis and Kafka are."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra.event_log import LogUnavailable, TopicsMissing
from infra.failures import Failure
from infra.logging import configure_logging
from infra.settings import Settings, load_settings
from streams.cli.console import words
from streams.cli.session import engines

if TYPE_CHECKING:
    from infra.kafka.log import KafkaLog


class KafkaFailure(Failure):
    """Kafka is away, or not set up."""


REPORT_SECONDS = 5.0
"""How often something that takes long says how far it is."""


@contextmanager
def database(data_dir: Path | None, *, log_name: str = "cli") -> Iterator[Settings]:
    """Settings that name a PostgreSQL: that of the environment as it is, or the embedded one of the data directory."""
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        with engines(data_dir) as running:
            yield running
        return
    configure_logging(settings, name=log_name)
    yield settings


def database_url(settings: Settings) -> str:
    """Where PostgreSQL answers, under such settings."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


@contextmanager
def kafka(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> "Iterator[KafkaLog]":
    """The log on Kafka, and what goes wrong with it in words. Raises ``SettingsError`` when none is named."""
    from infra.kafka.opening import kafka_log  # noqa: PLC0415 - one machine has no Kafka, and starts faster without

    log = kafka_log(settings, stopping=stopping)
    try:
        yield log
    except LogUnavailable as error:
        raise KafkaFailure(
            f"Kafka at {settings.kafka_url} does not answer.", f"{error}.", "Start it, or correct MOOT_KAFKA_URL."
        ) from error
    except TopicsMissing as error:
        raise KafkaFailure("The topics are not as they are declared.", f"{error}.", "moot topics apply") from error


def reporter(what: str) -> Callable[[int, int], None]:
    """Something to tell how much is done and of how much: it says so now and then."""
    due = time.monotonic() + REPORT_SECONDS

    def report(done: int, of: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + REPORT_SECONDS
            words.print(f"{what}: {done:,} of at most {of:,} records")

    return report
