"""Token buckets: how many, how soon again, for whom, and nothing kept in clear."""

import asyncio

import pytest

from domain.refusal import Code, Refusal
from infra.attempts import KEY_LIFE_SECONDS_MAX, Bucket, Rate, TooManyAttempts, network
from tests.auth.world import world

RATE = Rate(burst=3, seconds_each=10)


def bucket(subject: str, kind: str = "sign-in", rate: Rate = RATE) -> Bucket:
    return Bucket(kind, subject, rate)


def test_a_burst_and_then_one_at_a_time(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            for _ in range(3):
                await site.attempts.take([bucket("ada")])
            with pytest.raises(TooManyAttempts) as caught:
                await site.attempts.take([bucket("ada")])
            assert caught.value.code is Code.TOO_MANY_REQUESTS
            assert caught.value.retry_after_seconds == 10
            assert "10 seconds" in caught.value.message
            await site.attempts.take([bucket("bob")])
            site.clock.advance(9)
            with pytest.raises(TooManyAttempts) as caught:
                await site.attempts.take([bucket("ada")])
            assert caught.value.retry_after_seconds == 1
            site.clock.advance(1)
            await site.attempts.take([bucket("ada")])
            with pytest.raises(TooManyAttempts):
                await site.attempts.take([bucket("ada")])
            site.clock.advance(3600)
            for _ in range(3):
                await site.attempts.take([bucket("ada")])
            with pytest.raises(TooManyAttempts):
                await site.attempts.take([bucket("ada")])

    asyncio.run(scenario())


def test_from_all_buckets_or_from_none(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            for _ in range(3):
                await site.attempts.take([bucket("ada")])
            with pytest.raises(TooManyAttempts):
                await site.attempts.take([bucket("here", "address"), bucket("ada")])
            for _ in range(3):
                await site.attempts.take([bucket("here", "address")])
            await site.attempts.forget(bucket("ada"))
            await site.attempts.take([bucket("ada")])

    asyncio.run(scenario())


def test_a_clock_set_back_locks_nobody_out(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            await site.attempts.take([bucket("ada")])
            site.clock.advance(-3600)
            await site.attempts.take([bucket("ada")])
            await site.attempts.take([bucket("ada")])
            with pytest.raises(TooManyAttempts) as caught:
                await site.attempts.take([bucket("ada")])
            assert caught.value.retry_after_seconds == 10
            site.clock.advance(-3600)
            with pytest.raises(TooManyAttempts) as caught:
                await site.attempts.take([bucket("ada")])
            site.clock.advance(caught.value.retry_after_seconds)
            await site.attempts.take([bucket("ada")])

    asyncio.run(scenario())


def test_nothing_in_clear_and_nothing_for_longer_than_a_day(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            slow = Rate(burst=100, seconds_each=100_000)
            await site.attempts.take([bucket("192.0.2.7", "address", slow), bucket("ada@example.org")])
            await site.attempts.take([bucket("192.0.2.7", "address", slow), bucket("ada@example.org")])
            first = set(await site.redis.keys("attempts:*"))
            assert len(first) == 2
            for key in first:
                stored = repr((key, await site.redis.hgetall(key)))
                assert "192.0.2.7" not in stored
                assert "ada" not in stored
                assert 0 < await site.redis.pttl(key) <= KEY_LIFE_SECONDS_MAX * 1000
            site.clock.advance(24 * 3600)
            await site.attempts.take([bucket("192.0.2.7", "address", slow)])
            assert len(set(await site.redis.keys("attempts:address:*")) - first) == 1, "another salt every day"

    asyncio.run(scenario())


def test_without_redis_nobody_may_try(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, "redis://127.0.0.1:1/0") as site:
            with pytest.raises(Refusal) as caught:
                await site.attempts.take([bucket("ada")])
            assert caught.value.code is Code.TOO_BUSY
            await site.attempts.forget(bucket("ada"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "household"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_whom_an_address_stands_for(address: str, household: str) -> None:
    assert network(address) == household
