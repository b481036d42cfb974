"""``moot doctor`` in a fleet: every dependency by itself, so that one that is away hides nothing of the others."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import redis
from psycopg.errors import InvalidSchemaName, UndefinedColumn, UndefinedFunction, UndefinedTable

from infra.cassandra.errors import CassandraAway, CassandraError
from infra.cassandra.opening import cassandra_client
from infra.event_log import LogUnavailable, TopicsMissing
from infra.failures import Failure
from infra.kafka.opening import kafka_log, record_bytes_max
from infra.logging import configure_logging
from infra.migrate import available, pending
from infra.postgres import connect
from infra.relay_store import standing as relay_standing
from infra.secret_proofs import check_secrets, proven
from infra.secrets import file_of, load_secrets
from infra.settings import Settings
from infra.telemetry.lag import read_lag
from projections.catalogue import ALL
from schemas.topics import TOPICS
from streams.cli.console import counted
from streams.cli.findings import CLOCK_SECONDS_MAX, PARKED_FIX, Finding, message_ids
from streams.topic_plan import MAKE_ANEW, Change, plan
from streams.views import list_views

VERSION_MIN: Final = 180000
"""PostgreSQL 18, as ``server_version_num`` says it."""
REDIS_VERSION_MIN: Final = (6, 2)
LAG_SECONDS_MAX: Final = 10.0
"""How old the oldest event may be that the relay has not sent or a view lacks: seconds mean that it is worked on."""
CLOCK_EVENTS: Final = 1_000
"""So many of the newest events are looked at for times that go back: those of two machines whose clocks differ."""
REDIS_SECONDS_MAX: Final = 5.0
POSTGRES_SECONDS_MAX: Final = 10.0
"""How long each of their answers may take: what is asked is not much, and to hang would be no finding."""

Check = Callable[[Settings], Finding]


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which it is shown."""
    configure_logging(settings, name="cli")
    return [_safely(name, check, settings) for name, check in CHECKS.items()]


def _safely(name: str, check: Check, settings: Settings) -> Finding:
    """A check that cannot be made is a finding too."""
    try:
        return check(settings)
    except (UndefinedTable, UndefinedColumn, UndefinedFunction, InvalidSchemaName):
        return Finding(name, False, "the schema is not there, or is an older one", "moot migrate")
    except (psycopg.Error, redis.RedisError, LogUnavailable, OSError) as error:
        return Finding(name, False, f"{type(error).__name__}: {error}".strip(), _AWAY.get(name, _AWAY["postgresql"]))
    except CassandraError as error:
        fix = _AWAY["cassandra"] if isinstance(error, CassandraAway) else "moot migrate"
        return Finding(name, False, str(error), fix)
    except TopicsMissing as error:
        return Finding(name, False, f"missing: {error}", "moot topics apply")
    except Failure as error:
        return Finding(name, False, f"{error.what} {error.why}", error.fix)


_AWAY: Final = {
    "postgresql": "Start PostgreSQL, or correct MOOT_DATABASE_URL.",
    "replica": "Start the replica, correct MOOT_DATABASE_REPLICA_URL, or unset it: the primary answers meanwhile.",
    "redis": "Start Redis, or correct MOOT_REDIS_URL.",
    "kafka": "Start Kafka, or correct MOOT_KAFKA_URL.",
    "cassandra": "Start Cassandra or ScyllaDB, or correct MOOT_CASSANDRA_URL.",
}


def _secrets(settings: Settings) -> Finding:
    path = file_of(settings.secrets_place)
    load_secrets(path)
    with _primary(settings) as connection:
        check_secrets(connection, path)
        known = proven(connection)
    return Finding("secrets", True, f"{path} {'belongs to this data' if known else 'is whole; there is no data yet'}")


def _postgres(settings: Settings) -> Finding:
    began = time.perf_counter()
    with _primary(settings) as connection:
        row = connection.execute(
            """SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                current_setting('fsync'), pg_is_in_recovery(), pg_database_size(current_database())"""
        ).fetchone()
    assert row is not None
    version, number, fsync, recovering, size = row
    found = f"{version}, {size // 1024**2:,} MB, answered in {_ms(began)}"
    if recovering:
        return Finding("postgresql", False, f"{found}, is a replica", "MOOT_DATABASE_URL must name the primary.")
    if number < VERSION_MIN:
        return Finding("postgresql", False, found, "Bring it to PostgreSQL 18 or newer.")
    if fsync != "on":
        return Finding("postgresql", False, f"{found}, fsync is {fsync}", "Turn fsync on: a crash may lose the log.")
    return Finding("postgresql", True, found)


