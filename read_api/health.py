"""Whether the process lives, and whether it can serve: for whatever watches it."""

import asyncio
from collections.abc import Awaitable

import psycopg
from psycopg_pool import PoolTimeout
from redis import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.composition import Moot

CHECK_SECONDS_MAX = 2.0
"""How long an engine may take to answer before it counts as away."""


def health_routes(moot: Moot) -> list[Route]:
    """``/healthz``: this process answers. ``/readyz``: so do PostgreSQL and Redis; 503 and which one if not."""

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def ready(_: Request) -> Response:
        found = await asyncio.gather(_answers(_ask_postgres(moot)), _answers(_ask_redis(moot)))
        checks = dict(zip(("postgres", "redis"), found, strict=True))
        everything = all(checks.values())
        return JSONResponse(
            {"status": "ok" if everything else "unavailable", "checks": checks},
            status_code=200 if everything else 503,
            headers={"Cache-Control": "no-store"},
        )

    return [Route("/healthz", alive), Route("/readyz", ready)]


async def _ask_postgres(moot: Moot) -> None:
    async with moot.pool.connection() as connection:
        await connection.execute("SELECT 1")


async def _ask_redis(moot: Moot) -> None:
    await moot.redis.ping()


async def _answers(asked: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            await asked
    except (psycopg.OperationalError, PoolTimeout, RedisError, OSError, TimeoutError):
        return False
    return True
