"""Signing up and in: what is told, what is not, and what a crash in the middle leaves."""

import asyncio
import re
from collections.abc import Sequence

import argon2
import pytest
import structlog
from argon2.profiles import CHEAPEST, PRE_21_2

from commands.ports import Append, StoreUnavailable
from domain.account import AccountImported
from domain.event import Id
from domain.name import NameClaimed, claim_id
from domain.refusal import Code, Refusal
from infra.attempts import Rate
from infra.event_store import GroupCommitStore, memory_store
from infra.sign_in import SignInLimits, Source
from schemas.envelope import Metadata
from tests.auth.world import HERE, NAME_KEY, PASSWORD, Clock, World, form, new_id, visitor, world


class Crash(Exception):
    """The process died here."""


class CrashingStore:
    """A store whose process dies before or after the next append is recorded."""

    def __init__(self, inner: GroupCommitStore, when: str) -> None:
        self._inner = inner
        self.when = when

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def append(self, appends: Sequence[Append], meta: Metadata) -> int:
        if self.when == "unavailable":
            raise StoreUnavailable("away")
        if self.when == "before":
            raise Crash
        position = await self._inner.append(appends, meta)
        if self.when == "after":
            raise Crash
        return position


async def refusal(awaitable) -> Refusal:  # type: ignore[no-untyped-def]
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


async def credentials(site: World) -> list[tuple[object, ...]]:
    return await site.rows("SELECT email, registered_at IS NOT NULL FROM people.credentials ORDER BY email")


