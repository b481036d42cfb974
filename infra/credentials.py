"""Credentials: e-mail address, password hash, and whether the address is confirmed. One table, one place.

A row is written before the account's first event, so that two sign-ups cannot both get an address, and counts once
that event is there (``registered_at``). The event decides: a row without it, left by a sign-up that was cut off, is
settled when the event is found, and otherwise gives its address back.
"""

import re
from datetime import datetime

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

from domain.event import Id
from domain.refusal import Code, Refusal

EMAIL_LENGTH_MAX = 254
"""Octets of a whole address: RFC 5321, section 4.5.3.1.3, less the angle brackets."""
LOCAL_PART_LENGTH_MAX = 64
"""Octets before the @: RFC 5321, section 4.5.3.1.1."""

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


def checked_email(email: str) -> str:
    """The address without the blanks around it, if mail could go there.

    The dot-atom form of RFC 5322, section 3.4.1, at a domain with a dot, in ASCII; international domains in their
    ``xn--`` form. Quoted local parts and address literals are typing errors more often than addresses.
    Raises ``Refusal`` (``EMAIL_INVALID``, ``TOO_LONG``).
    """
    address = email.strip(" ")
    local, at, domain = address.rpartition("@")
    if len(address) > EMAIL_LENGTH_MAX or len(local) > LOCAL_PART_LENGTH_MAX:
        message = f"An e-mail address has at most {EMAIL_LENGTH_MAX} characters, {LOCAL_PART_LENGTH_MAX} before the @."
        raise Refusal(Code.TOO_LONG, message, "email")
    labels = domain.split(".")
    valid = at and _LOCAL_PART.match(local) and len(labels) > 1 and all(_LABEL.match(label) for label in labels)
    if not valid or labels[-1].isdigit():
        message = "This is not an e-mail address that mail can be sent to. It looks like name@example.org."
        raise Refusal(Code.EMAIL_INVALID, message, "email")
    return address


class Held(Struct, frozen=True):
    """The credentials of one account. Times are UTC; ``registered_at`` is ``None`` until it is known to exist."""

    account_id: Id
    email: str
    password_hash: str
    created_at: datetime
    registered_at: datetime | None
    email_confirmed_at: datetime | None

    def __repr__(self) -> str:
        return f"Held({self.account_id}, …)"


class Credentials:
    """The table of credentials, and that of the codes that confirm an address."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
        self._pool = pool

    async def of_account(self, account_id: Id) -> Held | None:
        """The credentials of that account, if it has any."""
        return await self._one(_SELECT + "WHERE account_id = %(account_id)s", account_id=account_id)

    async def of_email(self, email: str) -> Held | None:
        """The credentials with that address; capitals make no difference."""
        return await self._one(_SELECT + "WHERE lower(email) = lower(%(email)s)", email=email)

    async def reserve(self, account_id: Id, email: str, password_hash: str, now: datetime) -> bool:
        """Write the row of an account about to be registered; again, with other values, as long as it is not.

        False: the address belongs to another row, or the account is registered already.
        """
        try:
            return await self._changed(
                _RESERVE, account_id=account_id, email=email, password_hash=password_hash, now=now
            )
        except UniqueViolation:
            return False

    async def settle(self, held: Held, now: datetime) -> bool:
        """The account exists: its row counts from now on, and is put back if it is gone.

        False: the address is somebody else's by now.
        """
        try:
            return await self._changed(
                _SETTLE, account_id=held.account_id, email=held.email, password_hash=held.password_hash, now=now
            )
        except UniqueViolation:
            return False

    async def give_back(self, account_id: Id) -> None:
        """Remove the row of an account that was not registered."""
        await self._changed(_GIVE_BACK, account_id=account_id)

    async def rehash(self, account_id: Id, old: str, new: str) -> None:
        """Replace a hash by a newer one of the same password, unless the password changed meanwhile."""
        await self._changed(_REHASH, account_id=account_id, old=old, new=new)

    async def expect_confirmation(self, account_id: Id, code_hash: bytes, email: str, expires_at: datetime) -> None:
        """From now on this code, and no earlier one, confirms that address of the account."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_FORGET_CODES, {"account_id": account_id})
            await connection.execute(
                _EXPECT,
                {"account_id": account_id, "code_hash": code_hash, "email": email, "expires_at": expires_at},
            )

    async def confirm(self, code_hash: bytes, now: datetime) -> Id | None:
        """Use a code: gives whose address it confirmed. ``None``: there is no such code, or not any more.

        Using it again before it expires changes nothing and gives the same: an answer that got lost can be had again.
        """
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_CONFIRM, {"code_hash": code_hash, "now": now})).fetchone()
        return Id(row[0]) if row else None

    async def _one(self, statement: str, **values: object) -> Held | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Held)) as cursor:
            await cursor.execute(statement, values)
            return await cursor.fetchone()

    async def _changed(self, statement: str, **values: object) -> bool:
        async with self._pool.connection() as connection:
            return (await connection.execute(statement, values)).rowcount > 0


_SELECT = """
SELECT account_id, email, password_hash, created_at, registered_at, email_confirmed_at FROM people.credentials
"""
_RESERVE = """
INSERT INTO people.credentials (account_id, email, password_hash, created_at)
VALUES (%(account_id)s, %(email)s, %(password_hash)s, %(now)s)
ON CONFLICT (account_id) DO UPDATE
SET email = EXCLUDED.email, password_hash = EXCLUDED.password_hash, created_at = EXCLUDED.created_at
WHERE people.credentials.registered_at IS NULL
"""
_SETTLE = """
INSERT INTO people.credentials (account_id, email, password_hash, created_at, registered_at)
VALUES (%(account_id)s, %(email)s, %(password_hash)s, %(now)s, %(now)s)
ON CONFLICT (account_id) DO UPDATE
SET registered_at = coalesce(people.credentials.registered_at, EXCLUDED.registered_at)
"""
_GIVE_BACK = "DELETE FROM people.credentials WHERE account_id = %(account_id)s AND registered_at IS NULL"
_REHASH = """
UPDATE people.credentials SET password_hash = %(new)s WHERE account_id = %(account_id)s AND password_hash = %(old)s
"""
_FORGET_CODES = "DELETE FROM people.email_confirmations WHERE account_id = %(account_id)s"
_EXPECT = """
INSERT INTO people.email_confirmations (code_hash, account_id, email, expires_at)
VALUES (%(code_hash)s, %(account_id)s, %(email)s, %(expires_at)s)
"""
_CONFIRM = """
WITH used AS (
    UPDATE people.email_confirmations SET used_at = coalesce(used_at, %(now)s)
    WHERE code_hash = %(code_hash)s AND expires_at > %(now)s
    RETURNING account_id, email
)
UPDATE people.credentials c SET email_confirmed_at = coalesce(c.email_confirmed_at, %(now)s)
FROM used WHERE c.account_id = used.account_id AND c.email = used.email
RETURNING c.account_id
"""
