"""The message log as the settings ask for it. The driver is loaded where they do, and nowhere else."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from infra.breaker import breaker_limits
from infra.cassandra.address import parse
from infra.cassandra.errors import CassandraError
from infra.cassandra.log import LogStore
from infra.failures import Failure
from infra.setting import group
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.cassandra.client import CassandraClient


def cassandra_client(settings: Settings) -> "CassandraClient | None":
    """The client that the settings ask for; ``None`` where PostgreSQL keeps the messages. ``close`` it."""
    if settings.cassandra_url is None:
        return None
    from infra.cassandra.client import CassandraClient, CassandraLimits  # noqa: PLC0415 - see above

    limits = group(settings, "cassandra", CassandraLimits)
    return CassandraClient(parse(settings.cassandra_url.get_secret_value()), limits, breaker_limits(settings))


class LogFailed(Failure):
    """The message log that the settings name did not do what it was asked."""


@contextmanager
def message_log(settings: Settings) -> Iterator[LogStore | None]:
    """The message log for as long as the block lasts; ``None`` where PostgreSQL keeps the messages.

    What it raises in the block is said as a ``LogFailed``.
    """
    client = cassandra_client(settings)
    if client is None:
        yield None
        return
    with closing(client):
        try:
            yield LogStore(client)
        except CassandraError as error:
            raise LogFailed(
                "The Cassandra of MOOT_CASSANDRA_URL did not do what it was asked.",
                str(error),
                "Start it, or correct MOOT_CASSANDRA_URL and the rights of its user; then run this again.",
            ) from error
