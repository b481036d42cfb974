"""How fast somebody may write: a token bucket for each account and kind of act, and slow mode in each channel.

What was counted for a command is not counted again when that is retried. Without Redis nobody is held back: to go on
talking is worth more than a pace, and each account is known.
"""

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from commands.ports import Acts, Written
from domain.event import Id
from domain.limits import Limits
from domain.refusal import Code, Refusal

RETRY_SECONDS: Final = 60
"""For so long a command that was counted is not counted again; as long as slow mode holds by it, if longer."""

_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local capacity, refill, pause, retry = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local command = ARGV[5]
if pause > 0 then
  local last = redis.call('HMGET', KEYS[2], 'at', 'command')
  if last[2] == command then return {0, 0} end
  local wait = tonumber(last[1] or 0) + pause - now
  if wait > pause then wait = pause end
  if last[1] and wait > 0 then return {2, wait} end
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
  local level, at = tonumber(bucket[1] or capacity), tonumber(bucket[2] or now)
  if at > now then at = now end
  level = math.min(capacity, level + (now - at) / refill)
  if level < 1 then return {1, math.ceil((1 - level) * refill)} end
  redis.call('HSET', KEYS[1], 'level', tostring(level - 1), 'at', now)
  redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - level + 1) * refill))
  redis.call('SET', KEYS[3], 1, 'PX', retry)
end
if pause > 0 then
  redis.call('HSET', KEYS[2], 'at', now, 'command', command)
  redis.call('PEXPIRE', KEYS[2], pause)
end
return {0, 0}
"""
"""Counts one act, or says by what it is held back (1: the bucket, 2: slow mode) and for how many milliseconds.

KEYS: bucket, slow mode (when its last command was), command. ARGV: capacity, ms a token, ms of slow mode, ms for which
a command is remembered, the command.
"""

_log = structlog.get_logger(__name__)


class RedisPace:
    """``commands.ports.Pace`` for all processes of a site. ``seconds_max`` bounds the wait for Redis."""

    def __init__(self, redis: Redis, *, seconds_max: float) -> None:
        self._take = redis.register_script(_TAKE)
        self._seconds_max = seconds_max

    async def take(self, written: Written, limits: Limits) -> None:
        """See ``Pace``."""
        account_id, command_id = written.account_id, written.command_id
        keys = [
            f"pace:{written.acts}:{account_id}",
            f"slow:{written.channel_id}:{account_id}",
            f"pace:{command_id}",
        ]
        refill_ms = ceil(1000 * limits.messages_seconds_each)
        numbers = (limits.messages_burst, refill_ms, 1000 * written.pause_seconds, 1000 * RETRY_SECONDS)
        arguments: list[int | str] = [*numbers, command_id]
        try:
            async with asyncio.timeout(self._seconds_max):
                held, wait_ms = await self._take(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("pace.not_counted", error=type(error).__name__)
            return
        _refuse(int(held), int(wait_ms))


class MemoryPace:
    """``commands.ports.Pace`` for one process; ``now`` gives seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: dict[tuple[Id, Acts], tuple[float, float]] = {}
        self._slow: dict[tuple[Id, Id], tuple[float, Id]] = {}
        self._counted: dict[Id, float] = {}

    async def take(self, written: Written, limits: Limits) -> None:
        """See ``Pace``."""
        now, capacity, each = self._now(), limits.messages_burst, limits.messages_seconds_each
        account_id, command_id, place = written.account_id, written.command_id, (written.channel_id, written.account_id)
        if written.pause_seconds:
            last, command = self._slow.get(place, (float("-inf"), None))
            if command == command_id:
                return
            if (wait := last + written.pause_seconds - now) > 0:
                _refuse(2, ceil(1000 * wait))
        if self._counted.get(command_id, now) <= now:
            level, at = self._buckets.get((account_id, written.acts), (capacity, now))
            level = min(capacity, level + (now - at) / each)
            if level < 1:
                _refuse(1, ceil(1000 * (1 - level) * each))
            self._buckets[account_id, written.acts] = level - 1, now
            self._counted[command_id] = now + RETRY_SECONDS
        if written.pause_seconds:
            self._slow[place] = now, command_id


class Unpaced:
    """``commands.ports.Pace`` that holds nobody back: for what a program writes into the past."""

    async def take(self, written: Written, limits: Limits) -> None:
        """See ``Pace``."""


def _refuse(held: int, wait_ms: int) -> None:
    """Raises ``Refusal`` where something held it back."""
    if not held:
        return
    seconds = max(1, ceil(wait_ms / 1000))
    wait = "a second" if seconds == 1 else f"{seconds:,} seconds"
    if held == 1:
        message = f"You are too fast. Try again in {wait}."
        raise Refusal(Code.TOO_MANY_REQUESTS, message, retry_after_seconds=seconds)
    message = f"This channel is in slow mode. You can write in it again in {wait}."
    raise Refusal(Code.SLOW_MODE, message, retry_after_seconds=seconds)
