"""A proxy in front of PostgreSQL that loses answers: what a broken network does at the worst moment."""

import contextlib
import socket
from threading import Lock, Thread
from typing import Self

import psycopg


class Proxy:
    """Listens on a TCP port of loopback and forwards to the server behind ``conninfo``."""

    def __init__(self, conninfo: str) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(conninfo)
        self._host, self._port = str(parts["host"]), int(parts.get("port") or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._losing = False
        self.answers_lost = 0
        self.conninfo = psycopg.conninfo.make_conninfo(
            conninfo, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._listener.close()

    def lose_next_answer(self) -> None:
        """The next bytes from the server are swallowed and their connection is cut."""
        self._losing = True

    def refuse(self) -> None:
        """Cut all connections and every new one."""
        with self._lock:
            self._refusing = True
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _cut(*pair)

    def accept(self) -> None:
        """Let connections through again."""
        self._refusing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            with self._lock:
                if self._refusing:
                    _cut(client, server)
                    continue
                self._pairs.append((client, server))
            Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._host}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._host, self._port))

    def _forward(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if answers and self._losing:
                    self._losing = False
                    self.answers_lost += 1
                    break
                target.sendall(data)
        _cut(source, target)


def _cut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
