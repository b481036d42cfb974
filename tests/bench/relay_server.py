"""A relay as a process of its own, for the bench: ``python -m tests.bench.relay_server``.

Settings come from the environment. Writes a line for each transaction: its last position, and when Kafka had
acknowledged it, in nanoseconds of the system's monotonic clock. Ends with its standard input.
"""

import sys
import time
from collections.abc import Sequence

import structlog

from infra.event_log import GivingUp, LogRecord, LogWriter, never
from infra.kafka.log import KafkaLog
from infra.kafka.opening import kafka_log
from infra.log_records import NotOurs, position_of
from infra.settings import load_settings
from streams.limits import relay_limits
from streams.relay import Relay


class Timed:
    """A writer that says when it was answered."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self.close = writer.close

    def write(self, records: Sequence[LogRecord]) -> None:
        """See ``LogWriter``."""
        self._writer.write(records)
        answered = time.monotonic_ns()
        try:
            sys.stdout.write(f"{position_of(records[-1])} {answered}\n")
        except NotOurs:
            return
        sys.stdout.flush()


class TimedLog(KafkaLog):
    """The log of such writers."""

    def writer(self, giving_up: GivingUp = never) -> LogWriter:  # type: ignore[override]  # the same, and tells
        """See ``EventLog``."""
        return Timed(super().writer(giving_up))


def main() -> None:
    """Relay until standard input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = load_settings()
    url, _ = settings.engine_urls()
    opened = kafka_log(settings)
    log = TimedLog(settings.kafka_url or "", limits=opened._limits)
    relay = Relay(url, log, limits=relay_limits(settings))
    relay.start()
    sys.stdin.read()
    relay.stop(10)


if __name__ == "__main__":
    main()
