"""Everything behind signing in, put together over real engines, with a clock that the test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from argon2 import Parameters
from argon2.profiles import CHEAPEST
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from commands.handling import Caller, Commands
from commands.ports import EventStore
from domain.event import Id
from infra.attempts import Attempts
from infra.credentials import Credentials
from infra.event_store import memory_store
from infra.mail import Mailbox
from infra.migrate import migrate
from infra.passwords import Passwords
from infra.postgres import pool as open_pool
from infra.sessions import SessionLimits, Sessions
from infra.sign_in import Form, SignIn, SignInLimits, Source
from infra.tokens import AccessTokens
from tests.domain.world import messaging

SECRET = bytes(range(32))
NAME_KEY = bytes(range(1, 33))
PASSWORD = "a tree on a hill"
HERE = Source("192.0.2.7", "test/1.0")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class World(Struct, frozen=True):
    """The parts, by name."""

    clock: Clock
    pool: AsyncConnectionPool[AsyncConnection[TupleRow]]
    redis: Redis
    store: EventStore
    commands: Commands
    tokens: AccessTokens
    sessions: Sessions
    credentials: Credentials
    attempts: Attempts
    passwords: Passwords
    mailbox: Mailbox
    sign_in: SignIn

    async def rows(self, statement: str, *values: object) -> list[TupleRow]:
        """What the database says."""
        async with self.pool.connection() as connection:
            return await (await connection.execute(statement, values)).fetchall()


@asynccontextmanager
async def world(
    database: str,
    redis_url: str,
    *,
    store: EventStore | None = None,
    clock: Clock | None = None,
    limits: SignInLimits | None = None,
    session_limits: SessionLimits | None = None,
    profile: Parameters = CHEAPEST,
) -> AsyncIterator[World]:
    """One process of a site. A second one over the same engines sees what the first did."""
    migrate(database)
    clock = clock or Clock()
    store = store or memory_store(clock=clock)
    session_limits = session_limits or SessionLimits()
    pool = open_pool(database, max_size=4)
    await pool.open()
    redis = Redis.from_url(redis_url)
    passwords = Passwords(at_once=2, waiting_max=8, profile=profile)
    tokens = AccessTokens(
        [SECRET],
        lifetime_seconds=session_limits.access_seconds,
        skew_seconds=session_limits.skew_seconds,
        clock=clock,
    )
    commands = Commands(store, clock, NAME_KEY, **messaging())
    sessions = Sessions(pool, redis, tokens, SECRET, clock=clock, limits=session_limits)
    credentials = Credentials(pool)
    attempts = Attempts(redis, SECRET, clock=clock, redis_seconds_max=5)
    mailbox = Mailbox(pool, clock=clock)
    sign_in = SignIn(
        store=store,
        commands=commands,
        name_key=NAME_KEY,
        credentials=credentials,
        passwords=passwords,
        sessions=sessions,
        attempts=attempts,
        mailbox=mailbox,
        clock=clock,
        limits=limits or SignInLimits(),
    )
    try:
        yield World(
            clock,
            pool,
            redis,
            store,
            commands,
            tokens,
            sessions,
            credentials,
            attempts,
            passwords,
            mailbox,
            sign_in,
        )
    finally:
        passwords.close()
        await redis.aclose()
        await pool.close()


def new_id() -> Id:
    """An id that nothing has."""
    return Id(str(uuid4()))


def visitor(key: str | None = None) -> Caller:
    """Somebody who is not signed in."""
    return Caller(account_id=None, correlation_id=new_id(), idempotency_key=key)


def form(name: str = "ada", email: str = "", password: str = PASSWORD) -> Form:
    """A filled-in form."""
    return Form(name=name, display_name="", email=email or f"{name}@example.org", password=password)
