"""A real PostgreSQL on a port of the loopback interface, with a password."""

import signal
from collections.abc import Sequence
from typing import ClassVar

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from infra.postgres_cluster import DATABASE, NO_FSYNC, USER, make_cluster, server_command
from infra.stack.ports import HOST
from infra.stack.server import Server

CONNECTIONS_MAX = 300
"""Several API processes with a pool of tens each, workers, tools and tests at the same time; one costs some 2 MB."""
SHARED_BUFFERS_BYTES = 256 * 1024**2
"""Its own cache, as in the embedded set-up."""

_PROBE_SECONDS_MAX = 2
"""How long it may take to let somebody in (libpq takes whole seconds, 2 at the least)."""


class Postgres(Server):
    """The server. Its database is called moot, as is its user, who is the superuser."""

    name = "postgres"
    title = "PostgreSQL"
    port_names: ClassVar[tuple[str, ...]] = ("server",)
    has_password = True
    # Fast shutdown: transactions under way are rolled back, and a checkpoint is written.
    gently = signal.SIGINT

    def locate(self) -> tuple[str, str]:
        """The URI of the database, and the one behind the proxy."""
        return self._uri(self.port("server")), self._uri(self.proxy_port)

    def fetch(self) -> None:
        """Nothing is downloaded: a Python wheel that is installed brings it."""

    def prepare(self) -> None:
        """Make the database's folder once; nobody gets in without the password."""
        password = self.write("password", self.entry.password)
        authentication = ("--auth=scram-sha-256", f"--pwfile={password}")
        make_cluster(self.folder / "data", self.place.runner, self.log, authentication, durable=self.place.durable)
        password.unlink()
        self._forget_the_dead()

    def command(self) -> Sequence[str]:
        """The postmaster."""
        options = {
            "listen_addresses": HOST,
            "port": str(self.port("server")),
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "shared_buffers": f"{SHARED_BUFFERS_BYTES // 1024}kB",
        }
        return server_command(self.folder / "data", options if self.place.durable else options | NO_FSYNC)

    def answers(self) -> bool:
        """Whether it lets its user in."""
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def settle(self) -> None:
        """Make the database that the URI names."""
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _forget_the_dead(self) -> None:
        """Remove the lock file of a killed postmaster that its starter has not asked about: PostgreSQL counts it in."""
        lock = self.folder / "data" / "postmaster.pid"
        try:
            if psutil.Process(int(lock.read_text(encoding="ascii").split()[0])).status() == psutil.STATUS_ZOMBIE:
                lock.unlink()
        except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
            return

    def _uri(self, port: int) -> str:
        return f"postgresql://{USER}:{self.entry.password}@{HOST}:{port}/{DATABASE}"

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        conninfo = make_conninfo(self._uri(self.port("server")), dbname="postgres", connect_timeout=_PROBE_SECONDS_MAX)
        return psycopg.connect(conninfo, autocommit=True)
