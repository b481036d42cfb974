"""Signing up, in and out: what stands between a person and an account.

A sign-in tells nobody whether an account exists: an unknown name or address, an account without a password and a wrong
password get the same answer for the same work. A sign-up does tell that an e-mail address is taken, because a person
who forgot having an account must learn it there and then; the number of sign-ups from one address is limited instead.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from secrets import token_urlsafe

import structlog
from msgspec import Struct
from msgspec.structs import replace

from commands.handling import Caller, Commands
from commands.ports import EventStore
from domain.account import AccountRegistered, Register
from domain.event import Id
from domain.name import NameClaimed, claim_id
from domain.refusal import Code, Refusal
from infra.attempts import Attempts, Bucket, Rate, network
from infra.credentials import Credentials, Held, checked_email
from infra.mail import Mailbox, confirmation_body
from infra.passwords import Passwords, check_password
from infra.sessions import Grant, Sessions
from infra.tokens import fingerprint

IDENTIFIER_LENGTH_MAX = 254
"""Characters of a name or an e-mail address; nothing longer is either."""
PASSWORD_READ_MAX = 1024
"""Characters. A longer password was never accepted (and normalisation can shorten one by a few times at most)."""

_log = structlog.get_logger(__name__)


class SignInLimits(Struct, frozen=True):
    """How often who may try what. ``per_account`` counts by what was typed as name or address, known or not."""

    per_account: Rate = Rate(burst=10, seconds_each=30)
    per_address: Rate = Rate(burst=300, seconds_each=5)
    sign_ups_per_address: Rate = Rate(burst=300, seconds_each=30)
    confirmations_per_account: Rate = Rate(burst=5, seconds_each=600)
    abandoned_seconds: int = 120
    """After this, a sign-up that never registered its account gives back its e-mail address."""
    confirmation_seconds: int = 24 * 60 * 60
    """How long a mailed code works."""


class Source(Struct, frozen=True):
    """Where a request comes from: its network address, for counting only, and its User-Agent."""

    address: str
    client: str


class Form(Struct, frozen=True):
    """What somebody who signs up fills in; nothing is checked yet."""

    name: str
    display_name: str
    email: str
    password: str

    def __repr__(self) -> str:
        return "Form(…)"


class SignedUp(Struct, frozen=True):
    """A new account, at that position of the log, and its first session."""

    grant: Grant
    position: int


class SignIn:
    """The use cases. Every refusal is a ``Refusal``; ``StoreUnavailable`` and errors of PostgreSQL pass through."""

    def __init__(
        self,
        *,
        store: EventStore,
        commands: Commands,
        name_key: bytes,
        credentials: Credentials,
        passwords: Passwords,
        sessions: Sessions,
        attempts: Attempts,
        mailbox: Mailbox,
        clock: Callable[[], datetime],
        limits: SignInLimits,
    ) -> None:
        self._store = store
        self._commands = commands
        self._name_key = name_key
        self._credentials = credentials
        self._passwords = passwords
        self._sessions = sessions
        self._attempts = attempts
        self._mailbox = mailbox
        self._clock = clock
        self._limits = limits

    async def sign_up(self, form: Form, caller: Caller, source: Source) -> SignedUp:
        """Register an account and begin its first session.

        Repeated with the same idempotency key, name, address and password it goes on where it was cut off, or signs in.
        """
        email = checked_email(form.email)
        password = check_password(form.password, name=form.name, email=email)
        await self._attempts.take([Bucket("sign-up", network(source.address), self._limits.sign_ups_per_address)])
        key = caller.idempotency_key or token_urlsafe(32)
        account_id = self._commands.account_id(form.name, key)
        held = await self._credentials.of_account(account_id)
        if held is not None and await self._exists(held):
            await self._same_person(held, email, password)
        else:
            held = await self._reserve(account_id, email, await self._passwords.hash(password))
        try:
            outcome = await self._commands.execute(
                Register(name=form.name, display_name=form.display_name), replace(caller, idempotency_key=key)
            )
        except Refusal:
            await self._credentials.give_back(account_id)
            raise
        if not await self._credentials.settle(held, self._clock()):
            _log.error("an account was registered without its credentials", account_id=account_id)
            raise _email_taken()
        if held.registered_at is None:
            await self._mail_code(account_id, email, form.name)
        return SignedUp(await self._sessions.begin(account_id, source.client), outcome.position)

    async def sign_in(self, identifier: str, password: str, source: Source) -> Grant:
        """A new session for whoever knows the password of the account with that name or e-mail address.

        Raises ``Refusal``: ``CREDENTIALS_INVALID``, whatever it is that is wrong; ``TOO_MANY_REQUESTS``; ``TOO_BUSY``.
        """
        identifier = identifier.strip()[: IDENTIFIER_LENGTH_MAX + 1]
        by_account = Bucket("sign-in", identifier.lower(), self._limits.per_account)
        by_address = Bucket("address", network(source.address), self._limits.per_address)
        await self._attempts.take([by_account, by_address])
        held = await self._find(identifier)
        if len(password) > PASSWORD_READ_MAX:
            held, password = None, ""
        right = await self._passwords.verify(password, held.password_hash if held else None)
        if held is None or not right:
            message = "There is no account with this name or e-mail address and this password. Check both."
            raise Refusal(Code.CREDENTIALS_INVALID, message)
        await self._attempts.forget(by_account)
        if self._passwords.needs_rehash(held.password_hash):
            await self._credentials.rehash(held.account_id, held.password_hash, await self._passwords.hash(password))
        return await self._sessions.begin(held.account_id, source.client)

    async def confirm_email(self, code: str) -> Id:
        """The address that this code was mailed to is confirmed; gives whose. Raises ``CONFIRMATION_INVALID``."""
        account_id = await self._credentials.confirm(fingerprint(code.strip()), self._clock())
        if account_id is None:
            message = "This code is not valid, or not any more. Ask for a new one with requestEmailConfirmation."
            raise Refusal(Code.CONFIRMATION_INVALID, message, "code")
        return account_id

    async def request_confirmation(self, account_id: Id) -> bool:
        """Mail a new code to the account's address; older ones no longer work. False: it is confirmed already."""
        held = await self._credentials.of_account(account_id)
        if held is None or held.email_confirmed_at is not None:
            return False
        events = (await self._store.load([account_id]))[account_id]
        name = next((recorded.event.name for recorded in events if isinstance(recorded.event, AccountRegistered)), "")
        await self._attempts.take([Bucket("confirmation", account_id, self._limits.confirmations_per_account)])
        await self._mail_code(account_id, held.email, name)
        return True

    async def _find(self, identifier: str) -> Held | None:
        """The credentials behind a name or an e-mail address. Names are looked up in their claims, which are exact."""
        if "@" in identifier:
            try:
                held = await self._credentials.of_email(checked_email(identifier))
            except Refusal:
                return None
            return held if held is not None and await self._exists(held) else None
        stream_id = claim_id("account", identifier, self._name_key)
        claim = (await self._store.load([stream_id]))[stream_id]
        holders = [recorded.event.holder_id for recorded in claim if isinstance(recorded.event, NameClaimed)]
        # A name that nobody has is looked up too, under an id that no account has: the same work either way.
        return await self._credentials.of_account(holders[-1] if holders else stream_id)

    async def _exists(self, held: Held) -> bool:
        """Whether the account was registered; settles the row of one whose sign-up was cut off just after."""
        if held.registered_at is not None:
            return True
        if not (await self._store.load([held.account_id]))[held.account_id]:
            return False
        return await self._credentials.settle(held, self._clock())

    async def _reserve(self, account_id: Id, email: str, password_hash: str) -> Held:
        now = self._clock()
        if not await self._credentials.reserve(account_id, email, password_hash, now):
            other = await self._credentials.of_email(email)
            if other is not None and await self._exists(other):
                raise _email_taken()
            if other is not None and now - other.created_at < timedelta(seconds=self._limits.abandoned_seconds):
                raise _email_taken()
            if other is not None:
                await self._credentials.give_back(other.account_id)
            if not await self._credentials.reserve(account_id, email, password_hash, now):
                raise _email_taken()
        return Held(account_id, email, password_hash, now, None, None)

    async def _same_person(self, held: Held, email: str, password: str) -> None:
        """A repeated sign-up must bring the same address and password: the key alone opens no account."""
        right = await self._passwords.verify(password, held.password_hash)
        if not right or held.email.lower() != email.lower():
            message = "This idempotency key was used to sign up already. Sign in, or sign up with a new key."
            raise Refusal(Code.CREDENTIALS_INVALID, message)

    async def _mail_code(self, account_id: Id, email: str, name: str) -> None:
        code = token_urlsafe(16)
        seconds = self._limits.confirmation_seconds
        expires_at = self._clock() + timedelta(seconds=seconds)
        await self._credentials.expect_confirmation(account_id, fingerprint(code), email, expires_at)
        await self._mailbox.send(
            email, "Confirm your e-mail address", confirmation_body(name, code, seconds // 3600, account_id)
        )


def _email_taken() -> Refusal:
    message = "An account with this e-mail address exists. Sign in, or use another address."
    return Refusal(Code.EMAIL_TAKEN, message, "email")
