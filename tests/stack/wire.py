"""A client of each server that does one small thing at a given port, so that a test sees what reached whom."""

import select
import socket
import struct
from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.stack.cql import CqlConnection

SECONDS = 1.0
"""How long a client waits for an answer before it takes the server for gone."""
SCHEMA_SECONDS = 10.0
"""How long a change of a schema may take, which is no small thing."""


class Silence(Exception):
    """No answer came: not within ``SECONDS``, or the connection was cut."""


class RedisClient:
    """Sets a key. Connects when it is made."""

    def __init__(self, url: str, connect_seconds: float = SECONDS) -> None:
        once = Retry(NoBackoff(), 0)
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=connect_seconds,
            retry=once,
            single_connection_client=True,
        )
        self.client.ping()

    def do(self, name: str) -> None:
        try:
            self.client.set(name, "1")
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Silence from error

    def done(self, name: str) -> bool:
        return bool(self.client.exists(name))

    def close(self) -> None:
        self.client.close()


class PostgresClient:
    """Makes a table."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, connect_timeout=5)

    def do(self, name: str) -> None:
        self.connection.pgconn.send_query(f"CREATE TABLE IF NOT EXISTS {name} ()".encode())
        self.connection.pgconn.flush()
        try:
            while self.connection.pgconn.is_busy():
                if not select.select([self.connection], [], [], SECONDS)[0]:
                    raise Silence
                self.connection.pgconn.consume_input()
        except psycopg.OperationalError as error:
            raise Silence from error
        while self.connection.pgconn.get_result() is not None:
            pass

    def done(self, name: str) -> bool:
        found = self.connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
        return found is not None and found[0] is not None

    def close(self) -> None:
        self.connection.close()


class KafkaClient:
    """Makes a topic (CreateTopics, version 2) and asks for one (Metadata, version 1)."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), SECONDS)

    def do(self, name: str) -> None:
        topic = _text(name) + struct.pack("!ihii", 1, 1, 0, 0)
        self._ask(19, 2, struct.pack("!i", 1) + topic + struct.pack("!i?", 5_000, False))

    def done(self, name: str) -> bool:
        answer = self._ask(3, 1, struct.pack("!i", 1) + _text(name))
        # The topic's part begins with its error, 0 or 3 (unknown), before its name.
        at = answer.index(_text(name)) - 2
        return struct.unpack("!h", answer[at : at + 2])[0] == 0

    def close(self) -> None:
        self.socket.close()

    def _ask(self, kind: int, version: int, body: bytes) -> bytes:
        request = struct.pack("!hhih", kind, version, 7, -1) + body
        try:
            self.socket.sendall(struct.pack("!i", len(request)) + request)
            (size,) = struct.unpack("!i", self._exactly(4))
            return self._exactly(size)
        except (TimeoutError, ConnectionError) as error:
            raise Silence from error

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            if not more:
                raise Silence
            found += more
        return found


class CassandraClient:
    """Writes a row."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        assert at.hostname
        assert at.port
        self.connection = CqlConnection(
            at.hostname, at.port, at.username or "", at.password or "", seconds=SCHEMA_SECONDS
        )
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        self.connection.run(f"CREATE KEYSPACE IF NOT EXISTS wire WITH replication = {replication}")
        self.connection.run("CREATE TABLE IF NOT EXISTS wire.done (name text PRIMARY KEY)")
        self.connection.wait(SECONDS)

    def do(self, name: str) -> None:
        try:
            self.connection.run(f"INSERT INTO wire.done (name) VALUES ('{name}')")
        except (TimeoutError, ConnectionError) as error:
            raise Silence from error

    def done(self, name: str) -> bool:
        # The result's rows hold the name, if there is such a row.
        return name.encode() in self.connection.run(f"SELECT name FROM wire.done WHERE name = '{name}'")

    def close(self) -> None:
        self.connection.close()


def _text(value: str) -> bytes:
    return struct.pack("!h", len(value)) + value.encode()


Client = KafkaClient | PostgresClient | RedisClient | CassandraClient
CLIENTS: dict[str, Callable[[str], Client]] = {
    "kafka": KafkaClient,
    "postgres": PostgresClient,
    "redis": RedisClient,
    "cassandra": CassandraClient,
}
Connect = Callable[[str], Client]
"""Gives a client of a service."""
