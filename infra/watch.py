"""Knowing when the log grows: one listener for any number of readers."""

import asyncio
import select
import socket
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread

import psycopg
import structlog
from psycopg import sql

from infra import postgres

RECONNECT_SECONDS = 0.5
"""Between two tries to listen again while the server is away."""

SILENT_SECONDS_MAX = 10.0
"""Of a server that has said nothing for so long it is asked whether it is there, and it has as long to answer."""

_log = structlog.get_logger(__name__)


class Watch:
    """The newest position that this process has heard of, and those who wait for a later one."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._head = 0
        self._waiting: set[tuple[AbstractEventLoop, asyncio.Event]] = set()

    @property
    def head(self) -> int:
        """The newest position heard of; the log may already be further."""
        return self._head

    def advance(self, position: int) -> None:
        """The log has reached this position; from any thread."""
        with self._condition:
            if position <= self._head:
                return
            self._head = position
            self._condition.notify_all()
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            with suppress(RuntimeError):  # its loop is closed, so nobody waits any more
                loop.call_soon_threadsafe(event.set)

    def wait_beyond(self, position: int, timeout: float) -> bool:
        """Wait in a thread until the log is beyond this position, at most ``timeout`` seconds; whether it is."""
        with self._condition:
            return self._condition.wait_for(lambda: self._head > position, timeout)

    async def beyond(self, position: int, timeout: float) -> bool:  # noqa: ASYNC109 - as its sync twin
        """The same for an event loop."""
        event = asyncio.Event()
        entry = asyncio.get_running_loop(), event
        with self._condition:
            if self._head > position:
                return True
            self._waiting.add(entry)
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return self._head > position
        finally:
            with self._condition:
                self._waiting.discard(entry)
        return True


class Listener:
    """Listens on a PostgreSQL channel in a thread of its own and calls ``heard`` when there may be something new.

    It calls after each notice and after each time it connects, so nothing is missed while the server is away.
    """

    def __init__(
        self,
        conninfo: str,
        channel: str,
        heard: Callable[[], None],
        *,
        silent_seconds_max: float = SILENT_SECONDS_MAX,
    ) -> None:
        self._conninfo = conninfo
        self._silent_seconds_max = silent_seconds_max
        self._channel = channel
        self._heard = heard
        self._wake, self._woken = socket.socketpair()
        self._closing = False
        self._thread = Thread(target=self._run, name=f"listen {channel}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns when the thread has ended."""
        self._closing = True
        self._wake.send(b"\0")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        away_since: float | None = None
        while not self._closing:
            try:
                with postgres.connect(self._conninfo, answer_seconds_max=self._silent_seconds_max) as connection:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    if away_since is not None:
                        _log.info("listening again", channel=self._channel, after=time.monotonic() - away_since)
                        away_since = None
                    self._heard()
                    while not self._closing:
                        if not self._wait(connection.fileno(), self._silent_seconds_max):
                            connection.execute("SELECT")  # which may come with notices
                        notices = list(connection.notifies(timeout=0))
                        if notices and not self._closing:
                            self._heard()
            except psycopg.Error as error:
                if away_since is None:
                    away_since = time.monotonic()
                    _log.warning("not listening", channel=self._channel, error=str(error))
                self._wait(None, RECONNECT_SECONDS)

    def _wait(self, descriptor: int | None, timeout: float) -> bool:
        """Wait for the connection, or for the end; whether there is anything."""
        # Not select(), which takes no descriptor above 1023: a server with that many sockets is an ordinary one.
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        if descriptor is not None:
            waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(1000 * timeout))
