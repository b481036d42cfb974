"""Which passwords are accepted, what their hashes are, and the bounds of the work."""

import asyncio

import argon2
import pytest
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from domain.refusal import Code, Refusal
from infra.passwords import LENGTH_MAX, LENGTH_MIN, Passwords, check_password


def refused(password: str) -> Code:
    with pytest.raises(Refusal) as caught:
        check_password(password, name="ada_lovelace", email="Countess@example.org")
    assert caught.value.field == "password"
    return caught.value.code


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", Code.TOO_SHORT),
        ("x7!kQ-m2z", Code.TOO_SHORT),
        ("ab cd ef " * 15, Code.TOO_LONG),
        ("a tree\x00on a hill", Code.INVALID_CHARACTERS),
        ("a tree\non a hill", Code.INVALID_CHARACTERS),
        ("a tree \ud83d on a hill", Code.INVALID_CHARACTERS),
        ("Password123!", Code.PASSWORD_TOO_WEAK),
        ("passwordpassword", Code.PASSWORD_TOO_WEAK),
        ("1234567890", Code.PASSWORD_TOO_WEAK),
        ("0987654321", Code.PASSWORD_TOO_WEAK),
        ("QWERTYUIOP", Code.PASSWORD_TOO_WEAK),
        ("abcabcabcabc", Code.PASSWORD_TOO_WEAK),
        ("aaaaaaaaaaaa", Code.PASSWORD_TOO_WEAK),
        ("Ada_Lovelace", Code.PASSWORD_TOO_WEAK),
        ("ada_lovelace1815", Code.PASSWORD_TOO_WEAK),
        ("countess@example.org", Code.PASSWORD_TOO_WEAK),
        ("Countess99", Code.PASSWORD_TOO_WEAK),
    ],
)
def test_refused(password: str, code: Code) -> None:
    assert refused(password) is code


@pytest.mark.parametrize(
    "password",
    [
        "a tree on a hill",
        "x7!kQ-m2zR",
        "дерево на холме",
        "木々が丘の上に立っています",
        "🌲🌳🌴🌵🌾🌿🍀🍁🍂🍃",
        "9" * 5 + "4" * 5 + "1",
        "b" * (LENGTH_MAX - 2) + "cd",
    ],
)
def test_accepted_whole(password: str) -> None:
    assert check_password(password, name="ada", email="ada@example.org") == password
    assert len(password) >= LENGTH_MIN


def test_length_is_that_of_what_is_kept() -> None:
    """One ligature is three letters after normalisation."""
    assert check_password("ﬃ ﬃ ﬃ", name="", email="x@example.org") == "ffi ffi ffi"


def test_hashes_with_the_profile_of_the_rfc() -> None:
    async def scenario() -> None:
        passwords = Passwords(at_once=1, waiting_max=1)
        encoded = await passwords.hash("a tree on a hill")
        assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert await passwords.verify("a tree on a hill", encoded)
        assert not await passwords.verify("a tree on a hilL", encoded)
        assert await passwords.hash("a tree on a hill") != encoded
        passwords.close()

    asyncio.run(scenario())


def test_nothing_is_cut_off_and_keyboards_agree() -> None:
    async def scenario() -> None:
        passwords = Passwords(at_once=1, waiting_max=1, profile=CHEAPEST)
        long = await passwords.hash("p" * 127 + "q")
        assert not await passwords.verify("p" * 128, long)
        composed = await passwords.hash("caf\u00e9 on a hill")
        assert await passwords.verify("cafe\u0301 on a hill", composed)
        assert not await passwords.verify("\ud83d", composed)
        assert not await passwords.verify("x", "no hash at all")
        passwords.close()

    asyncio.run(scenario())


def test_nobody_costs_what_somebody_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: one verification each, with the same parameters."""
    work: list[argon2.Parameters] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, encoded: str, password: bytes) -> bool:
        work.append(argon2.extract_parameters(encoded))
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)

    async def scenario() -> None:
        passwords = Passwords(at_once=1, waiting_max=1)
        encoded = await passwords.hash("a tree on a hill")
        assert not await passwords.verify("wrong", encoded)
        assert not await passwords.verify("wrong", None)
        assert work == [RFC_9106_LOW_MEMORY, RFC_9106_LOW_MEMORY]
        passwords.close()

    asyncio.run(scenario())


def test_a_flood_is_refused_and_the_places_come_back() -> None:
    async def scenario() -> None:
        passwords = Passwords(at_once=1, waiting_max=2)
        answers = await asyncio.gather(*(passwords.verify("x", None) for _ in range(10)), return_exceptions=True)
        assert answers[:3] == [False] * 3
        assert [answer.code for answer in answers[3:] if isinstance(answer, Refusal)] == [Code.TOO_BUSY] * 7
        # Who goes away while waiting leaves no hole behind.
        waiting = [asyncio.ensure_future(passwords.verify("x", None)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await asyncio.gather(*(passwords.verify("x", None) for _ in range(3))) == [False] * 3
        passwords.close()

    asyncio.run(scenario())


def test_old_parameters_are_noticed() -> None:
    async def scenario() -> None:
        old, new = (Passwords(at_once=1, waiting_max=1, profile=p) for p in (CHEAPEST, RFC_9106_LOW_MEMORY))
        encoded = await old.hash("a tree on a hill")
        assert await new.verify("a tree on a hill", encoded)
        assert new.needs_rehash(encoded)
        assert not old.needs_rehash(encoded)
        old.close()
        new.close()

    asyncio.run(scenario())
