"""The log of topics in memory. That on Kafka is in ``tests/stack``."""

from collections.abc import Sequence
from contextlib import suppress

import pytest

from infra.event_log import LogRecord, LogUnavailable
from infra.log_memory import MemoryLog
from tests.conformance.event_log import Abandon, EventLogConformance


class TestMemory(EventLogConformance):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog()

    @pytest.fixture
    def abandon(self, log: MemoryLog) -> Abandon:
        def half(records: Sequence[LogRecord]) -> None:
            log.die_in_writes = 1
            with suppress(LogUnavailable):
                log.writer().write(records)

        return half
