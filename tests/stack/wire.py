"""A client of each server that does one small thing at a given port, so that a test sees what reached whom."""

import select
import socket
import struct
from collections.abc import Callable

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SECONDS = 1.0
"""How long a client waits for an answer before it takes the server for gone."""


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


def _text(value: str) -> bytes:
    return struct.pack("!h", len(value)) + value.encode()


Client = KafkaClient | PostgresClient | RedisClient
CLIENTS: dict[str, Callable[[str], Client]] = {
    "kafka": KafkaClient,
    "postgres": PostgresClient,
    "redis": RedisClient,
}
Connect = Callable[[str], Client]
"""Gives a client of a service."""
