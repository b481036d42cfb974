"""The fault proxy: Toxiproxy, which stands before each server and does to its connections what a network may do."""

import http.client
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from infra.stack.downloads import toxiproxy_server
from infra.stack.ports import HOST
from infra.stack.record import StackFailure
from infra.stack.server import Server

UPSTREAMS = {"kafka": "behind_proxy", "postgres": "server", "redis": "server", "cassandra": "native"}
"""The servers that it stands before, and the port of each that it passes connections on to."""
DIRECTIONS = ("upstream", "downstream")
"""To the server, and from it."""

_ANSWER_SECONDS_MAX = 5.0
"""How long the proxy's own API may take; it does no more than change a few numbers."""


class Toxiproxy(Server):
    """The process with all proxies. They are made from its configuration, and are whole again after a restart."""

    name = "toxiproxy"
    title = "Toxiproxy"
    port_names: ClassVar[tuple[str, ...]] = ("api", *UPSTREAMS)

    def locate(self) -> tuple[str, str]:
        """Where its API is; nothing stands before it."""
        return f"http://{HOST}:{self.port('api')}", ""

    def fetch(self) -> None:
        """Build it once."""
        toxiproxy_server(self.place.downloads, self.place.say)

    def prepare(self) -> None:
        """Write which proxies there are."""
        proxies = [
            {
                "name": name,
                "listen": f"{HOST}:{self.port(name)}",
                "upstream": f"{HOST}:{self.place.book.entry(name).ports[port]}",
                "enabled": True,
            }
            for name, port in UPSTREAMS.items()
        ]
        self.write("proxies.json", json.dumps(proxies))

    def command(self) -> Sequence[str]:
        """Its one program."""
        program = toxiproxy_server(self.place.downloads, self.place.say)
        listen = ["-host", HOST, "-port", str(self.port("api"))]
        return [str(program), *listen, "-config", str(self.folder / "proxies.json")]

    def answers(self) -> bool:
        """Whether its API knows all proxies."""
        try:
            return self.ask("GET", "/proxies").keys() >= UPSTREAMS.keys()
        except (OSError, http.client.HTTPException, StackFailure):
            return False

    def before(self, service: str) -> "Proxy":
        """The proxy before a server of the stack."""
        return Proxy(self, service, self.port(service))

    def add(self, name: str, upstream_port: int) -> "Proxy":
        """A new proxy before anything else that listens on loopback. It is gone when Toxiproxy restarts."""
        form = {"name": name, "listen": f"{HOST}:0", "upstream": f"{HOST}:{upstream_port}", "enabled": True}
        return Proxy(self, name, int(self.ask("POST", "/proxies", form)["listen"].rpartition(":")[2]))

    def ask(self, method: str, path: str, form: Any = None) -> dict[str, Any]:
        """One request to its API. Raises ``StackFailure`` when it refuses, ``OSError`` when it does not answer."""
        connection = http.client.HTTPConnection(HOST, self.port("api"), timeout=_ANSWER_SECONDS_MAX)
        try:
            connection.request(method, path, None if form is None else json.dumps(form))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise StackFailure(
                f"Toxiproxy refused {method} {path}.", body.decode(errors="replace"), f"See its log: {self.log}"
            )
        found: dict[str, Any] = json.loads(body) if body else {}
        return found


class Proxy:
    """One proxy. What is done to it lasts until ``heal``."""

    def __init__(self, server: Toxiproxy, name: str, port: int) -> None:
        self.port = port
        self._server = server
        self._path = f"/proxies/{name}"

    def cut(self) -> None:
        """Close every connection and refuse new ones, as when the server's machine is up and the server is not."""
        self._server.ask("POST", self._path, {"enabled": False})

    def partition(self, directions: Sequence[str] = DIRECTIONS) -> None:
        """Let nothing through, by default either way; connections stay open, and new ones open and stay silent.

        What is sent meanwhile is lost for good, so ``heal`` closes these connections: a stream has no holes.
        """
        for direction in directions:
            self.add("timeout", direction, timeout=0)

    def slow(self, milliseconds: int, directions: Sequence[str] = DIRECTIONS) -> None:
        """Delay everything by this much in each of the directions."""
        for direction in directions:
            self.add("latency", direction, latency=milliseconds)

    def cut_after(self, size: int, direction: str = "downstream") -> None:
        """Close each connection once this many bytes went through it in a direction, in the middle of a reply say."""
        self.add("limit_data", direction, bytes=size)

    def add(self, kind: str, direction: str, **attributes: Any) -> None:
        """Any toxic that Toxiproxy has, with its attributes."""
        self._server.ask("POST", f"{self._path}/toxics", {"type": kind, "stream": direction, "attributes": attributes})

    def heal(self) -> None:
        """Take everything back that was done to it."""
        for toxic in self._server.ask("GET", self._path)["toxics"]:
            self._server.ask("DELETE", f"{self._path}/toxics/{toxic['name']}")
        self._server.ask("POST", self._path, {"enabled": True})
