"""The client of Redis that an event loop uses: bounded waits, bounded retries with jitter, and a breaker."""

import asyncio
import time
from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import FullJitterBackoff

from infra.breaker import Breaker, CircuitOpen
from infra.settings import Settings

RETRY_SECONDS_MIN: Final = 0.01
"""Up to so long before the first retry; twice as long before each later one."""
RETRY_SECONDS_MAX: Final = 0.2
GIVEN_UP_SECONDS: Final = 0.25
"""A caller who waited for so long and gave up was not answered: Redis answers within a millisecond."""


class RedisAway(CircuitOpen, redis.ConnectionError):
    """Redis did not answer lately and was not asked: a breaker is open."""


def is_away(error: BaseException) -> bool:
    """Whether this says that Redis cannot be reached or is not ready, rather than that it said no."""
    return isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)


class GuardedRedis(Redis):
    """A client whose breaker refuses at once while Redis is away. The connections that listen are not its concern."""

    breaker: Breaker | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command. Raises ``RedisAway`` and what the library raises."""
        breaker = self.breaker
        if breaker is None:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        began = time.monotonic()
        try:
            with breaker.guarding(is_away):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            if time.monotonic() - began >= GIVEN_UP_SECONDS:
                breaker.failed()
            raise


def guarded_redis(settings: Settings, url: str, breaker: Breaker) -> GuardedRedis:
    """A client for an event loop; it connects when it is first used. ``await client.aclose()`` it."""
    client = GuardedRedis.from_url(
        url,
        socket_connect_timeout=settings.redis_connect_seconds_max,
        socket_timeout=settings.redis_connect_seconds_max,
        retry=Retry(FullJitterBackoff(cap=RETRY_SECONDS_MAX, base=RETRY_SECONDS_MIN), settings.redis_attempts_max - 1),
    )
    assert isinstance(client, GuardedRedis)
    client.breaker = breaker
    return client
