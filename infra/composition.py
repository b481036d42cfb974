"""The composition root: which adapters stand behind the ports, chosen in this one file, from validated settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from commands.handling import Commands
from domain import snowflake
from infra.attempts import Attempts, Rate
from infra.breaker import Breaker, breaker_limits
from infra.cassandra.history import CassandraHistory
from infra.cassandra.log import LogStore
from infra.cassandra.opening import cassandra_client
from infra.credentials import Credentials
from infra.event_store import GroupCommitStore, postgres_store
from infra.failures import Failure
from infra.guarded_pool import GuardedPool, PostgresAway, guarded_pool
from infra.guarded_redis import RedisAway, guarded_redis
from infra.keyring import Keyring
from infra.mail import Mailbox
from infra.measured_commands import MeasuredCommands
from infra.pace import RedisPace
from infra.passwords import Passwords
from infra.presence import Presences, presence_limits
from infra.progress import Progress
from infra.queries.messages import MessageLog, PostgresMessages, months
from infra.reads import ReadLimits, Reads
from infra.recorders import NotSent
from infra.secrets import Secrets, load_secrets
from infra.sessions import SessionLimits, Sessions
from infra.settings import Settings
from infra.sign_in import SignIn, SignInLimits
from infra.signals import RedisPublisher, RedisSignals, publishing_client
from infra.snowflakes import NoIds, Snowflakes
from infra.tokens import AccessTokens
from projections.messages import messages


class Moot(Struct, frozen=True, kw_only=True, weakref=True):
    """One process's Moot: everything that requests, subscriptions and commands need, open and ready.

    ``pool`` is of the primary; queries of the views go through ``reads``, which knows of the replica.
    ``store``, ``keyring`` and ``publisher`` may be used from any thread; the rest belongs to the event loop that
    opened it. ``database_url`` is for those who open connections of their own: the runner, a rebuild.
    """

    settings: Settings
    database_url: str
    clock: Callable[[], datetime]
    store: GroupCommitStore
    keyring: Keyring
    commands: Commands
    pool: GuardedPool
    reads: Reads
    messages: MessageLog
    redis: Redis
    signals: RedisSignals
    presences: Presences
    progress: Progress
    publisher: RedisPublisher
    sessions: Sessions
    sign_in: SignIn
    mailbox: Mailbox
    secrets: Secrets


class NumbersTaken(Failure):
    """All numbers under which ids are made are held by other processes."""


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_moot(settings: Settings, clock: Callable[[], datetime] = utc_now) -> AsyncIterator[Moot]:
    """Moot over the engines that the settings name (see ``Engines.settings``), until the block is left.

    The database must be migrated and the data directory must hold the secrets. Raises ``Failure`` where they do not,
    and ``PoolTimeout`` when PostgreSQL does not answer.
    """
    database_url, redis_url = settings.engine_urls()
    secrets = load_secrets(settings.secrets_place)
    async with AsyncExitStack() as stack:
        store = postgres_store(
            database_url,
            secrets.master_key,
            clock=clock,
            limits=settings.store_limits,
            breaker=Breaker("event store", breaker_limits(settings), refusal=NotSent),
        )
        stack.callback(store.close)
        pool = _pool(settings, "postgres", database_url, settings.pool_wait_seconds_max)
        await pool.open(wait=True, timeout=settings.pool_wait_seconds_max)
        stack.push_async_callback(pool.close)
        replica = None
        if settings.database_replica_url is not None:
            url, wait_seconds_max = settings.database_replica_url.get_secret_value(), settings.replica_wait_seconds_max
            replica = _pool(settings, "replica", url, wait_seconds_max)
            await replica.open()  # not waited for: without it the primary answers
            stack.push_async_callback(replica.close)
        client = guarded_redis(settings, redis_url, Breaker("redis", breaker_limits(settings), refusal=RedisAway))
        stack.push_async_callback(client.aclose)
        signals = RedisSignals(client)
        await signals.open()
        stack.push_async_callback(signals.close)
        presences = Presences(client, presence_limits(settings))
        await presences.open()
        stack.push_async_callback(presences.close)
        progress = Progress(signals, pool, wait_seconds_max=settings.position_wait_seconds_max)
        pool.on_broken = progress.doubt
        await progress.open()
        stack.push_async_callback(progress.close)
        publishing = publishing_client(redis_url, settings.redis_publish_seconds_max)
        stack.callback(publishing.close)
        passwords = Passwords(
            at_once=settings.password_hashes_at_once_max, waiting_max=settings.password_hashes_waiting_max
        )
        stack.callback(passwords.close)
        history: MessageLog = PostgresMessages()
        if (cassandra := cassandra_client(settings)) is not None:
            stack.callback(cassandra.close)
            log = LogStore(cassandra)
            history = CassandraHistory(log, messages, month_of=snowflake.month, months_of=months)
        message_ids = Snowflakes(pool)
        try:
            await message_ids.open()
        except NoIds as error:
            raise NumbersTaken(
                "This process cannot make ids of messages.",
                str(error),
                "Stop other processes of moot api; each number is free 30 s after its holder has ended.",
            ) from error
        stack.push_async_callback(message_ids.close)
        commands = MeasuredCommands(
            store,
            clock,
            secrets.name_key,
            settings.rules,
            message_ids=message_ids,
            pace=RedisPace(client, seconds_max=settings.pace_redis_seconds_max),
        )
        sessions = _sessions(settings, secrets, pool, client, clock)
        mailbox = Mailbox(pool, clock=clock)
        yield Moot(
            settings=settings,
            database_url=database_url,
            clock=clock,
            store=store,
            keyring=store.codec.keyring,
            commands=commands,
            pool=pool,
            reads=Reads(pool, replica, limits=_read_limits(settings)),
            messages=history,
            redis=client,
            signals=signals,
            presences=presences,
            progress=progress,
            publisher=RedisPublisher(publishing, Breaker("redis publisher", breaker_limits(settings))),
            sessions=sessions,
            sign_in=SignIn(
                store=store,
                commands=commands,
                name_key=secrets.name_key,
                credentials=Credentials(pool),
                passwords=passwords,
                sessions=sessions,
                attempts=Attempts(
                    client, secrets.token_key, clock=clock, redis_seconds_max=settings.session_redis_seconds_max
                ),
                mailbox=mailbox,
                clock=clock,
                limits=_sign_in_limits(settings),
            ),
            mailbox=mailbox,
            secrets=secrets,
        )


def _pool(settings: Settings, name: str, url: str, wait_seconds_max: float) -> GuardedPool:
    return guarded_pool(
        url,
        min_size=settings.pool_connections_min,
        max_size=settings.pool_connections_max,
        wait_seconds_max=wait_seconds_max,
        answer_seconds_max=settings.pool_answer_seconds_max,
        breaker=Breaker(name, breaker_limits(settings), refusal=PostgresAway),
        name=name,
    )


def _read_limits(settings: Settings) -> ReadLimits:
    return ReadLimits(settings.read_attempts_max, settings.read_retry_seconds_max, settings.replica_retry_seconds)


def _sign_in_limits(settings: Settings) -> SignInLimits:
    return SignInLimits(
        per_account=Rate(settings.sign_ins_per_account_max, settings.sign_ins_per_account_seconds),
        per_address=Rate(settings.sign_ins_per_address_max, settings.sign_ins_per_address_seconds),
        sign_ups_per_address=Rate(settings.sign_ups_per_address_max, settings.sign_ups_per_address_seconds),
        confirmations_per_account=Rate(
            settings.confirmations_per_account_max, settings.confirmations_per_account_seconds
        ),
        abandoned_seconds=settings.sign_up_abandoned_seconds,
        confirmation_seconds=settings.confirmation_seconds,
    )


def _sessions(
    settings: Settings,
    secrets: Secrets,
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    client: Redis,
    clock: Callable[[], datetime],
) -> Sessions:
    limits = SessionLimits(
        access_seconds=settings.access_token_seconds,
        refresh_seconds=settings.refresh_token_seconds,
        session_seconds_max=settings.session_seconds_max,
        retry_seconds=settings.refresh_retry_seconds,
        skew_seconds=settings.access_token_skew_seconds,
        sessions_max=settings.sessions_max,
        redis_seconds_max=settings.session_redis_seconds_max,
    )
    tokens = AccessTokens(
        [secrets.token_key],
        lifetime_seconds=limits.access_seconds,
        skew_seconds=limits.skew_seconds,
        clock=clock,
    )
    return Sessions(pool, client, tokens, secrets.token_key, clock=clock, limits=limits)
