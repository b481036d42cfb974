"""A streaming stand-by of the stack's PostgreSQL: a copy of its folder that replays what is written there."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.engine_process import spawn
from infra.postgres import connect
from infra.postgres_cluster import NO_FSYNC, program, server_command
from infra.stack import Stack
from infra.stack.ports import HOST, free_ports
from tests.stack.roles import until


class Standby:
    """Runs once it is entered; gone on leaving. ``kill`` and ``start`` in between as often as wanted."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._primary = stack.postgres.url
        self._runner = stack.postgres.place.runner
        # PostgreSQL's user may not look into a folder of the tests.
        self._folder = stack.postgres.folder.parent / f"standby-{folder.name}"
        self.log = folder / "standby.log"
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def conninfo(self, primary: str) -> str:
        """The same database here."""
        return make_conninfo(primary, host=HOST, port=self.port)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"listen_addresses": HOST, "port": str(self.port), "unix_socket_directories": "", **NO_FSYNC}
        # No smaller than those of the primary, or it refuses to follow.
        with connect(self._primary) as connection:
            for name in ("max_connections", "max_wal_senders", "max_worker_processes"):
                (options[name],) = connection.execute("SELECT current_setting(%s)", (name,)).fetchone() or ("",)
        self._process = spawn(self._runner, server_command(self._folder, options), self.log, self._folder)
        until(lambda: self.ask("SELECT pg_is_in_recovery()"))

    def ask(self, statement: str) -> Any:
        """The one value that it says; ``None`` while it does not answer."""
        try:
            with connect(self.conninfo(self._primary)) as connection:
                row = connection.execute(statement.encode()).fetchone()
        except psycopg.OperationalError:
            return None
        return row[0] if row else None

    def has_replayed_all(self) -> None:
        """Wait until what is written on the primary by now is to be seen here."""
        with connect(self._primary) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        assert row is not None
        until(lambda: self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'"))

    def kill(self) -> None:
        """SIGKILL the whole of it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        there = conninfo_to_dict(self._primary)
        login = make_conninfo("", **{name: there[name] for name in ("host", "port", "user", "password")})
        self._runner.own(self._folder)
        copying = [program("pg_basebackup"), "--pgdata", str(self._folder), "--dbname", login]
        copied = spawn(
            self._runner, [*copying, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"], self.log, self._folder
        )
        assert copied.wait(60) == 0, self.log.read_text()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)
