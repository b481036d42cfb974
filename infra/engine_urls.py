"""Addresses of engines as settings give them: whether they can be one, and whether an engine answers there.

An address may hold a password, and what a parser says of a bad one quotes it: so the sentences here are our own.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from infra.cassandra.address import parse
from infra.failures import Failure

ANSWER_SECONDS_MAX = 5
"""How long an engine may take to answer before it counts as away."""

KAFKA_PORT: Final = 9092
"""Where an address of a broker names none."""
_BROKER: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+)(?::(\d{1,5}))?")


class EngineAway(Failure):
    """An engine that the settings name does not answer."""


def check_postgres_url(url: str) -> None:
    """Raises ``ValueError`` for what is no address of a PostgreSQL."""
    import psycopg  # noqa: PLC0415 - most have no engine of their own, and start faster without
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        known = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        known = {}
    if not known or not all(port.isdigit() for port in str(known.get("port", "0")).split(",")):
        raise ValueError("no address of a PostgreSQL; it looks like postgresql://user@host:5432/name")


def check_redis_url(url: str) -> None:
    """Raises ``ValueError`` for what is no address of a Redis."""
    from redis.connection import parse_url  # noqa: PLC0415

    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValueError("no address of a Redis; it looks like redis://host:6379/0") from None


def check_cassandra_url(url: str) -> None:
    """Raises ``ValueError`` for what is no address of a Cassandra."""
    parse(url)


def checked_kafka_url(url: str) -> str:
    """The brokers as ``host:port,host:port``, without spaces. Raises ``ValueError`` for what is no such list."""
    brokers = [broker.strip() for broker in url.split(",")]
    found = [_BROKER.fullmatch(broker) for broker in brokers]
    if url and not all(broker is not None and 0 < int(broker[1] or KAFKA_PORT) < 65_536 for broker in found):
        raise ValueError("no list of brokers of Kafka; it looks like host:9092,host:9092")
    return ",".join(brokers)


def check_http_url(url: str) -> None:
    """Raises ``ValueError`` for what is neither empty nor an address that HTTP is spoken at."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if url and not right:
        raise ValueError("no URL of http or https; it looks like http://host:4318")


def ask_postgres(url: str) -> None:
    """Raises ``EngineAway`` when no PostgreSQL lets us in there."""
    import psycopg  # noqa: PLC0415

    try:
        psycopg.connect(url, connect_timeout=ANSWER_SECONDS_MAX).close()
    except psycopg.OperationalError as error:
        raise _away("PostgreSQL", "MOOT_DATABASE_URL", error) from None


def ask_redis(url: str) -> None:
    """Raises ``EngineAway`` when no Redis lets us in there."""
    import redis  # noqa: PLC0415

    seconds = ANSWER_SECONDS_MAX
    try:
        with redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        raise _away("Redis", "MOOT_REDIS_URL", error) from None


def _away(name: str, variable: str, error: Exception) -> EngineAway:
    return EngineAway(
        f"The {name} of {variable} does not answer.",
        f"{error}".strip(),
        f"Start it, correct {variable}, or unset that to use the embedded one.",
    )