def test_sign_up_then_in_by_name_and_address_at_once(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            signed_up = await site.sign_in.sign_up(form("Ada", "Ada.L@Example.org"), visitor(), HERE)
            assert signed_up.position == await site.store.head()
            account_id = signed_up.grant.account_id
            assert (await site.sessions.authenticate(signed_up.grant.access_token)).account_id == account_id
            for identifier in ("Ada", "ADA", " ada ", "ada.l@example.ORG"):
                grant = await site.sign_in.sign_in(identifier, PASSWORD, HERE)
                assert grant.account_id == account_id
                assert grant.session_id != signed_up.grant.session_id
            stored = repr(await site.rows("SELECT * FROM people.credentials"))
            assert PASSWORD not in stored

    asyncio.run(scenario())


def test_every_reason_has_one_answer_for_one_hash(
    database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown name, unknown address, no password at all, wrong password, nonsense: the same words, the same work."""
    verified = 0
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, encoded: str, password: bytes) -> bool:
        nonlocal verified
        verified += 1
        return verify(self, encoded, password)

    async def scenario() -> None:
        nonlocal verified
        async with world(database, redis_url) as site:
            await site.sign_in.sign_up(form("ada"), visitor(), HERE)
            await import_account(site, "old_hand")
            monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
            answers = set()
            for identifier, password in [
                ("ada", "not her password"),
                ("ada", ""),
                ("ada", PASSWORD + " "),
                ("ada", "x" * 5_000),
                ("ada@example.org", "not her password"),
                ("bob", PASSWORD),
                ("bob@example.org", PASSWORD),
                ("old_hand", PASSWORD),
                ("", ""),
                ("@", PASSWORD),
                ("ada\x00", PASSWORD),
                ("ada\x00@example.org", PASSWORD),
                ("\ud83d", PASSWORD),
                ("a" * 10_000, PASSWORD),
                ("ada' OR 1=1 --", PASSWORD),
            ]:
                verified = 0
                said = await refusal(site.sign_in.sign_in(identifier, password, HERE))
                answers.add((said.code, said.message, said.field))
                assert verified == 1, (identifier, password)
            assert len(answers) == 1
            assert next(iter(answers))[0] is Code.CREDENTIALS_INVALID
            verified = 0
            await site.sign_in.sign_in("ada", PASSWORD, HERE)
            assert verified == 1

    asyncio.run(scenario())


async def import_account(site: World, name: str) -> Id:
    account_id = new_id()
    now = site.clock.now
    await site.store.append(
        [
            Append(account_id, 0, (AccountImported(account_id=account_id, name=name, source="reddit"),)),
            Append(claim_id("account", name, NAME_KEY), 0, (NameClaimed(kind="account", holder_id=account_id),)),
        ],
        Metadata(new_id(), new_id(), None, None, now, now),
    )
    return account_id


@pytest.mark.parametrize(
    ("email", "code"),
    [
        ("", Code.EMAIL_INVALID),
        ("ada", Code.EMAIL_INVALID),
        ("ada@", Code.EMAIL_INVALID),
        ("@example.org", Code.EMAIL_INVALID),
        ("ada@localhost", Code.EMAIL_INVALID),
        ("ada@example..org", Code.EMAIL_INVALID),
        ("ada@-example.org", Code.EMAIL_INVALID),
        ("ada@192.0.2.7", Code.EMAIL_INVALID),
        ("a..da@example.org", Code.EMAIL_INVALID),
        (".ada@example.org", Code.EMAIL_INVALID),
        ("ada lovelace@example.org", Code.EMAIL_INVALID),
        ("ada@exa mple.org", Code.EMAIL_INVALID),
        ("ada\n@example.org", Code.EMAIL_INVALID),
        ("ada@example.org\nBcc: everybody@example.org", Code.EMAIL_INVALID),
        ("ada@example.org\x00", Code.EMAIL_INVALID),
        ("\u0430da@example.org", Code.EMAIL_INVALID),
        ("ada@b@example.org", Code.EMAIL_INVALID),
        ("a" * 65 + "@example.org", Code.TOO_LONG),
        ("ada@" + "e" * 63 + ("." + "e" * 63) * 3 + ".org", Code.TOO_LONG),
    ],
)
def test_addresses_that_are_none(database: str, redis_url: str, email: str, code: Code) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            said = await refusal(site.sign_in.sign_up(form("ada", email), visitor(), HERE))
            assert (said.code, said.field) == ((code, "email") if email else (Code.EMAIL_INVALID, "email"))
            assert await site.store.head() == 0
            assert await credentials(site) == []

    if email:
        asyncio.run(scenario())


def test_a_taken_name_or_a_bad_one_leaves_nothing_behind(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            await site.sign_in.sign_up(form("ada"), visitor(), HERE)
            head = await site.store.head()
            for name, code in (
                ("ADA", Code.NAME_TAKEN),
                ("x", Code.TOO_SHORT),
                ("admin", Code.NAME_RESERVED),
                ("\u0430da", Code.NAME_INVALID),
            ):
                said = await refusal(site.sign_in.sign_up(form(name, "new@example.org"), visitor(), HERE))
                assert said.code is code
                assert await credentials(site) == [("ada@example.org", True)]
            assert await site.store.head() == head
            await site.sign_in.sign_up(form("bob", "new@example.org"), visitor(), HERE)

    asyncio.run(scenario())


def test_an_address_belongs_to_one_account(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            await site.sign_in.sign_up(form("ada"), visitor(), HERE)
            head = await site.store.head()
            said = await refusal(site.sign_in.sign_up(form("bob", "ADA@example.org"), visitor(), HERE))
            assert (said.code, said.field) == (Code.EMAIL_TAKEN, "email")
            assert await site.store.head() == head

    asyncio.run(scenario())


def test_of_many_with_one_address_or_name_one_gets_it(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            same_address = [site.sign_in.sign_up(form(f"ada{n}", "ada@example.org"), visitor(), HERE) for n in range(5)]
            codes = await outcomes(same_address)
            assert codes == [Code.EMAIL_TAKEN] * 4 + [None]
            same_name = [site.sign_in.sign_up(form("bob", f"bob{n}@example.org"), visitor(), HERE) for n in range(5)]
            assert await outcomes(same_name) == [Code.NAME_TAKEN] * 4 + [None]
            assert len(await credentials(site)) == 2
            assert all(settled for _, settled in await credentials(site))

    asyncio.run(scenario())


async def outcomes(attempts) -> list[Code | None]:  # type: ignore[no-untyped-def]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    codes = [answer.code if isinstance(answer, Refusal) else None for answer in answers]
    assert [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, Refusal)] == []
    return sorted(codes, key=lambda code: (code is None, code or ""))


def test_signing_up_again_with_the_same_key_is_the_same_account(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            first = await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)
            again = await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)
            assert (again.grant.account_id, again.position) == (first.grant.account_id, first.position)
            assert len(await site.mailbox.newest(10)) == 1
            # The key alone opens nothing: neither with another password nor with another address.
            for other in (form("ada", password="another tree, same hill"), form("ada", "else@example.org")):
                said = await refusal(site.sign_in.sign_up(other, visitor("key"), HERE))
                assert said.code is Code.CREDENTIALS_INVALID
            assert await credentials(site) == [("ada@example.org", True)]
            # And another name with the same key is another person.
            bob = await site.sign_in.sign_up(form("bob"), visitor("key"), HERE)
            assert bob.grant.account_id != first.grant.account_id
            both = await asyncio.gather(*(site.sign_in.sign_up(form("eve"), visitor("eve"), HERE) for _ in range(4)))
            assert len({signed_up.grant.account_id for signed_up in both}) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("heal", ["same key", "new key", "sign in"])
def test_a_crash_in_the_middle_of_a_sign_up(database: str, redis_url: str, when: str, heal: str) -> None:
    """Credentials are written, the account is registered or not, and the process is gone."""
    clock = Clock()
    store = memory_store(clock=clock)
    registered = when == "after"

    async def scenario() -> None:
        async with world(database, redis_url, store=CrashingStore(store, when), clock=clock) as dying:  # type: ignore[arg-type]
            with pytest.raises(Crash):
                await dying.sign_in.sign_up(form("ada"), visitor("key"), HERE)
            assert await credentials(dying) == [("ada@example.org", False)]
        async with world(database, redis_url, store=store, clock=clock) as site:
            if heal == "same key":
                signed_up = await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)
                assert len(await site.mailbox.newest(10)) == 1
                grant = await site.sign_in.sign_in("ada@example.org", PASSWORD, HERE)
                assert grant.account_id == signed_up.grant.account_id
            elif heal == "new key":
                said = await refusal(site.sign_in.sign_up(form("ada2", "ada@example.org"), visitor("2"), HERE))
                assert said.code is Code.EMAIL_TAKEN
                clock.advance(120)
                if registered:
                    said = await refusal(site.sign_in.sign_up(form("ada2", "ada@example.org"), visitor("2"), HERE))
                    assert said.code is Code.EMAIL_TAKEN
                else:
                    await site.sign_in.sign_up(form("ada2", "ada@example.org"), visitor("2"), HERE)
            elif registered:
                assert await site.sign_in.sign_in("ada@example.org", PASSWORD, HERE)
                assert await site.sign_in.sign_in("ada", PASSWORD, HERE)
            else:
                said = await refusal(site.sign_in.sign_in("ada@example.org", PASSWORD, HERE))
                assert said.code is Code.CREDENTIALS_INVALID
            if registered or heal != "sign in":
                assert await credentials(site) == [("ada@example.org", True)]

    asyncio.run(scenario())


def test_a_store_that_is_away_keeps_the_address_for_the_retry(database: str, redis_url: str) -> None:
    clock = Clock()
    store = CrashingStore(memory_store(clock=clock), "unavailable")

    async def scenario() -> None:
        async with world(database, redis_url, store=store, clock=clock) as site:  # type: ignore[arg-type]
            with pytest.raises(StoreUnavailable):
                await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)
            store.when = "never"
            assert (await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)).position == 2

    asyncio.run(scenario())


def test_a_registration_slower_than_its_reservation_keeps_its_credentials(database: str, redis_url: str) -> None:
    """A row given back too early is put back by the sign-up it belongs to."""

    async def scenario() -> None:
        async with world(database, redis_url) as site:
            signed_up = await site.sign_in.sign_up(form("ada"), visitor("key"), HERE)
            held = await site.credentials.of_account(signed_up.grant.account_id)
            assert held is not None
            async with site.pool.connection() as connection:
                await connection.execute("DELETE FROM people.credentials")
            assert await site.credentials.settle(held, site.clock.now)
            assert await site.sign_in.sign_in("ada", PASSWORD, HERE)

    asyncio.run(scenario())


def test_attempts_are_limited_by_account_known_or_not(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        limits = SignInLimits(per_account=Rate(burst=2, seconds_each=30))
        async with world(database, redis_url, limits=limits) as site:
            await site.sign_in.sign_up(form("ada"), visitor(), HERE)
            for identifier in ("ada", "nobody"):
                for n in range(2):
                    said = await refusal(site.sign_in.sign_in(identifier, "wrong", Source(f"192.0.2.{n}", "")))
                    assert said.code is Code.CREDENTIALS_INVALID
                said = await refusal(site.sign_in.sign_in(identifier.upper(), PASSWORD, Source("192.0.2.99", "")))
                assert said.code is Code.TOO_MANY_REQUESTS
                assert getattr(said, "retry_after_seconds", None) == 30
            site.clock.advance(30)
            for _ in range(5):  # whoever gets in may come again
                await site.sign_in.sign_in("ada", PASSWORD, HERE)
                site.clock.advance(0)

    asyncio.run(scenario())


def test_attempts_are_limited_by_address(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        limits = SignInLimits(
            per_address=Rate(burst=3, seconds_each=60), sign_ups_per_address=Rate(burst=2, seconds_each=60)
        )
        async with world(database, redis_url, limits=limits) as site:
            for n in range(2):
                await site.sign_in.sign_up(form(f"ada{n}"), visitor(), HERE)
            assert (await refusal(site.sign_in.sign_up(form("ada9"), visitor(), HERE))).code is Code.TOO_MANY_REQUESTS
            for n in range(3):
                await refusal(site.sign_in.sign_in(f"user{n}", "wrong", HERE))
            assert (await refusal(site.sign_in.sign_in("ada0", PASSWORD, HERE))).code is Code.TOO_MANY_REQUESTS
            assert await site.sign_in.sign_in("ada0", PASSWORD, Source("198.51.100.1", ""))

    asyncio.run(scenario())


def test_old_hashes_are_renewed_when_the_password_is_at_hand(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url, profile=CHEAPEST) as site:
            await site.sign_in.sign_up(form("ada"), visitor(), HERE)
        async with world(database, redis_url, profile=PRE_21_2, store=site.store) as newer:
            await refusal(newer.sign_in.sign_in("ada", "wrong password", HERE))
            ((before,),) = await newer.rows("SELECT password_hash FROM people.credentials")
            assert "m=8," in before
            await newer.sign_in.sign_in("ada", PASSWORD, HERE)
            ((after,),) = await newer.rows("SELECT password_hash FROM people.credentials")
            assert f"m={PRE_21_2.memory_cost}," in after
            await newer.sign_in.sign_in("ada", PASSWORD, HERE)

    asyncio.run(scenario())


async def mailed_code(site: World) -> str:
    found = re.search(r"^    ([A-Za-z0-9_-]{22})$", (await site.mailbox.newest(1))[0].body, re.MULTILINE)
    assert found is not None
    return found[1]


def test_an_address_is_confirmed_by_the_code_mailed_to_it(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            account_id = (await site.sign_in.sign_up(form("ada"), visitor(), HERE)).grant.account_id
            (mail,) = await site.mailbox.newest(10)
            assert mail.recipient == "ada@example.org"
            code = await mailed_code(site)
            assert code not in repr(await site.rows("SELECT * FROM people.email_confirmations"))
            for wrong in ("", code[:-1], code + "x", "x" * 22, "\x00", "\ud83d"):
                assert (await refusal(site.sign_in.confirm_email(wrong))).code is Code.CONFIRMATION_INVALID
            assert await site.sign_in.confirm_email(f" {code}\n") == account_id
            confirmed_at = await site.rows("SELECT email_confirmed_at FROM people.credentials")
            site.clock.advance(60)
            assert await site.sign_in.confirm_email(code) == account_id
            assert await site.rows("SELECT email_confirmed_at FROM people.credentials") == confirmed_at
            assert not await site.sign_in.request_confirmation(account_id)

    asyncio.run(scenario())


def test_codes_expire_and_only_the_newest_works(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        async with world(database, redis_url) as site:
            account_id = (await site.sign_in.sign_up(form("ada"), visitor(), HERE)).grant.account_id
            first = await mailed_code(site)
            assert await site.sign_in.request_confirmation(account_id)
            assert (await refusal(site.sign_in.confirm_email(first))).code is Code.CONFIRMATION_INVALID
            second = await mailed_code(site)
            site.clock.advance(24 * 3600)
            assert (await refusal(site.sign_in.confirm_email(second))).code is Code.CONFIRMATION_INVALID
            for _ in range(5):
                await site.sign_in.request_confirmation(account_id)
            said = await refusal(site.sign_in.request_confirmation(account_id))
            assert said.code is Code.TOO_MANY_REQUESTS
            assert await site.sign_in.confirm_email(await mailed_code(site)) == account_id

    asyncio.run(scenario())


def test_nothing_secret_is_logged(database: str, redis_url: str) -> None:
    async def scenario() -> None:
        with structlog.testing.capture_logs() as logs:
            async with world(database, redis_url) as site:
                up = await site.sign_in.sign_up(form("ada"), visitor(), HERE)
                await refusal(site.sign_in.sign_in("ada", "not her password", HERE))
                after = await site.sessions.refresh(up.grant.refresh_token)
                await refusal(site.sessions.refresh(up.grant.refresh_token))
                code = await mailed_code(site)
            async with world(database, "redis://127.0.0.1:1/0") as site:
                await refusal(site.sign_in.sign_in("ada", PASSWORD, HERE))
        said = repr(logs)
        assert "a refresh token came back" in said
        for secret in (
            PASSWORD,
            "not her password",
            "ada@example.org",
            HERE.address,
            code,
            up.grant.access_token,
            up.grant.refresh_token,
            after.refresh_token,
        ):
            assert secret not in said
            assert secret not in repr((up, after, form("ada")))

    asyncio.run(scenario())
