"""Passwords: which ones are accepted, and their Argon2id hashes, computed off the event loop within named bounds.

The profile is the second recommended one of RFC 9106, section 4: 64 MiB, three passes, four lanes. A hash says in
itself how it was made, so that raising the profile needs no migration: old hashes verify, and ``needs_rehash`` tells
the caller to store a new one while the password is at hand.
"""

import asyncio
import string
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from secrets import token_bytes
from threading import BoundedSemaphore
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from domain.refusal import Code, Refusal

T = TypeVar("T")

LENGTH_MIN = 10
"""In code points. NIST SP 800-63B asks for at least 8 where a second factor stands beside it; ours may stand alone."""

LENGTH_MAX = 128
"""In code points. NIST SP 800-63B asks for at least 64; a bound keeps the hash's input small. Nothing is cut off."""

_COMMON = frozenset(
    """
    password passwort passw0rd p@ssword p@ssw0rd qwerty qwertyuiop qwertzuiop azerty azertyuiop asdfghjkl zxcvbnm
    iloveyou letmein welcome admin administrator login master dragon monkey football baseball basketball superman
    batman princess sunshine shadow michael jordan trustno computer internet starwars whatever freedom charlie
    changeme default secret hello hunter killer pokemon qazwsx qazwsxedc q1w2e3r4t5y6 1q2w3e4r5t 1qaz2wsx3edc
    abc abcd test testing guest root user moot reddit discord facebook google liverpool arsenal chelsea
    """.split()  # noqa: SIM905 - sixty quoted words read worse
)
"""Stems that lead every list of leaked passwords; digits and punctuation around them make them no better."""

_RUNS = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
)
_DECORATION = string.digits + string.punctuation + " "


def normalised(password: str) -> str:
    """The password in NFKC, so that it is the same from every keyboard (NIST SP 800-63B, section 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *, name: str, email: str, field: str = "password") -> str:
    """The normalised password, if it may be chosen. Raises ``Refusal`` with ``field`` otherwise.

    There are no rules of composition. Refused are: fewer than ``LENGTH_MIN`` or more than ``LENGTH_MAX`` code points,
    control characters, what everybody tries first, and the account's own name or e-mail address.
    """
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise Refusal(Code.INVALID_CHARACTERS, "Use a password without control characters.", field)
    chosen = normalised(password)
    if len(chosen) < LENGTH_MIN:
        raise Refusal(Code.TOO_SHORT, f"Use a password of at least {LENGTH_MIN} characters.", field)
    if len(chosen) > LENGTH_MAX:
        raise Refusal(Code.TOO_LONG, f"Use a password of at most {LENGTH_MAX} characters.", field)
    folded = chosen.casefold()
    own = {name.casefold(), email.casefold(), email.casefold().partition("@")[0]}
    if folded in own or folded.strip(_DECORATION) in own or _is_common(folded):
        raise Refusal(Code.PASSWORD_TOO_WEAK, "This password is too easy to guess. Choose another one.", field)
    return chosen


def _is_common(folded: str) -> bool:
    if len(set(folded)) <= 2:
        return True
    if any(folded in run or folded[::-1] in run for run in _RUNS):
        return True
    if any(len(folded) % n == 0 and folded[:n] * (len(folded) // n) == folded and n <= 5 for n in range(1, 6)):
        return True
    stem = folded.strip(_DECORATION)
    half = stem[: len(stem) // 2]
    return folded in _COMMON or stem in _COMMON or (half * 2 == stem and half in _COMMON)


class Passwords:
    """Hashes and verifies, ``at_once`` at a time: memory is bounded by that many times the profile's (64 MiB each).

    At most ``waiting_max`` more may wait; who comes after them is refused with ``TOO_BUSY`` at once, so that a flood of
    sign-ins can hold up neither the memory nor the queue.
    """

    def __init__(self, *, at_once: int, waiting_max: int, profile: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(profile)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._places = BoundedSemaphore(at_once + waiting_max)
        self._nobodys = _unmatchable(profile)

    async def hash(self, password: str) -> str:
        """The encoded hash of a password, with a new salt. Raises ``Refusal`` (``TOO_BUSY``)."""
        return await self._run(lambda: self._hasher.hash(_octets(password)))

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether the password has that hash. Raises ``Refusal`` (``TOO_BUSY``).

        ``None``, for an account that does not exist, costs the same work and never matches.
        """
        expected = self._nobodys if encoded is None else encoded
        return await self._run(lambda: self._matches(expected, _octets(password)))

    def needs_rehash(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let the threads go; what waits is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _matches(self, encoded: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Refusal(Code.TOO_BUSY, "Too many people are signing in right now. Try again in a few seconds.")
        # The place is given back when the work is done or dropped, not when who asked for it lost patience.
        try:
            future: Future[T] = self._threads.submit(work)
        except RuntimeError:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _octets(password: str) -> bytes:
    return normalised(password).encode("utf-8", "surrogatepass")


def _unmatchable(profile: Parameters) -> str:
    """A well-formed hash of no known password: verifying against it costs what any verification costs."""
    salt, digest = (b64encode(token_bytes(size)).rstrip(b"=").decode() for size in (profile.salt_len, profile.hash_len))
    costs = f"m={profile.memory_cost},t={profile.time_cost},p={profile.parallelism}"
    return f"$argon2id$v={profile.version}${costs}${salt}${digest}"
