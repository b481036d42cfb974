"""The settings of the message log in Cassandra."""

from pydantic import BaseModel, SecretStr

from infra.setting import setting


class CassandraSettings(BaseModel):
    """Part of ``Settings``; ``infra/cassandra/client.py`` makes the limits of its client of it."""

    cassandra_url: SecretStr | None = setting(
        None,
        "URI",
        "A Cassandra (4.1 or newer) or ScyllaDB that keeps the messages, as "
        "`cassandra://user:password@host:9042,host:9042/keyspace`, with `?datacenter=…`, `&tls=on` and `&ca=FILE` "
        "where they are needed. Without it PostgreSQL keeps them.",
    )
    cassandra_replicas: int = setting(
        1, "copies", "Of each row, where `moot migrate` makes the keyspace. Three survive the loss of one node.", ge=1
    )
    cassandra_connect_seconds_max: float = setting(
        2.0, "seconds", "How long connecting to one node may take; it answers in milliseconds, or not.", gt=0
    )
    cassandra_request_seconds_max: float = setting(
        2.0,
        "seconds",
        "How long one statement may take. Folding tries it as often as below within one transaction of PostgreSQL.",
        gt=0,
    )
    cassandra_attempts_max: int = setting(
        3, "attempts", "Of a statement that was not answered; each may be applied twice without harm.", ge=1
    )
    cassandra_retry_seconds_max: float = setting(
        0.2, "seconds", "Between them; any part of it, so that not all come back at the same moment.", ge=0
    )
    cassandra_in_flight_max: int = setting(
        128, "statements", "That one process waits for at a time: more queue in the node, and time out there.", ge=1
    )
