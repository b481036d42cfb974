"""Sessions: from a sign-in to a sign-out, across refreshes, processes and an unreachable Redis.

PostgreSQL has the truth. Redis remembers what PostgreSQL said of a session (see ``session_marks``), so that a request
costs one look-up there and none in PostgreSQL. Where Redis knows nothing, or is away, PostgreSQL is asked.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import digest
from secrets import token_urlsafe
from typing import Literal
from uuid import uuid4

import structlog
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from domain.event import Id
from domain.refusal import Code, Refusal
from infra.session_marks import LIVE_SECONDS, SessionMarks
from infra.tokens import AccessTokens, EndedSession, fingerprint, new_refresh_token, successor

EndedBy = Literal["sign_out", "sign_out_everywhere", "reuse", "too_many"]
Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

CLIENT_LENGTH_MAX = 200
"""Characters of the User-Agent that are kept, for the owner to tell sessions apart."""

_log = structlog.get_logger(__name__)


class Viewer(Struct, frozen=True):
    """Who asks: an account, in one of its sessions, with an access token good until ``expires_at`` (UTC)."""

    account_id: Id
    session_id: Id
    expires_at: datetime


class Grant(Struct, frozen=True):
    """What a sign-in or a refresh gives. The refresh token is good once, until ``refresh_expires_at`` (UTC)."""

    account_id: Id
    session_id: Id
    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_expires_at: datetime

    def __repr__(self) -> str:
        return f"Grant({self.account_id}, {self.session_id}, …)"


class Session(Struct, frozen=True):
    """One sign-in that goes on. Times are UTC; ``used_at`` is that of the last refresh."""

    session_id: Id
    client: str
    begun_at: datetime
    used_at: datetime
    expires_at: datetime


class SessionLimits(Struct, frozen=True):
    """Seconds, except ``sessions_max``: the sessions of one account; one more ends the oldest.

    ``refresh_seconds`` is the life of a refresh token, ``session_seconds_max`` that of a session however often it is
    refreshed, ``retry_seconds`` for how long the same refresh may be asked again after its answer was lost.
    """

    access_seconds: int = 15 * 60
    refresh_seconds: int = 7 * 24 * 60 * 60
    session_seconds_max: int = 90 * 24 * 60 * 60
    retry_seconds: int = 60
    skew_seconds: int = 10
    sessions_max: int = 50
    redis_seconds_max: float = 0.5


class _Spent(Struct, frozen=True):
    """A refresh token as it is found, with what its session says."""

    session_id: Id
    account_id: Id
    expires_at: datetime
    used_at: datetime | None
    successor_hash: bytes | None
    successor_used_at: datetime | None
    session_expires_at: datetime
    ended_at: datetime | None


class Sessions:
    """Begins, refreshes, checks and ends sessions. ``secret`` is that of the access tokens."""

    def __init__(
        self,
        pool: Pool,
        redis: Redis,
        tokens: AccessTokens,
        secret: bytes,
        *,
        clock: Callable[[], datetime],
        limits: SessionLimits,
    ) -> None:
        self._pool = pool
        self._marks = SessionMarks(redis, seconds_max=limits.redis_seconds_max)
        self._tokens = tokens
        self._secret = digest(secret, b"moot refresh tokens", sha256)
        self._clock = clock
        self._limits = limits

    async def begin(self, account_id: Id, client: str) -> Grant:
        """A new session of that account. ``client`` is the User-Agent. What is over long since is swept out."""
        now = self._clock()
        session_id, token = Id(str(uuid4())), new_refresh_token()
        session_ends = now + timedelta(seconds=self._limits.session_seconds_max)
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_SWEEP, {"account_id": account_id, "now": now, "kept": timedelta(days=7)})
            ended = await connection.execute(
                _END_OLDEST, {"account_id": account_id, "now": now, "kept": self._limits.sessions_max - 1}
            )
            too_many = [row[0] for row in await ended.fetchall()]
            await connection.execute(
                _BEGIN,
                {
                    "session_id": session_id,
                    "account_id": account_id,
                    "client": "".join(c if c.isprintable() else " " for c in client)[:CLIENT_LENGTH_MAX],
                    "now": now,
                    "expires_at": session_ends,
                },
            )
            expires_at = await self._keep(connection, session_id, token, now, session_ends)
        for old in too_many:
            await self._announce(old)
        return self._grant(account_id, session_id, token, expires_at)

    async def refresh(self, token: str, retry_key: str | None = None) -> Grant:
        """The next access and refresh token for this one, which is used up by it.

        A token that comes again was stolen, or its successor was: the session ends, whoever asks. The one exception
        is a client that did not get its answer: the same ``retry_key``, which travels with no cookie, within
        ``retry_seconds`` and while the successor is unused, gives the same successor again.
        Raises ``Refusal`` (``SESSION_ENDED``).
        """
        now = self._clock()
        next_token = successor(self._secret, token, retry_key or token_urlsafe(32))
        async with self._pool.connection() as connection, connection.transaction():
            found = await self._find(connection, token)
            if found is None or found.ended_at or min(found.expires_at, found.session_expires_at) <= now:
                raise _session_over()
            reused = found.used_at is not None and not self._is_retry(found, next_token, now)
            if reused:
                await connection.execute(_END, {"session_id": found.session_id, "now": now, "by": "reuse"})
            elif found.used_at is None:
                await connection.execute(
                    _USE,
                    {
                        "session_id": found.session_id,
                        "hash": fingerprint(token),
                        "successor": fingerprint(next_token),
                        "now": now,
                    },
                )
                await self._keep(connection, found.session_id, next_token, now, found.session_expires_at)
        if reused:
            await self._announce(found.session_id)
            _log.warning("a refresh token came back; its session was ended", session_id=found.session_id)
            raise _session_over()
        expires_at = self._refresh_ends(found.used_at or now, found.session_expires_at)
        return self._grant(found.account_id, found.session_id, next_token, expires_at)

    async def authenticate(self, token: str) -> Viewer:
        """Whose access token this is. Raises ``InvalidToken``, ``ExpiredToken`` or ``EndedSession``."""
        claims = self._tokens.read(token)
        if not await self._goes_on(claims.session_id, claims.account_id):
            raise EndedSession
        return Viewer(claims.account_id, claims.session_id, claims.expires_at)

    async def end(self, session_id: Id, account_id: Id) -> bool:
        """Sign out: tokens of the session are refused from now on, here and in every process. False: it was over."""
        return bool(await self._end(_END_OWN, "sign_out", session_id=session_id, account_id=account_id))

    async def end_by_refresh_token(self, token: str) -> bool:
        """Sign out with nothing but the refresh token, as a client does whose access token has expired."""
        return bool(await self._end(_END_BY_REFRESH, "sign_out", hash=fingerprint(token)))

    async def end_all(self, account_id: Id) -> int:
        """Sign the account out everywhere. Gives how many sessions that ended."""
        return len(await self._end(_END_ALL, "sign_out_everywhere", account_id=account_id))

    async def of_account(self, account_id: Id) -> list[Session]:
        """The sessions of the account that go on, the one used last first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Session)) as cursor:
            await cursor.execute(_OF_ACCOUNT, {"account_id": account_id, "now": self._clock()})
            return await cursor.fetchall()

    async def _goes_on(self, session_id: Id, account_id: Id) -> bool:
        known = await self._marks.goes_on(session_id)
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    _GOES_ON, {"session_id": session_id, "account_id": account_id, "now": self._clock()}
                )
            ).fetchone()
        if row is None:
            return False
        # Should the session end between that look-up and this line, the end is remembered already and stays.
        await self._marks.live(session_id)
        return True

    async def _end(self, statement: str, by: EndedBy, **of: object) -> list[Id]:
        async with self._pool.connection() as connection:
            result = await connection.execute(statement, {"by": by, "now": self._clock(), **of})
            ended: list[Id] = [row[0] for row in await result.fetchall()]
        for session_id in ended:
            await self._announce(session_id)
        return ended

    async def _announce(self, session_id: Id) -> None:
        """Tell every process that the session is over. It is committed already: without Redis all ask PostgreSQL."""
        await self._marks.ended(session_id, self._limits.access_seconds + self._limits.skew_seconds + LIVE_SECONDS)

    async def _find(self, connection: AsyncConnection[TupleRow], token: str) -> _Spent | None:
        """The token, its session locked: of two that bring it at once, one comes second and sees it used."""
        hashed = {"hash": fingerprint(token)}
        async with connection.cursor(row_factory=class_row(_Spent)) as cursor:
            await cursor.execute(_LOCK, hashed)
            await cursor.execute(_FIND, hashed)
            return await cursor.fetchone()

    def _is_retry(self, found: _Spent, next_token: str, now: datetime) -> bool:
        return (
            found.used_at is not None
            and now - found.used_at <= timedelta(seconds=self._limits.retry_seconds)
            and found.successor_hash == fingerprint(next_token)
            and found.successor_used_at is None
        )

    async def _keep(
        self, connection: AsyncConnection[TupleRow], session_id: Id, token: str, now: datetime, session_ends: datetime
    ) -> datetime:
        expires_at = self._refresh_ends(now, session_ends)
        await connection.execute(
            _KEEP, {"hash": fingerprint(token), "session_id": session_id, "expires_at": expires_at}
        )
        return expires_at

    def _refresh_ends(self, issued_at: datetime, session_ends: datetime) -> datetime:
        return min(issued_at + timedelta(seconds=self._limits.refresh_seconds), session_ends)

    def _grant(self, account_id: Id, session_id: Id, token: str, expires_at: datetime) -> Grant:
        return Grant(
            account_id=account_id,
            session_id=session_id,
            access_token=self._tokens.issue(account_id, session_id),
            access_seconds=self._limits.access_seconds,
            refresh_token=token,
            refresh_expires_at=expires_at,
        )


