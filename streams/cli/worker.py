"""``moot worker``: the role that keeps the views of a fleet."""

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer
import uvloop
from rich.markup import escape

from infra.breaker import Breaker, breaker_limits
from infra.cassandra.opening import message_log
from infra.codec import Codec
from infra.guarded_pool import PostgresAway
from infra.kafka.opening import kafka_log
from infra.keyring import Keyring, PostgresKeys
from infra.recorders import Datastore
from infra.secrets import load_secrets
from infra.settings import Settings
from infra.signals import RedisPublisher, publishing_client
from infra.telemetry.serving import telemetry
from projections.catalogue import GROUPS
from streams.cli.console import OK, DataDir, Refused, words
from streams.cli.fleet import database, database_url
from streams.limits import worker_limits
from streams.worker.role import GroupStatus, Means, Worker

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_SECONDS_MAX = 8.0
"""How long a worker that was told to stop may take: less than the 10 s after which Docker kills it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    groups: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GROUP]…", help=f"Which views: {', '.join(GROUPS)}. [default: all]"),
    ] = None,
    data_dir: DataDir = None,
) -> int:
    """Keep views up to date from Kafka, until told to stop.

    Start any number, of all groups or of some: those of one group share its partitions, and take over from one that
    is gone. It waits for whatever is away. Exit code 4: it did not get on, for no reason it could see, and ended
    itself to be started again.
    """
    wanted = list(dict.fromkeys(groups or GROUPS))
    if unknown := [name for name in wanted if name not in GROUPS]:
        raise Refused(f"There is no group {unknown[0]!r}.", f"There are: {', '.join(GROUPS)}.", "moot worker --help")
    with (
        database(data_dir, log_name="worker") as settings,
        telemetry(settings, "worker", ready=lambda: _wrong(wanted)),
    ):
        uvloop.run(_run(settings, wanted))
    words.print("The worker has stopped.")
    return OK


async def _run(settings: Settings, groups: list[str]) -> None:
    stopping = asyncio.Event()
    in_the_end = threading.Timer(_STOP_SECONDS_MAX, _leave)
    in_the_end.daemon = True

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            in_the_end.start()

    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    url, limits = database_url(settings), settings.store_limits
    datastore = Datastore(url, limits)
    keys = PostgresKeys(datastore.connection)
    codec = Codec(Keyring(keys, load_secrets(settings.secrets_place).master_key, cached_max=limits.cached_keys_max))
    log = kafka_log(settings)
    breaker = Breaker("postgres", breaker_limits(settings), refusal=PostgresAway)
    with message_log(settings) as messages, closing(datastore):
        means = Means(url, settings.kafka_url or "", log, codec, _publisher(settings), breaker, messages)
        running = Worker(groups, means, limits=worker_limits(settings), changed=_say)
        await running.run(stopping)


def _leave() -> None:
    """End at once. A client of Kafka that looks for its group on a broker that is gone hears nothing, for as long.

    Nothing is lost: what is folded is committed with its checkpoint, and all else is read again.
    """
    words.print("The worker has stopped without a word to the broker, which does not answer.")
    os._exit(OK)


def _publisher(settings: Settings) -> RedisPublisher | None:
    if settings.redis_url is None:
        words.print("No Redis is named (MOOT_REDIS_URL): who follows a view live is told nothing.")
        return None
    url = settings.redis_url.get_secret_value()
    client = publishing_client(url, settings.redis_publish_seconds_max)
    return RedisPublisher(client, Breaker("redis publisher", breaker_limits(settings)))


_statuses: dict[str, GroupStatus] = {}


def _wrong(groups: Sequence[str]) -> dict[str, str]:
    """For ``/readyz``: the groups that do not follow their partitions."""
    states = {group: _statuses[group].state if group in _statuses else "starting" for group in groups}
    return {group: f"It is {state}." for group, state in states.items() if state != "following"}


def _say(status: GroupStatus) -> None:
    _statuses[status.group] = status
    where = f" {len(status.partitions)} partitions" if status.state == "following" else ""
    trouble = "" if status.trouble is None else f": {escape(status.trouble)}"
    words.print(f"{status.group} is {status.state}{where}{trouble}", highlight=False)
