"""Events of the log as a person reads them: lines of JSON, or of words."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.markup import escape

from schemas.envelope import Recorded
from schemas.registry import wire_name
from streams.cli.console import Output, out, show_json

TEXT_LENGTH_SHOWN = 60
"""Characters of one field in words."""


def show_events(events: Sequence[Recorded], output: Output) -> None:
    """Write events to standard output: two lines each, or one JSON object a line."""
    if output is Output.JSON:
        for recorded in events:
            show_json(as_json(recorded))
        return
    for recorded in events:
        out.print(
            f"[bold]{recorded.position:>8}[/] [dim]{_time(recorded)}[/] [cyan]{wire_of(recorded)}[/]"
            f" [dim]version {recorded.version} of {recorded.stream_id}[/]",
            highlight=False,
        )
        out.print(f"         {escape(_fields(recorded))}", highlight=False)


def show_metadata(recorded: Recorded) -> None:
    """Who and what led to an event, and when, below it."""
    out.print(f"         [dim]{escape(_said(recorded.meta))}[/]", highlight=False)


def as_json(recorded: Recorded) -> dict[str, Any]:
    """Everything the log has of an event."""
    return {
        "position": recorded.position,
        "stream_id": recorded.stream_id,
        "version": recorded.version,
        "event": wire_of(recorded),
        "data": msgspec.to_builtins(recorded.event),
        "meta": msgspec.to_builtins(recorded.meta),
    }


def wire_of(recorded: Recorded) -> str:
    """The wire name of an event; the type's own for one that could not be decoded."""
    try:
        return wire_name(type(recorded.event))
    except LookupError:
        return type(recorded.event).__name__


def _time(recorded: Recorded) -> str:
    return f"{recorded.occurred_at:%Y-%m-%d %H:%M:%S}"


def _fields(recorded: Recorded) -> str:
    return _said(recorded.event)


def _said(values: Any) -> str:
    data = msgspec.to_builtins(values)
    return " ".join(f"{name}={_short(value)}" for name, value in _pairs(data) if value is not None)


def _pairs(data: Any) -> Iterable[tuple[str, Any]]:
    return data.items() if isinstance(data, dict) else [("value", data)]


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(value).replace("\n", "⏎")
    return text if len(text) <= TEXT_LENGTH_SHOWN else text[: TEXT_LENGTH_SHOWN - 1] + "…"