def _session_over() -> Refusal:
    return Refusal(Code.SESSION_ENDED, "This session has ended. Sign in again.")


_BEGIN = """
INSERT INTO people.sessions (session_id, account_id, client, begun_at, used_at, expires_at)
VALUES (%(session_id)s, %(account_id)s, %(client)s, %(now)s, %(now)s, %(expires_at)s)
"""
_KEEP = """
INSERT INTO people.refresh_tokens (token_hash, session_id, expires_at) VALUES (%(hash)s, %(session_id)s, %(expires_at)s)
"""
_LOCK = """
SELECT 1 FROM people.sessions
WHERE session_id = (SELECT session_id FROM people.refresh_tokens WHERE token_hash = %(hash)s)
FOR UPDATE
"""
_FIND = """
SELECT s.session_id, s.account_id, t.expires_at, t.used_at, t.successor_hash, n.used_at AS successor_used_at,
       s.expires_at AS session_expires_at, s.ended_at
FROM people.refresh_tokens t
JOIN people.sessions s USING (session_id)
LEFT JOIN people.refresh_tokens n ON n.token_hash = t.successor_hash
WHERE t.token_hash = %(hash)s
"""
"""A statement of its own, after the lock: what one statement reads is as of its beginning."""
_USE = """
WITH used AS (
    UPDATE people.refresh_tokens SET used_at = %(now)s, successor_hash = %(successor)s WHERE token_hash = %(hash)s
), swept AS (
    DELETE FROM people.refresh_tokens WHERE session_id = %(session_id)s AND expires_at <= %(now)s
)
UPDATE people.sessions SET used_at = %(now)s WHERE session_id = %(session_id)s
"""
_END = """
UPDATE people.sessions SET ended_at = %(now)s, ended_by = %(by)s
WHERE session_id = %(session_id)s AND ended_at IS NULL
RETURNING session_id
"""
_END_OWN = """
UPDATE people.sessions SET ended_at = %(now)s, ended_by = %(by)s
WHERE session_id = %(session_id)s AND account_id = %(account_id)s AND ended_at IS NULL
RETURNING session_id
"""
_END_BY_REFRESH = """
UPDATE people.sessions SET ended_at = %(now)s, ended_by = %(by)s
WHERE session_id = (SELECT session_id FROM people.refresh_tokens WHERE token_hash = %(hash)s) AND ended_at IS NULL
RETURNING session_id
"""
_END_ALL = """
UPDATE people.sessions SET ended_at = %(now)s, ended_by = %(by)s
WHERE account_id = %(account_id)s AND ended_at IS NULL
RETURNING session_id
"""
_END_OLDEST = """
UPDATE people.sessions SET ended_at = %(now)s, ended_by = 'too_many'
WHERE session_id IN (
    SELECT session_id FROM people.sessions
    WHERE account_id = %(account_id)s AND ended_at IS NULL
    ORDER BY used_at DESC, session_id OFFSET %(kept)s
)
RETURNING session_id
"""
_SWEEP = """
DELETE FROM people.sessions
WHERE account_id = %(account_id)s AND least(ended_at, expires_at) < %(now)s - %(kept)s
"""
_GOES_ON = """
SELECT 1 FROM people.sessions
WHERE session_id = %(session_id)s AND account_id = %(account_id)s AND ended_at IS NULL AND expires_at > %(now)s
"""
_OF_ACCOUNT = """
SELECT session_id, client, begun_at, used_at, expires_at FROM people.sessions s
WHERE account_id = %(account_id)s AND ended_at IS NULL AND expires_at > %(now)s
  AND EXISTS (SELECT FROM people.refresh_tokens t WHERE t.session_id = s.session_id AND t.used_at IS NULL
              AND t.expires_at > %(now)s)
ORDER BY used_at DESC, session_id
"""
