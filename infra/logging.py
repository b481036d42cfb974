"""Logs: JSON lines in a file of the data directory, and errors also as words on standard error."""

import logging
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog

from infra.settings import Settings

FILES_KEPT = 3


def configure_logging(settings: Settings, *, name: str = "moot") -> Path:
    """Send what this process logs, its libraries included, to ``logs/NAME.log``. Gives the file. Raises ``OSError``."""
    settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.logs_dir / f"{name}.log"
    shared: Sequence[structlog.typing.Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    file = RotatingFileHandler(
        path, maxBytes=settings.log_file_size_max, backupCount=FILES_KEPT, encoding="utf-8", delay=True
    )
    file.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            ],
        )
    )
    words = logging.StreamHandler(sys.stderr)
    words.setLevel(logging.ERROR)
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
    # A disk that is full takes no lines; a traceback for each on standard error would bury what the terminal is told.
    logging.raiseExceptions = False
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(file)
    root.addHandler(words)
    root.setLevel(settings.log_level.upper())
    # Each request in a line would be most of the log, and says nothing that is not measured elsewhere.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    return path


def _where_to_read_more(path: Path) -> structlog.typing.Processor:
    """In place of a traceback, which belongs into the file: a terminal is read by people, and over shoulders."""

    def processor(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if event.pop("exc_info", None) or event.pop("exception", None):
            event["more"] = str(path)
        return event

    return processor
