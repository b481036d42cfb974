"""How often somebody may try: token buckets in Redis, shared by all processes.

No address and no name is kept: a bucket's key is a keyed hash with a salt of the day, and is gone after a day at most.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from hmac import digest
from ipaddress import IPv6Address, ip_address
from math import ceil

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.refusal import Code, Refusal

KEY_LIFE_SECONDS_MAX = 24 * 60 * 60
"""No trace of an address outlives a day."""

_TAKE = """
local now = tonumber(ARGV[1])
local levels, wait = {}, 0
for i, key in ipairs(KEYS) do
  local capacity, refill = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local bucket = redis.call('HMGET', key, 'level', 'at')
  local level, at = tonumber(bucket[1] or capacity), tonumber(bucket[2] or now)
  if at > now then
    redis.call('HSET', key, 'at', ARGV[1])
    at = now
  end
  level = math.min(capacity, level + (now - at) / refill)
  levels[i] = level
  if level < 1 then wait = math.max(wait, math.ceil((1 - level) * refill)) end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  local capacity, refill = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  redis.call('HSET', key, 'level', tostring(levels[i] - 1), 'at', ARGV[1])
  redis.call('PEXPIRE', key, math.min(tonumber(ARGV[#ARGV]), math.ceil((capacity - levels[i] + 1) * refill)))
end
return 0
"""
"""Takes one token from every bucket, or from none: gives 0, or the milliseconds until there is one in each.

A bucket from the future, after a clock was set back, fills from now on: else it would stay as it is until then.

ARGV: the time in ms, then capacity and ms per token of each bucket, then the longest life of a key in ms.
"""

_log = structlog.get_logger(__name__)


class Rate(Struct, frozen=True):
    """At most ``burst`` at once, and one more every ``seconds_each``."""

    burst: int
    seconds_each: float


class Bucket(Struct, frozen=True):
    """One bucket: what is limited (``kind``), for whom (``subject``: hashed, never stored), and how much of it."""

    kind: str
    subject: str
    rate: Rate


class TooManyAttempts(Refusal):
    """Refused until ``retry_after_seconds`` have passed."""

    def __init__(self, retry_after_seconds: int) -> None:
        message = f"Too many attempts. Try again in {_in_words(retry_after_seconds)}."
        super().__init__(Code.TOO_MANY_REQUESTS, message, retry_after_seconds=retry_after_seconds)


class Attempts:
    """Counts attempts in token buckets.

    ``secret`` keys the hashes. Without Redis every attempt is refused as ``TOO_BUSY``: a guard that goes away under
    load is one that an attacker can remove. ``redis_seconds_max`` bounds the wait for Redis.
    """

    def __init__(self, redis: Redis, secret: bytes, *, clock: Callable[[], datetime], redis_seconds_max: float) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._secret = digest(secret, b"moot attempts", sha256)
        self._clock = clock
        self._redis_seconds_max = redis_seconds_max

    async def take(self, buckets: Sequence[Bucket]) -> None:
        """Count one attempt in each bucket. Raises ``TooManyAttempts``, counting nothing, when one is empty."""
        now = self._clock()
        arguments = [int(now.timestamp() * 1000)]
        for bucket in buckets:
            arguments += [bucket.rate.burst, ceil(bucket.rate.seconds_each * 1000)]
        arguments.append(KEY_LIFE_SECONDS_MAX * 1000)
        try:
            async with asyncio.timeout(self._redis_seconds_max):
                wait_ms = await self._take(keys=[self._key(bucket, now) for bucket in buckets], args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            _log.error("attempts cannot be counted", error=type(error).__name__)
            raise Refusal(Code.TOO_BUSY, "Signing in is not possible right now. Try again in a minute.") from error
        if wait_ms:
            raise TooManyAttempts(ceil(int(wait_ms) / 1000))

    async def forget(self, bucket: Bucket) -> None:
        """Fill the bucket again: who succeeded had only mistyped."""
        try:
            async with asyncio.timeout(self._redis_seconds_max):
                await self._redis.delete(self._key(bucket, self._clock()))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("a bucket stays as it is", error=type(error).__name__)

    def _key(self, bucket: Bucket, now: datetime) -> str:
        salted = f"{now.date().isoformat()}\x1f{bucket.kind}\x1f{bucket.subject}"
        hashed = digest(self._secret, salted.encode("utf-8", "surrogatepass"), sha256)
        return f"attempts:{bucket.kind}:{hashed[:16].hex()}"


def network(address: str) -> str:
    """Whom an address stands for: itself in IPv4, its /64 in IPv6, which is what one household is given."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def _in_words(seconds: int) -> str:
    if seconds < 120:
        return "a second" if seconds == 1 else f"{seconds} seconds"
    return f"{ceil(seconds / 60)} minutes"
