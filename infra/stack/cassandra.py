"""A real Cassandra: one node on the loopback interface, as one Java process, with a password.

What it acknowledged survives a SIGKILL: its commit log is synced before each answer. By default it is marked as written
a tenth of a second later and synced after ten seconds, and a lone node has nobody who knows the rest.
"""

import json
from collections.abc import Sequence
from typing import ClassVar, Final

from infra.stack.cql import CqlConnection, Refused
from infra.stack.downloads import cassandra_jars, java
from infra.stack.ports import HOST
from infra.stack.server import Server

USER: Final = "moot"
KEYSPACE: Final = "moot"
"""Named in the URL; ``moot migrate`` makes it."""

HEAP_BYTES_MAX = 512 * 1024**2
"""Java's heap. With what it maps and its threads the process takes about twice this."""
DIRECT_BYTES_MAX = 256 * 1024**2
"""Its buffers outside of the heap."""
SEGMENT_BYTES = 8 * 1024**2
"""Of the commit log; half of it is the largest write (Cassandra: 32 MiB)."""

_PROBE_SECONDS_MAX = 2.0
"""How long it may take to let somebody in. It hashes a password, which takes a tenth of a second."""
_FIRST_USER: Final = ("cassandra", "cassandra")
"""Whom a new node knows. The role is made a moment after the node has begun to answer."""

_EXPORTS: Final = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
)
_OPENS: Final = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)
"""What Cassandra takes of Java's inside, as its own ``jvm17-server.options`` lets it."""


class Cassandra(Server):
    """The node. Its superuser is called moot; the one that every new node has may not sign in."""

    name = "cassandra"
    title = "Cassandra"
    port_names: ClassVar[tuple[str, ...]] = ("native", "storage")
    has_password = True

    def locate(self) -> tuple[str, str]:
        """The URI of the keyspace, and the one behind the proxy."""
        return self._uri(self.port("native")), self._uri(self.proxy_port)

    def fetch(self) -> None:
        """Look for Java and download the jars once."""
        java()
        cassandra_jars(self.place.downloads, self.place.say)

    def prepare(self) -> None:
        """Write its configuration."""
        self.place.runner.own(self.folder)
        self.place.runner.own(self.folder / "tmp")
        self.write("cassandra.yaml", self._configuration())
        self.write("logback.xml", _LOGBACK)

    def command(self) -> Sequence[str]:
        """Java with all of the jars."""
        jars = cassandra_jars(self.place.downloads, self.place.say)
        heap = f"{HEAP_BYTES_MAX // 1024**2}m"
        return [
            java(),
            f"-Xms{heap}",
            f"-Xmx{heap}",
            f"-XX:MaxDirectMemorySize={DIRECT_BYTES_MAX}",
            "-XX:+UseG1GC",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            "-Djdk.attach.allowAttachSelf=true",
            *(f"--add-exports={one}=ALL-UNNAMED" for one in _EXPORTS),
            *(f"--add-opens={one}=ALL-UNNAMED" for one in _OPENS),
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dlogback.configurationFile={self.folder / 'logback.xml'}",
            f"-Dcassandra.config=file:{self.folder / 'cassandra.yaml'}",
            f"-Dcassandra.storagedir={self.folder / 'data'}",
            # A lone node has nobody to wait for.
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1",
            "-cp",
            str(jars / "*"),
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def answers(self) -> bool:
        """Whether it lets its user in, or the one that it has before its first start is done."""
        try:
            try:
                self._connect(USER, self.entry.password).close()
            except Refused:
                self._connect(*_FIRST_USER).close()
        except (Refused, OSError):
            return False
        return True

    def settle(self) -> None:
        """Make its user, and shut out the one whose password everybody knows."""
        try:
            with self._connect(*_FIRST_USER) as first:
                options = f"PASSWORD = '{self.entry.password}' AND LOGIN = true AND SUPERUSER = true"
                first.run(f"CREATE ROLE IF NOT EXISTS {USER} WITH {options}")
        except Refused:
            return
        with self._connect(USER, self.entry.password) as ours:
            ours.run(f"ALTER ROLE {_FIRST_USER[0]} WITH LOGIN = false AND SUPERUSER = false")

    def _connect(self, user: str, password: str) -> CqlConnection:
        return CqlConnection(HOST, self.port("native"), user, password, seconds=_PROBE_SECONDS_MAX)

    def _uri(self, port: int) -> str:
        return f"cassandra://{USER}:{self.entry.password}@{HOST}:{port}/{KEYSPACE}"

    def _configuration(self) -> str:
        """JSON is YAML, too."""
        data = self.folder / "data"
        values = {
            "cluster_name": "moot",
            "num_tokens": 1,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "authenticator": "PasswordAuthenticator",
            "listen_address": HOST,
            "rpc_address": HOST,
            "storage_port": self.port("storage"),
            "native_transport_port": self.port("native"),
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": f"{HOST}:{self.port('storage')}"}],
                }
            ],
            "data_file_directories": [str(data / "data")],
            "commitlog_directory": str(data / "commitlog"),
            "saved_caches_directory": str(data / "saved_caches"),
            "hints_directory": str(data / "hints"),
            "cdc_raw_directory": str(data / "cdc_raw"),
            "commitlog_sync": "batch",
            "commitlog_segment_size": f"{SEGMENT_BYTES // 1024**2}MiB",
            "concurrent_compactors": 1,
            # What is dropped is gone: a rebuild makes a table each time.
            "auto_snapshot": False,
        }
        return json.dumps(values, indent=1)


_LOGBACK = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""
