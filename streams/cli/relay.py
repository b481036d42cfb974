"""``moot relay``: the role that brings the log to Kafka."""

import signal

import typer
from rich.markup import escape

from infra.breaker import Breaker, breaker_limits
from infra.kafka.opening import kafka_log
from infra.settings import Settings
from infra.signals import RedisPublisher, publishing_client
from infra.telemetry.serving import telemetry
from streams.cli.console import ERROR, OK, DataDir, words
from streams.cli.fleet import database, database_url
from streams.cli.interruption import StopRequest
from streams.limits import relay_limits
from streams.relay import Relay, RelayStatus

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("relay")(relay)


def relay(data_dir: DataDir = None) -> int:
    """Send every event to Kafka, in order and once, until told to stop.

    Start any number: one leads, the others stand by. It waits for whatever is away and never ends for it. See how far
    it is with: moot log status
    """
    with database(data_dir, log_name="relay") as settings, StopRequest(*_STOP_SIGNALS) as stop:
        log = kafka_log(settings, stopping=stop.came)
        running = Relay(database_url(settings), log, _publisher(settings), limits=relay_limits(settings), changed=_say)
        with telemetry(settings, "relay", ready=lambda: _wrong(running.status)):
            running.start()
            stop.wait()
            ended = running.stop(settings.shutdown_seconds_max)
        words.print(f"The relay has stopped after event {running.status.position:,}.")
    return OK if ended else ERROR


def _wrong(status: RelayStatus) -> dict[str, str]:
    """For ``/readyz``: one that leads or stands by does its work."""
    return {} if status.state in ("leading", "standing by") else {"relay": f"It is {status.state}."}


def _publisher(settings: Settings) -> RedisPublisher | None:
    if settings.redis_url is None:
        words.print("No Redis is named (MOOT_REDIS_URL): who waits for a view is told a little later.")
        return None
    url = settings.redis_url.get_secret_value()
    client = publishing_client(url, settings.relay_publish_seconds_max)
    return RedisPublisher(client, Breaker("redis publisher", breaker_limits(settings)))


def _say(status: RelayStatus) -> None:
    trouble = "" if status.trouble is None else f": {escape(status.trouble)}"
    where = f" from event {status.position + 1:,} on" if status.state == "leading" else ""
    words.print(f"The relay is {status.state}{where}{trouble}", highlight=False)
