"""A real Kafka: one broker that is its own controller (KRaft), as one Java process.

It has two listeners for clients. A client learns from the broker's answers where to send records, so the broker has to
name the fault proxy to those who came through it: the listener behind the proxy advertises the proxy's port.
"""

import base64
import io
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, Final
from uuid import uuid4

from infra.engine_process import did_not_start, new_draft, spawn
from infra.stack.downloads import java, kafka_jars
from infra.stack.ports import HOST
from infra.stack.server import Server

NODE_ID = 1
HEAP_BYTES_MAX = 512 * 1024**2
"""Java's heap. A broker keeps its records in the page cache and needs little of its own (Kafka's default is 1 GB)."""

COLLECTOR: Final = (
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MetaspaceSize=96m",
)
"""Java's garbage collector, as Kafka's own start script and its documentation set it. By itself Java stops a broker for
up to 200 ms at a time, and for each doubling of the memory of its classes."""

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""For tests, which start brokers often: the second compiler takes 40 % of the processor time of a start, and none of
them lives long enough to gain by it."""

BROKER_SESSION_MILLISECONDS = 3_000
"""How long the controller takes a silent broker for alive (Kafka: 9,000). One that was killed is its own controller and
must wait for this before it may register again; nothing else waits for a lone broker."""
BROKER_HEARTBEAT_MILLISECONDS = 500
"""Several of these must fit into the above (Kafka: 2,000)."""
MEMBER_SESSION_MILLISECONDS_MIN = 1_000
"""How soon a member of a consumer group may ask to be taken for dead (Kafka: 6,000): as soon as a test cannot wait."""
INTERNAL_PARTITIONS = 4
"""Of the topics for offsets and transactions (Kafka: 50 each). Each is a folder to open on every start."""

_PROBE_SECONDS_MAX = 2.0
"""How long the broker may take to answer a question about itself."""
_METADATA, _METADATA_VERSION = 3, 1
_ANSWER_BYTES_MAX = 1024**2


class Kafka(Server):
    """The broker. ``url`` and ``proxied_url`` are its bootstrap servers."""

    name = "kafka"
    title = "Kafka"
    port_names: ClassVar[tuple[str, ...]] = ("direct", "behind_proxy", "controller")

    def locate(self) -> tuple[str, str]:
        """The bootstrap servers, and those behind the proxy."""
        return f"{HOST}:{self.port('direct')}", f"{HOST}:{self.proxy_port}"

    def fetch(self) -> None:
        """Look for Java and download the jars once."""
        java()
        kafka_jars(self.place.downloads, self.place.say)

    def prepare(self) -> None:
        """Write the configuration, and format the storage once."""
        self.write("server.properties", self._properties(self._data))
        self.write("log4j2.xml", _LOG4J)
        if self._data.exists():
            return
        # Formatted elsewhere and put in place, so that a crash leaves none or a whole one.
        draft = new_draft(self._data, self.place.runner)
        properties = self.write("format.properties", self._properties(draft))
        command = [*self._java("-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format", "-t", _cluster_id()]
        if spawn(self.place.runner, [*command, "-c", str(properties)], self.log, self.folder).wait() != 0:
            raise did_not_start("The format of Kafka's storage", self.log)
        draft.rename(self._data)

    def command(self) -> Sequence[str]:
        """Java with all of the jars."""
        heap = f"{HEAP_BYTES_MAX // 1024**2}m"
        compiler = () if self.place.durable else SHORT_LIVED
        return [
            *self._java(f"-Xms{heap}", f"-Xmx{heap}", *COLLECTOR, *compiler, "-XX:+ExitOnOutOfMemoryError"),
            "kafka.Kafka",
            str(self.folder / "server.properties"),
        ]

    def answers(self) -> bool:
        """Whether it counts itself among the brokers that clients may turn to."""
        try:
            return bool(brokers(self.port("direct")))
        except OSError:
            return False

    def _java(self, *options: str) -> list[str]:
        jars = kafka_jars(self.place.downloads, self.place.say)
        fixed = ["-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"]
        return [java(), *options, *fixed, "-cp", str(jars / "*")]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _properties(self, data: Path) -> str:
        ports = {name: self.port(name) for name in self.port_names}
        values = {
            "process.roles": "broker,controller",
            "node.id": NODE_ID,
            "controller.quorum.voters": f"{NODE_ID}@{HOST}:{ports['controller']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "DIRECT",
            "listeners": f"DIRECT://{HOST}:{ports['direct']},PROXIED://{HOST}:{ports['behind_proxy']},"
            f"CONTROLLER://{HOST}:{ports['controller']}",
            "advertised.listeners": f"DIRECT://{HOST}:{ports['direct']},PROXIED://{HOST}:{self.proxy_port}",
            "listener.security.protocol.map": "DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data,
            # Topics are declared, and made on purpose.
            "auto.create.topics.enable": "false",
            "broker.session.timeout.ms": BROKER_SESSION_MILLISECONDS,
            "broker.heartbeat.interval.ms": BROKER_HEARTBEAT_MILLISECONDS,
            # One broker holds the only copy of everything.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": INTERNAL_PARTITIONS,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": INTERNAL_PARTITIONS,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # A group need not wait for members that may come; there are few, and tests start them one by one.
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": MEMBER_SESSION_MILLISECONDS_MIN,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())


def _cluster_id() -> str:
    """A random id as Kafka writes them; one that begins with a dash would be taken for an option."""
    while (text := base64.urlsafe_b64encode(uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text


def brokers(port: int) -> list[tuple[str, int]]:
    """The brokers in service, each where it wants to be found by who asks at this port. Raises ``OSError``.

    One question of Kafka's own protocol (Metadata, version 1, for no topics), so that nothing else is needed to ask.
    """
    body = struct.pack("!hhih", _METADATA, _METADATA_VERSION, 0, -1) + struct.pack("!i", 0)
    with socket.create_connection((HOST, port), _PROBE_SECONDS_MAX) as connection:
        connection.sendall(struct.pack("!i", len(body)) + body)
        with connection.makefile("rb") as answer:
            (length,) = _taken("!i", answer)
            whole = io.BytesIO(answer.read(min(length, _ANSWER_BYTES_MAX)))
    _, count = _taken("!ii", whole)
    found = []
    for _ in range(count):
        _, size = _taken("!ih", whole)
        host = whole.read(size).decode()
        advertised, rack = _taken("!ih", whole)
        whole.read(max(rack, 0))
        found.append((host, advertised))
    return found


def _taken(form: str, source: BinaryIO) -> tuple[int, ...]:
    """The next numbers of an answer. Raises ``ConnectionError`` where it ends too early."""
    found = source.read(struct.calcsize(form))
    if len(found) < struct.calcsize(form):
        raise ConnectionError("The broker closed the connection in the middle of its answer.")
    return struct.unpack(form, found)


_LOG4J = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c{1}: %m%n%throwable"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""
