"""Whether the process lives, and whether it can serve: for whatever watches it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests
from redis import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.composition import Moot

CHECK_SECONDS_MAX = 2.0
"""How long an engine may take to answer before it counts as away."""
KEPT_SECONDS = 0.5
"""How long an answer is good for: who asks often asks the engines no oftener."""

WHAT_IT_MEANS: Final = {
    "postgres": "PostgreSQL does not answer: nothing can be read or changed.",
    "replica": "The replica does not answer: the primary is read instead.",
    "redis": "Redis does not answer: nobody can sign in, and live updates come late.",
}
"""What is said of a dependency that is away; the whole table is docs/dependencies.md."""
NEEDED: Final = ("postgres", "redis")
"""Without these a process is not ready, unless it is asked about others: ``/readyz?need=postgres``."""

_HEADERS = {"Cache-Control": "no-store"}


def health_routes(moot: Moot) -> list[Route]:
    """``/healthz``: this process answers, whatever else does. ``/readyz``: so does what it needs, and if not, which.

    503 when something is away that it needs; ``wrong`` then says what that means.
    """
    checks: dict[str, Callable[[], Awaitable[Any]]] = {
        "postgres": lambda: _ask(moot.pool.connection(), "SELECT 1"),
        "redis": moot.redis.ping,
    }
    if (replica := moot.reads.replica) is not None:
        checks["replica"] = lambda: _ask(replica.connection(), "SELECT 1")
    known = _Known(checks)

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(request: Request) -> Response:
        found = await known.now()
        needed = request.query_params["need"].split(",") if "need" in request.query_params else NEEDED
        serves = all(found.get(name, False) for name in needed)
        wrong = {name: WHAT_IT_MEANS[name] for name, answers in found.items() if not answers}
        status = ("degraded" if wrong else "ok") if serves else "unavailable"
        body = {"status": status, "checks": found, **({"wrong": wrong} if wrong else {})}
        return JSONResponse(body, status_code=200 if serves else 503, headers=_HEADERS)

    return [Route("/healthz", alive), Route("/readyz", ready)]


class _Known:
    """What was found a moment ago. Those who ask at the same time share one look.

    A look that takes too long is not waited for, and not repeated before it has ended: on a network that swallows
    everything, giving up takes a driver longer than whoever asks has time.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
        self._checks = checks
        self._looking = asyncio.Lock()
        self._asked: dict[str, asyncio.Task[bool]] = {}
        self._found: dict[str, bool] = {}
        self._good_until = float("-inf")

    async def now(self) -> Mapping[str, bool]:
        """Which dependencies answer."""
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if clock() >= self._good_until:
                for name, check in self._checks.items():
                    if name not in self._asked:
                        self._asked[name] = asyncio.create_task(_answers(check()), name=f"moot-ready-{name}")
                await asyncio.wait(self._asked.values(), timeout=CHECK_SECONDS_MAX)
                self._found = {name: task.done() and task.result() for name, task in self._asked.items()}
                self._asked = {name: task for name, task in self._asked.items() if not task.done()}
                self._good_until = clock() + KEPT_SECONDS
            return self._found


async def _ask(connecting: Any, statement: str) -> None:
    async with connecting as connection:
        await connection.execute(statement)


async def _answers(asked: Awaitable[Any]) -> bool:
    try:
        await asked
    except (psycopg.OperationalError, PoolTimeout, TooManyRequests, RedisError, OSError, TimeoutError):
        return False
    return True
