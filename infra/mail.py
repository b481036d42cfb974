"""Mail, captured: what would be sent is kept in a table and shown on a page of the machine that runs Moot."""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

from domain.event import Id


class Mail(Struct, frozen=True):
    """One mail in plain text. ``sent_at`` is UTC; ``mail_id`` grows with every mail."""

    mail_id: int
    recipient: str
    subject: str
    body: str
    sent_at: datetime

    def __repr__(self) -> str:
        return f"Mail({self.mail_id}, …)"


class Mailbox:
    """The captured mail. It keeps the newest ``kept_max`` mails, and none longer than ``days_max``."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        *,
        clock: Callable[[], datetime],
        kept_max: int = 1_000,
        days_max: int = 7,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._kept_max = kept_max
        self._kept = timedelta(days=days_max)

    async def send(self, recipient: str, subject: str, body: str) -> int:
        """Capture a mail; gives its id. What is too old or too many goes."""
        now = self._clock()
        async with self._pool.connection() as connection, connection.transaction():
            row = await (
                await connection.execute(_SEND, {"recipient": recipient, "subject": subject, "body": body, "now": now})
            ).fetchone()
            assert row is not None
            await connection.execute(_DROP, {"before": now - self._kept, "kept_max": self._kept_max})
        return int(row[0])

    async def newest(self, limit: int, before: int | None = None) -> list[Mail]:
        """At most ``limit`` mails, newest first: those with an id below ``before``, where given."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Mail)) as cursor:
            await cursor.execute(_NEWEST, {"before": before, "limit": limit})
            return await cursor.fetchall()

    async def read(self, mail_id: int) -> Mail | None:
        """That mail, or ``None`` when there is none, or no longer."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Mail)) as cursor:
            await cursor.execute(_READ, {"mail_id": mail_id})
            return await cursor.fetchone()


def confirmation_body(name: str, code: str, hours: int, account_id: Id) -> str:
    """What a new account's owner reads."""
    return (
        f"Hello {name},\n\n"
        "somebody, most likely you, gave this e-mail address to an account of that name.\n"
        "To confirm that it is yours, send this code:\n\n"
        f"    {code}\n\n"
        "in GraphiQL, or wherever you use Moot:\n\n"
        f'    mutation {{ confirmEmail(input: {{ code: "{code}" }}) {{ errors {{ message }} }} }}\n\n'
        f"It works once, for {hours} hours. If it was not you, do nothing.\n\n"
        f"Account {account_id}\n"
    )


_SEND = """
INSERT INTO people.mail (recipient, subject, body, sent_at)
VALUES (%(recipient)s, %(subject)s, %(body)s, %(now)s)
RETURNING mail_id
"""
_DROP = """
DELETE FROM people.mail
WHERE sent_at < %(before)s
   OR mail_id <= (SELECT mail_id FROM people.mail ORDER BY mail_id DESC OFFSET %(kept_max)s LIMIT 1)
"""
_NEWEST = """
SELECT mail_id, recipient, subject, body, sent_at FROM people.mail
WHERE %(before)s::bigint IS NULL OR mail_id < %(before)s
ORDER BY mail_id DESC LIMIT %(limit)s
"""
_READ = "SELECT mail_id, recipient, subject, body, sent_at FROM people.mail WHERE mail_id = %(mail_id)s"