def _replica(settings: Settings) -> Finding:
    if settings.database_replica_url is None:
        return Finding("replica", True, "none: all reads go to the primary")
    began = time.perf_counter()
    with connect(
        settings.database_replica_url.get_secret_value(), answer_seconds_max=POSTGRES_SECONDS_MAX
    ) as connection:
        row = connection.execute("SELECT pg_is_in_recovery(), views.reached(%s::text[])", (list(ALL),)).fetchone()
    assert row is not None
    recovering, reached = row
    found = f"answered in {_ms(began)}, its views are at {reached or 0:,}"
    if not recovering:
        fix = "MOOT_DATABASE_REPLICA_URL must name a streaming replica of MOOT_DATABASE_URL."
        return Finding("replica", False, f"{found}; it is no replica", fix)
    with _primary(settings) as connection:
        lag = read_lag(connection)
    front = min((view.position for view in lag.views.values()), default=0)
    return Finding("replica", True, f"{found}, {max(0, front - (reached or 0)):,} behind the primary's")


def _redis(settings: Settings) -> Finding:
    began = time.perf_counter()
    assert settings.redis_url is not None
    with redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=REDIS_SECONDS_MAX) as client:
        version = str(client.info("server")["redis_version"])
        client.set("moot:doctor", "", px=1)
    found = f"{version}, answered in {_ms(began)}"
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_VERSION_MIN:
        return Finding("redis", False, found, "Bring it to Redis 6.2 or newer.")
    return Finding("redis", True, found)


def _kafka(settings: Settings) -> Finding:
    log = kafka_log(settings)
    began = time.perf_counter()
    changes = plan(log.topics(), replicas=settings.kafka_replicas, record_bytes_max=record_bytes_max(settings))
    took = _ms(began)
    if changes:
        return topics_otherwise(changes)
    ends = log.ends([topic.name for topic in TOPICS])
    records = sum(end - first for first, end in ends.values())
    return Finding("kafka", True, f"{len(TOPICS)} topics, {len(ends)} partitions, {records:,} offsets, in {took}")


def topics_otherwise(changes: Sequence[Change]) -> Finding:
    """What is found where topics are not as they are declared."""
    found = "; ".join(f"{change.topic}: {change.kind}, {change.what}" for change in changes)
    allowed = all(change.allowed for change in changes)
    return Finding("kafka", False, found, "moot topics apply" if allowed else MAKE_ANEW)


def _cassandra(settings: Settings) -> Finding:
    client = cassandra_client(settings)
    if client is None:
        return Finding("cassandra", True, "none: PostgreSQL keeps the messages")
    with closing(client):
        began = time.perf_counter()
        version = client.version()
        took = _ms(began)
        replication = client.replication()
    if replication is None:
        return Finding("cassandra", False, f"{version}, there is no keyspace {client.keyspace}", "moot migrate")
    copies = ", ".join(f"{name} {value}" for name, value in replication.items() if name != "class")
    return Finding("cassandra", True, f"{version}, keyspace {client.keyspace} with {copies}, connected in {took}")


def _schema(settings: Settings) -> Finding:
    missing = pending(_url(settings), answer_seconds_max=POSTGRES_SECONDS_MAX)
    newest = max((migration.number for migration in available()), default=0)
    if missing:
        return Finding("schema", False, f"{counted(len(missing), 'migration')} to make", "moot migrate")
    return Finding("schema", True, f"up to migration {newest:03}")


def _relay(settings: Settings) -> Finding:
    with _primary(settings) as connection:
        found, lag = relay_standing(connection), read_lag(connection)
    said = f"{found.sent:,} of {found.head:,} events are in Kafka"
    if found.leader is None:
        return Finding("relay", False, f"{said}, and none leads", "Start one: moot relay")
    seconds = lag.relay.seconds if lag.relay is not None else 0.0
    if found.behind and seconds > LAG_SECONDS_MAX:
        fix = "See what the relay says; Kafka may be away."
        return Finding("relay", False, f"{said}, the oldest waits for {seconds:,.0f} s", fix)
    return Finding("relay", True, f"{said}, led by {found.leader}")


