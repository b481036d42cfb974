"""Serving the API: alone, as a role of a fleet, or with the runner on a thread beside it, as the embedded default."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn

from infra.cassandra.log import LogStore
from infra.cassandra.opening import message_log
from infra.composition import Moot, open_moot
from infra.settings import Settings
from infra.telemetry import metrics
from infra.telemetry.pools import PoolCollector
from projections.catalogue import ALL
from read_api.app import create_app
from read_api.live.sockets import socket_options
from streams.limits import rebuild_limits, runner_limits
from streams.runner import Runner

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """A server that says when it serves, and leaves signals alone.

    uvicorn itself would raise a signal again once it has stopped, before anybody has cleaned up.
    """

    def __init__(self, config: uvicorn.Config, on_serving: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_serving = on_serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer requests."""
        await super().startup(sockets)
        if self.started:
            self._on_serving()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever serves handles the signals."""
        yield


async def serve_api(settings: Settings, listener: socket.socket, on_serving: Callable[[], None]) -> None:
    """Serve on a bound socket, and nothing else: the views are others' to keep. Until a stop signal, as ``serve``."""
    async with open_moot(settings) as moot:
        pools = PoolCollector({"postgres": moot.pool, "replica": moot.reads.replica})
        metrics.REGISTRY.register(pools)
        server = _Server(_config(settings, create_app(moot)), on_serving)
        try:
            with _stopping(server):
                await server.serve(sockets=[listener])
                _log.info("serving.stopped")
        finally:
            metrics.REGISTRY.unregister(pools)


async def serve(
    settings: Settings,
    listener: socket.socket,
    on_serving: Callable[[], None],
    beside: Callable[[Moot], Awaitable[None]] | None = None,
) -> None:
    """Serve on a bound socket until a stop signal, then finish what is under way; a second signal hurries.

    ``settings`` name running engines, migrated. ``on_serving`` is called once requests are answered and the views
    have been started; ``beside`` then runs along until it ends or serving does.
    """
    with message_log(settings) as messages:
        await _serve(settings, listener, on_serving, beside, messages)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    on_serving: Callable[[], None],
    beside: Callable[[Moot], Awaitable[None]] | None,
    messages: LogStore | None,
) -> None:
    async with open_moot(settings) as moot:
        runner = Runner(
            moot.database_url,
            moot.store,
            ALL.values(),
            moot.publisher,
            limits=runner_limits(settings),
            rebuild_limits=rebuild_limits(settings),
            message_log=messages,
        )
        company: list[asyncio.Task[None]] = []

        def serving() -> None:
            on_serving()
            if beside is not None:
                company.append(asyncio.create_task(_accompany(beside, moot)))

        server = _Server(_config(settings, create_app(moot)), serving)
        with _stopping(server):
            runner.start()
            try:
                await server.serve(sockets=[listener])
            finally:
                for task in company:
                    task.cancel()
                await asyncio.gather(*company, return_exceptions=True)
                stopped = await asyncio.to_thread(runner.stop, settings.shutdown_seconds_max)
                _log.info("serving.stopped", runner_ended=stopped)


async def _accompany(beside: Callable[[Moot], Awaitable[None]], moot: Moot) -> None:
    try:
        await beside(moot)
    except Exception:
        _log.exception("serving.beside_failed")
        raise


def _config(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application
        loop="none",
        http="httptools",
        lifespan="off",  # the application has none, and uvicorn would cut it off with a traceback when hurried
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds_max)),
        **socket_options(settings),
    )


@contextlib.contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    """Turn stop signals into a graceful stop, the second one into a quick one."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        # From here on there is nothing left to hurry but the engines, and they must stop cleanly.
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
