"""Sessions: rotation, reuse, sign-out that works at once in every process, and life without Redis."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.refusal import Code, Refusal
from infra.session_marks import LIVE_SECONDS, ended_channel
from infra.sessions import Grant, SessionLimits, Sessions
from infra.tokens import EndedSession, ExpiredToken, fingerprint
from tests.auth.world import SECRET, World, new_id, world

NOWHERE = "redis://127.0.0.1:1/0"


async def refused_refresh(sessions: Sessions, token: str, key: str | None = None) -> None:
    with pytest.raises(Refusal) as caught:
        await sessions.refresh(token, key)
    assert caught.value.code is Code.SESSION_ENDED


async def refused(sessions: Sessions, grant: Grant) -> None:
    with pytest.raises(EndedSession):
        await sessions.authenticate(grant.access_token)


def test_an_access_token_says_who_asks(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            account_id = new_id()
            grant = await site.sessions.begin(account_id, "Firefox\x00\x1b[31m" + "x" * 300)
            assert grant.access_seconds == 900
            assert grant.refresh_expires_at == site.clock.now + timedelta(days=7)
            viewer = await site.sessions.authenticate(grant.access_token)
            assert (viewer.account_id, viewer.session_id) == (account_id, grant.session_id)
            assert viewer.expires_at == site.clock.now + timedelta(minutes=15)
            site.clock.advance(1000)
            with pytest.raises(ExpiredToken):
                await site.sessions.authenticate(grant.access_token)
            (session,) = await site.sessions.of_account(account_id)
            assert session.session_id == grant.session_id
            assert len(session.client) == 200
            assert session.client.isprintable()

    asyncio.run(scenario())


def test_tokens_are_stored_as_hashes_only(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            after = await site.sessions.refresh(grant.refresh_token)
            stored = repr(
                await site.rows("SELECT s, t FROM people.sessions s JOIN people.refresh_tokens t USING (session_id)")
            )
            assert fingerprint(grant.refresh_token).hex() in stored
            for token in (grant.refresh_token, after.refresh_token, grant.access_token):
                assert token not in stored
                assert token.encode().hex() not in stored
            assert grant.refresh_token not in repr(grant)

    asyncio.run(scenario())


def test_refreshing_rotates_within_one_session(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            first = await site.sessions.begin(new_id(), "")
            site.clock.advance(6 * 24 * 3600)
            second = await site.sessions.refresh(first.refresh_token)
            assert second.session_id == first.session_id
            assert second.refresh_token != first.refresh_token
            assert second.refresh_expires_at == site.clock.now + timedelta(days=7)
            site.clock.advance(6 * 24 * 3600)
            third = await site.sessions.refresh(second.refresh_token)
            assert (await site.sessions.authenticate(third.access_token)).account_id == first.account_id
            # What has expired is swept, so that a session does not grow for ever.
            assert await site.rows("SELECT count(*) FROM people.refresh_tokens") == [(2,)]

    asyncio.run(scenario())


def test_a_refresh_token_expires_after_seven_days_unused(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            site.clock.advance(7 * 24 * 3600)
            await refused_refresh(site.sessions, grant.refresh_token)
            assert await site.sessions.of_account(grant.account_id) == []

    asyncio.run(scenario())


def test_a_session_ends_however_often_it_is_refreshed(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        limits = SessionLimits(session_seconds_max=10 * 24 * 3600)
        async with world(database, redis_url, session_limits=limits) as site:
            grant = await site.sessions.begin(new_id(), "")
            site.clock.advance(6 * 24 * 3600)
            grant = await site.sessions.refresh(grant.refresh_token)
            assert grant.refresh_expires_at == site.clock.now + timedelta(days=4)
            site.clock.advance(4 * 24 * 3600)
            await refused_refresh(site.sessions, grant.refresh_token)

    asyncio.run(scenario())


def test_reuse_ends_the_family_at_once(database: str, redis_url: str) -> None:
    """The thief refreshed first: the owner's token comes back, and nobody keeps anything."""

    async def scenario() -> None:
        async with world(database, redis_url) as site:
            owner = await site.sessions.begin(new_id(), "")
            other_session = await site.sessions.begin(owner.account_id, "")
            thief = await site.sessions.refresh(owner.refresh_token)
            assert await site.sessions.authenticate(thief.access_token)
            await refused_refresh(site.sessions, owner.refresh_token)
            await refused(site.sessions, thief)
            await refused(site.sessions, owner)
            await refused_refresh(site.sessions, thief.refresh_token)
            assert await site.rows("SELECT ended_by FROM people.sessions WHERE ended_at IS NOT NULL") == [("reuse",)]
            assert await site.sessions.authenticate(other_session.access_token)

    asyncio.run(scenario())