def _views(settings: Settings) -> Finding:
    with _primary(settings) as connection:
        lag = read_lag(connection)
        views = list_views(connection, ALL.values(), lag.position)
    other = sorted(view.name for view in views if view.built_version is None or view.stale)
    if other and lag.position:
        fix = f"moot projections rebuild {' '.join(other)}"
        return Finding("views", False, f"not built by this version: {' '.join(other)}", fix)
    slow = {name: behind for name, behind in lag.views.items() if behind.seconds > LAG_SECONDS_MAX and behind.events}
    if slow:
        name, worst = max(slow.items(), key=lambda item: item[1].seconds)
        found = f"{len(slow)} are behind; {name} most, by {worst.events:,} events and {worst.seconds:,.0f} s"
        return Finding("views", False, found, "Start more workers (moot worker), or see what the running ones say.")
    behind = max((view.events for view in lag.views.values()), default=0)
    return Finding("views", True, f"{len(views)} views, {behind:,} events behind the log")


def _dead_letters(settings: Settings) -> Finding:
    with _primary(settings) as connection:
        parked = read_lag(connection).parked
    if parked:
        found = ", ".join(f"{count:,} in {name}" for name, count in parked.items())
        return Finding("dead letters", False, found, PARKED_FIX)
    return Finding("dead letters", True, "none")


def _message_ids(settings: Settings) -> Finding:
    with _primary(settings) as connection:
        return message_ids(connection)


_CLOCKS: Final = """
WITH newest AS (
    SELECT notification_id, (convert_from(state, 'UTF8')::json -> 'meta' ->> 'recorded_at')::timestamptz AS at
    FROM log.stored_events ORDER BY notification_id DESC LIMIT %s
), before AS (SELECT at, max(at) OVER (ORDER BY notification_id) AS latest FROM newest)
SELECT clock_timestamp(), (SELECT at FROM newest ORDER BY notification_id DESC LIMIT 1),
    coalesce((SELECT max(latest - at) FROM before), interval '0')
"""


def _clock(settings: Settings) -> Finding:
    """This machine's against that of PostgreSQL, and against the newest events; and those of who wrote these.

    How many seconds the relay and the views are behind is told by the time in an event, so it is off by as much as the
    clock of the machine that wrote it.
    """
    with _primary(settings) as connection:
        row = connection.execute(_CLOCKS, (CLOCK_EVENTS,)).fetchone()
        now = datetime.now(UTC)
    assert row is not None
    theirs, newest, back = row
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    bound = timedelta(seconds=CLOCK_SECONDS_MAX)
    if abs(theirs - now) > bound:
        found = f"{said} is {abs(theirs - now)} {'before' if theirs > now else 'after'} PostgreSQL's clock"
        return Finding("clock", False, found, "Set both clocks: timedatectl set-ntp true")
    if newest is not None and newest - now > bound:
        found = f"{said} is {newest - now} before the newest event"
        return Finding("clock", False, found, "Set the clock of the machine that wrote it: timedatectl set-ntp true")
    if back > bound:
        found = f"of the newest {CLOCK_EVENTS:,} events one bears a time {back} before that of an earlier one"
        fix = (
            "Set the clocks of the machines that run the API: timedatectl set-ntp true. Till then lag in seconds is"
            " wrong by as much, and RelayBehind and ViewBehind with it."
        )
        return Finding("clock", False, found, fix)
    return Finding("clock", True, said)


def _url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def _primary(settings: Settings) -> Any:
    return connect(_url(settings), answer_seconds_max=POSTGRES_SECONDS_MAX)


def _ms(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


CHECKS: Final[dict[str, Check]] = {
    "secrets": _secrets,
    "postgresql": _postgres,
    "replica": _replica,
    "redis": _redis,
    "kafka": _kafka,
    "cassandra": _cassandra,
    "schema": _schema,
    "message ids": _message_ids,
    "relay": _relay,
    "views": _views,
    "dead letters": _dead_letters,
    "clock": _clock,
}
