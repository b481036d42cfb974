"""Logs: JSON lines in a file of the data directory, and errors also as words on standard error; or all of it there.

Lines that a request led to carry its trace id, whether traces are recorded or not; of those in relay and workers, which
are about many events, the ones that name an event carry its trace id.
"""

import logging
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

import structlog

from infra.settings import Settings
from infra.telemetry import tracing

FILES_KEPT = 3
TALKATIVE = ("aiokafka", "faust", "kafka", "mode")
"""Libraries that tell of each connection they make; only at the level ``debug`` is that anybody's business."""

REPEATED_SECONDS: Final = 10.0
"""How often the clients of Kafka may say the same."""
REPEATED_MAX: Final = 1_000
"""Different things of theirs that are remembered."""


def configure_logging(settings: Settings, *, name: str = "moot") -> Path | None:
    """Send what this process logs, its libraries included, to ``logs/NAME.log``, or where the settings say.

    Gives the file. Raises ``OSError``.
    """
    shared: Sequence[structlog.typing.Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_trace,
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    json_lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )
    handlers: list[logging.Handler]
    path = None
    if settings.log_to == "stderr":
        handlers = [logging.StreamHandler(sys.stderr)]
        handlers[0].setFormatter(json_lines)
        handlers[0].addFilter(_Repeated())
    else:
        settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = settings.logs_dir / f"{name}.log"
        handlers = [_file(path, settings.log_file_size_max, json_lines), _words(path, shared)]
    # A disk that is full takes no lines; a traceback for each on standard error would bury what the terminal is told.
    logging.raiseExceptions = False
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # Each request in a line would be most of the log, and says nothing that is not measured elsewhere.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for library in TALKATIVE:
        logging.getLogger(library).setLevel(logging.DEBUG if settings.log_level == "debug" else logging.WARNING)
    return path


def _file(path: Path, size_max: int, json_lines: logging.Formatter) -> logging.Handler:
    file = RotatingFileHandler(path, maxBytes=size_max, backupCount=FILES_KEPT, encoding="utf-8", delay=True)
    file.setFormatter(json_lines)
    file.addFilter(_Repeated())
    return file


class _Repeated(logging.Filter):
    """Passes each thing that the clients of Kafka say once in ``REPEATED_SECONDS``.

    A worker whose broker is away would write hundreds of lines a second, of which no log is long enough.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be written."""
        if not record.name.startswith(("aiokafka", "kafka")):
            return True
        said = (record.name, record.msg)  # without what is filled in, as node and port
        if record.created - self._said.get(said, 0.0) < REPEATED_SECONDS:
            return False
        if len(self._said) >= REPEATED_MAX:
            self._said.clear()
        self._said[said] = record.created
        return True


def _words(path: Path, shared: Sequence[structlog.typing.Processor]) -> logging.Handler:
    words = logging.StreamHandler(sys.stderr)
    words.setLevel(logging.ERROR)
    # This client of Kafka calls an error what it tries again, and a new broker gives it some. The worker says in a
    # sentence what it waits for; the file has everything.
    words.addFilter(lambda record: not record.name.startswith("aiokafka"))
    words.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _where_to_read_more(path),
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
        )
    )
    return words


def _with_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    trace_id = tracing.current_trace()
    if trace_id is not None:
        event["trace_id"] = trace_id
    return event


def _where_to_read_more(path: Path) -> structlog.typing.Processor:
    """In place of a traceback, which belongs into the file: a terminal is read by people, and over shoulders."""

    def processor(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if event.pop("exc_info", None) or event.pop("exception", None):
            event["more"] = str(path)
        return event

    return processor