def test_an_old_generation_ends_the_family_too(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            first = await site.sessions.begin(new_id(), "")
            second = await site.sessions.refresh(first.refresh_token, "one")
            third = await site.sessions.refresh(second.refresh_token, "two")
            await refused_refresh(site.sessions, first.refresh_token, "one")
            await refused(site.sessions, third)

    asyncio.run(scenario())


def test_a_lost_answer_can_be_asked_for_again(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            lost = await site.sessions.refresh(grant.refresh_token, "my key")
            site.clock.advance(59)
            again = await site.sessions.refresh(grant.refresh_token, "my key")
            assert again.refresh_token == lost.refresh_token
            assert again.refresh_expires_at == lost.refresh_expires_at
            assert await site.sessions.refresh(again.refresh_token)
            # Now the successor is used: whoever still has the old one did not lose an answer.
            await refused_refresh(site.sessions, grant.refresh_token, "my key")

    asyncio.run(scenario())


@pytest.mark.parametrize(("seconds", "key"), [(61, "my key"), (1, "another"), (1, None)])
def test_what_is_no_retry_is_reuse(database: str, redis_url: str, seconds: int, key: str | None) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            after = await site.sessions.refresh(grant.refresh_token, "my key")
            site.clock.advance(seconds)
            await refused_refresh(site.sessions, grant.refresh_token, key)
            await refused(site.sessions, after)

    asyncio.run(scenario())


def test_of_many_at_once_one_gets_through(database: str, redis_url: str) -> None:
    """The same token from many at the same moment: one refresh, then a reuse; never two families."""

    async def scenario() -> None:
        async with world(database, redis_url) as site:
            for _ in range(5):
                grant = await site.sessions.begin(new_id(), "")
                answers = await asyncio.gather(
                    *(site.sessions.refresh(grant.refresh_token) for _ in range(4)), return_exceptions=True
                )
                got = [answer for answer in answers if isinstance(answer, Grant)]
                assert len(got) == 1
                await refused(site.sessions, got[0])
                again = await site.sessions.begin(new_id(), "")
                same = await asyncio.gather(*(site.sessions.refresh(again.refresh_token, "one tab") for _ in range(4)))
                assert len({grant.refresh_token for grant in same}) == 1
                assert await site.sessions.authenticate(same[0].access_token)

    asyncio.run(scenario())


@pytest.mark.parametrize("token", ["", "x" * 43, "\ud83d", "a\x00b"])
def test_unknown_refresh_tokens(database: str, redis_url: str, token: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            await refused_refresh(site.sessions, token)
            assert not await site.sessions.end_by_refresh_token(token)

    asyncio.run(scenario())


def test_sign_out_works_at_once_in_another_process(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, world(database, redis_url) as other:
            grant = await site.sessions.begin(new_id(), "")
            await other.sessions.authenticate(grant.access_token)
            await other.sessions.authenticate(grant.access_token)
            assert not await site.sessions.end(grant.session_id, new_id())  # nobody ends what is another's
            assert await other.sessions.authenticate(grant.access_token)
            assert await site.sessions.end(grant.session_id, grant.account_id)
            await refused(other.sessions, grant)
            await refused(site.sessions, grant)
            await refused_refresh(other.sessions, grant.refresh_token)
            assert not await site.sessions.end(grant.session_id, grant.account_id)

    asyncio.run(scenario())


def test_sign_out_by_refresh_token_and_everywhere(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            account_id = new_id()
            grants = [await site.sessions.begin(account_id, "") for _ in range(3)]
            stranger = await site.sessions.begin(new_id(), "")
            assert await site.sessions.end_by_refresh_token(grants[0].refresh_token)
            await refused(site.sessions, grants[0])
            assert await site.sessions.end_all(account_id) == 2
            for grant in grants:
                await refused(site.sessions, grant)
            assert await site.sessions.end_all(account_id) == 0
            assert await site.sessions.authenticate(stranger.access_token)

    asyncio.run(scenario())


def test_the_end_is_published_after_it_holds(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            async with site.redis.pubsub() as listener:
                await listener.subscribe(ended_channel(grant.session_id))
                await site.sessions.end(grant.session_id, grant.account_id)
                while (message := await listener.get_message(timeout=5)) and message["type"] != "message":
                    pass
            assert message is not None
            await refused(site.sessions, grant)

    asyncio.run(scenario())


def test_redis_that_forgot_everything_changes_nothing(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            live, over = [await site.sessions.begin(new_id(), "") for _ in range(2)]
            await site.sessions.end(over.session_id, over.account_id)
            await site.redis.flushall()
            await refused(site.sessions, over)
            assert await site.sessions.authenticate(live.access_token)

    asyncio.run(scenario())


def test_without_redis_postgresql_is_asked(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site, world(database, NOWHERE) as cut_off:
            grant = await cut_off.sessions.begin(new_id(), "")
            assert await cut_off.sessions.authenticate(grant.access_token)
            grant = await cut_off.sessions.refresh(grant.refresh_token)
            assert await cut_off.sessions.end(grant.session_id, grant.account_id)
            await refused(cut_off.sessions, grant)
            await refused(site.sessions, grant)

    asyncio.run(scenario())


def test_what_redis_missed_lasts_a_minute_at_most(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")
            await site.sessions.authenticate(grant.access_token)
            assert 0 < await site.redis.ttl(f"session:{grant.session_id}") <= LIVE_SECONDS
            await site.sessions.end(grant.session_id, grant.account_id)
            # An end outlives every access token of the session.
            assert await site.redis.ttl(f"session:{grant.session_id}") > 910

    asyncio.run(scenario())


def test_an_end_between_look_up_and_remembering_is_not_undone(database: str, redis_url: str) -> None:
    """The look-up in PostgreSQL came just before the end, what is remembered of it just after."""

    async def scenario() -> None:
        async with world(database, redis_url) as site:
            grant = await site.sessions.begin(new_id(), "")

            class Late(Redis):
                async def set(self, name, value, **options):  # type: ignore[no-untyped-def]
                    if value == "live":
                        await site.sessions.end(grant.session_id, grant.account_id)
                    return await super().set(name, value, **options)

            late = Late.from_url(redis_url)
            other = Sessions(site.pool, late, site.tokens, SECRET, clock=site.clock, limits=SessionLimits())
            await other.authenticate(grant.access_token)
            await refused(other, grant)
            await refused(site.sessions, grant)
            await late.aclose()

    asyncio.run(scenario())


def test_one_session_too_many_ends_the_one_unused_longest(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url, session_limits=SessionLimits(sessions_max=3)) as site:
            account_id = new_id()
            grants = []
            for _ in range(3):
                grants.append(await site.sessions.begin(account_id, ""))
                site.clock.advance(1)
            grants[0] = await site.sessions.refresh(grants[0].refresh_token)
            site.clock.advance(1)
            await site.sessions.begin(account_id, "")
            await refused(site.sessions, grants[1])
            assert await site.sessions.authenticate(grants[0].access_token)
            assert len(await site.sessions.of_account(account_id)) == 3

    asyncio.run(scenario())


def test_sessions_long_over_are_swept(database: str, redis_url: str) -> None:
    async def scenario(site: World) -> None:
        account_id = new_id()
        grant = await site.sessions.begin(account_id, "")
        await site.sessions.end(grant.session_id, account_id)
        site.clock.advance(8 * 24 * 3600)
        await site.sessions.begin(account_id, "")
        assert await site.rows("SELECT count(*) FROM people.sessions") == [(1,)]
        assert await site.rows("SELECT count(*) FROM people.refresh_tokens") == [(1,)]

    async def run() -> None:
        async with world(database, redis_url) as site:
            await scenario(site)

    asyncio.run(run())


def test_requests_of_the_same_moment_are_one_question(database: str, redis_url: str) -> None:
    """A thousand requests ask Redis twice at most, and who goes away takes nobody with him."""

    async def scenario() -> None:
        async with world(database, redis_url) as site:
            live, over = [await site.sessions.begin(new_id(), "") for _ in range(2)]
            await site.sessions.authenticate(live.access_token)
            await site.sessions.end(over.session_id, over.account_id)
            before = (await site.redis.info("commandstats"))["cmdstat_mget"]["calls"]
            requests = [
                asyncio.ensure_future(site.sessions.authenticate((live if n % 2 else over).access_token))
                for n in range(1000)
            ]
            await asyncio.sleep(0)
            requests[1].cancel()
            answers = await asyncio.gather(*requests, return_exceptions=True)
            assert [type(answer) for answer in answers[::2]] == [EndedSession] * 500
            assert isinstance(answers[1], asyncio.CancelledError)
            assert {getattr(answer, "account_id", None) for answer in answers[3::2]} == {live.account_id}
            assert (await site.redis.info("commandstats"))["cmdstat_mget"]["calls"] - before <= 2
            assert await site.sessions.authenticate(live.access_token)

    asyncio.run(scenario())
