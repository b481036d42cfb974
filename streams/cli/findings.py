"""What a doctor finds, and how it is shown."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from psycopg import Connection
from rich.markup import escape

from infra.snowflakes import numbers_held
from streams.cli.console import ERROR, OK, Output, out, show_json

CLOCK_SECONDS_MAX: Final = 5
"""How far the clock may stand behind the newest event: events bear its time, so more is a clock set back."""

PARKED_FIX: Final = "See why: moot projections parked. Once the cause is gone: moot projections retry VIEW --all"
"""What is to be done about dead letters."""


class Finding(Struct, frozen=True):
    """What one check found: ``fix`` is empty where there is nothing to put right."""

    check: str
    ok: bool
    found: str
    fix: str = ""


def message_ids(connection: Connection[Any]) -> Finding:
    """Whether one more process could make ids of messages."""
    held, numbers = numbers_held(connection)
    found = f"{held:,} of {numbers:,} numbers are held by processes that make ids"
    if held >= numbers:
        fix = (
            "Stop processes of moot api. A number is free 30 s after who held it has ended, or, where the clock of"
            " PostgreSQL was set back, once it has caught up."
        )
        return Finding("message ids", False, found, fix)
    return Finding("message ids", True, found)


def show_findings(findings: Sequence[Finding], output: Output) -> int:
    """Show them in their order. Gives the exit code: 1 when something needs a fix."""
    if output is Output.JSON:
        show_json(msgspec.to_builtins(findings))
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[bold red]fix [/]"
            out.print(f"{mark} {finding.check:<12} {escape(finding.found)}", highlight=False)
            if finding.fix:
                out.print(f"                  → {escape(finding.fix)}", highlight=False)
    return OK if all(finding.ok for finding in findings) else ERROR
