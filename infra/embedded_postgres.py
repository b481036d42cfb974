"""A real PostgreSQL 18 from a Python wheel, on a unix socket, as a process of its own."""

import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from infra.engine_process import Runner, spawn, stop, wait_until
from infra.postgres_cluster import DATABASE, NOT_DURABLE, USER, has_cluster, make_cluster, server_command
from infra.settings import Settings


class EmbeddedPostgres:
    """The server over one folder. ``start`` attaches to one that is already running, from before a SIGKILL perhaps."""

    name = "PostgreSQL"

    def __init__(self, settings: Settings, runner: Runner, sockets: Path, *, durable: bool = True) -> None:
        self.folder = settings.data_dir / "postgres"
        self.url = make_conninfo(host=str(sockets), user=USER, dbname=DATABASE)
        self._maintenance = make_conninfo(host=str(sockets), user=USER, dbname="postgres", connect_timeout=5)
        self._settings = settings
        self._runner = runner
        self._sockets = sockets
        self._durable = durable
        self._log = settings.logs_dir / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.started = False

    def start(self) -> None:
        """Start it, or attach to the one that runs. Raises ``EngineFailure``."""
        make_cluster(self.folder, self._runner, self._log, durable=self._durable)
        seconds = self._settings.engine_start_seconds_max
        if self._pid() is None:
            self._process = spawn(self._runner, self._command(), self._log, self.folder)
        wait_until(self._answers, self._process, self.name, self._log, seconds)
        self._create_database()
        self.started = self._process is not None

    def alive(self) -> bool:
        """Whether its process is there, ours or one we attached to."""
        if self._process is not None:
            # Reaped, or the next one would take it for a server that runs: a process that nobody waited for has its id.
            self._process.poll()
        return self._pid() is not None

    def stop(self) -> None:
        """Stop it: connections are cut, what is committed is written, and the next start needs no recovery."""
        pid = self._pid()
        if pid is not None:
            seconds = self._settings.engine_stop_seconds_max
            stop(pid, self.name, seconds, gently=signal.SIGINT, at_once=signal.SIGQUIT)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def has_data(self) -> bool:
        """Whether there is a database in the folder."""
        return has_cluster(self.folder)

    def _command(self) -> list[str]:
        settings = self._settings
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": str(settings.postgres_connections_max),
            "shared_buffers": f"{settings.postgres_shared_buffers // 1024}kB",
            # Nobody replicates from here: less WAL, and none for tables filled in the transaction that made them.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            # One process less.
            "max_logical_replication_workers": "0",
        }
        return server_command(self.folder, options if self._durable else options | NOT_DURABLE)

    def _pid(self) -> int | None:
        """The server's process, if one runs over this folder."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text(encoding="ascii").split()[0])
            process = psutil.Process(pid)
            ours = process.status() != psutil.STATUS_ZOMBIE and str(self.folder) in process.cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return pid if ours else None

    def _answers(self) -> bool:
        if not (self._sockets / ".s.PGSQL.5432").exists():
            return self._restart_if_gone()
        try:
            psycopg.connect(self._maintenance).close()
        except psycopg.OperationalError:
            return self._restart_if_gone()
        return True

    def _restart_if_gone(self) -> bool:
        """Start a server of our own if the one found was on its way out. Always false: it does not answer yet."""
        if self._process is None and self._pid() is None:
            self._process = spawn(self._runner, self._command(), self._log, self.folder)
        return False

    def _create_database(self) -> None:
        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
