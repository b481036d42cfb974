"""As much of CQL's own protocol as it takes to see whether a server lets somebody in, and to run a statement.

https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec. The driver starts threads and looks at the
whole cluster each time; this is asked many times a second while a server starts.
"""

import socket
import struct
from typing import BinaryIO, Final

_VERSION: Final = 0x04
_STREAM: Final = 1
_ERROR, _STARTUP, _READY, _AUTHENTICATE = 0x00, 0x01, 0x02, 0x03
_QUERY, _RESULT, _AUTH_RESPONSE, _AUTH_SUCCESS = 0x07, 0x08, 0x0F, 0x10
_ONE: Final = 0x0001
"""The consistency level."""
_ANSWER_BYTES_MAX: Final = 1024**2


class Refused(Exception):
    """The server answered, and said no."""


class CqlConnection:
    """One connection. Raises ``OSError`` where no server of CQL answers in time, ``Refused`` where one says no."""

    def __init__(self, host: str, port: int, user: str, password: str, *, seconds: float) -> None:
        self._socket = socket.create_connection((host, port), seconds)
        try:
            self._answer: BinaryIO = self._socket.makefile("rb")
            kind, _ = self._ask(_STARTUP, struct.pack("!H", 1) + _string("CQL_VERSION") + _string("3.0.0"))
            if kind == _AUTHENTICATE:
                token = f"\0{user}\0{password}".encode()
                self._ask(_AUTH_RESPONSE, struct.pack("!i", len(token)) + token)
        except BaseException:
            self._socket.close()
            raise

    def run(self, statement: str) -> bytes:
        """Run one statement; its result as the protocol has it."""
        text = statement.encode()
        return self._ask(_QUERY, struct.pack("!i", len(text)) + text + struct.pack("!HB", _ONE, 0))[1]

    def wait(self, seconds: float) -> None:
        """Wait no longer than so for each answer from now on."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """Let go of it."""
        self._answer.close()
        self._socket.close()

    def __enter__(self) -> "CqlConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        self._socket.sendall(struct.pack("!BBhBi", _VERSION, 0, _STREAM, kind, len(body)) + body)
        _, _, _, answer, size = struct.unpack("!BBhBi", self._exactly(9))
        if size > _ANSWER_BYTES_MAX:
            raise ConnectionError("This is no server of CQL.")
        found = self._exactly(size)
        if answer == _ERROR:
            raise Refused(found[6:].decode(errors="replace"))
        if answer not in {_READY, _AUTHENTICATE, _AUTH_SUCCESS, _RESULT}:
            raise ConnectionError(f"The server answered with an unexpected message, {answer:#04x}.")
        return answer, found

    def _exactly(self, size: int) -> bytes:
        found = self._answer.read(size)
        if len(found) < size:
            raise ConnectionError("The server closed the connection in the middle of its answer.")
        return found


def _string(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()
