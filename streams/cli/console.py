"""What the commands have in common: two consoles, exit codes, options, and how an error is said."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands.ports import StoreUnavailable
from infra.failures import Failure

OK: Final = 0
ERROR: Final = 1
PENDING: Final = 2
REFUSED: Final = 3

out = Console(soft_wrap=True)
"""Data: standard output."""
words = Console(stderr=True, soft_wrap=True)
"""Words for a person: standard error."""


PIPED_WIDTH: Final = 200
"""Columns of a table that no terminal shows."""


class Output(StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"


class Refused(Failure):
    """The command was not allowed to go on; nothing was changed."""


Trouble = (Failure, psycopg.OperationalError, StoreUnavailable, OSError)
"""What may happen on a machine that is all right but for something that can be put right."""

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The data directory. [default: MOOT_DATA_DIR or .moot]", metavar="FOLDER"),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write the data.")]


def counted(number: int, what: str) -> str:
    """So many of something, in words: ``1 view``, ``2 views``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say_foreign(records: int) -> None:
    """Say how many records of the topics were passed over, if any."""
    if records:
        words.print(
            f"{counted(records, 'record')} passed over that no relay has sent: somebody else writes into the topics"
            " (moot log audit tells where)."
        )


def explain_error(error: Exception, *, internal: bool) -> int:
    """Say what happened, why, and the fix. Gives the exit code."""
    if isinstance(error, Failure):
        say_failure(error.what, error.why, error.fix)
        return REFUSED if isinstance(error, Refused) else ERROR
    if isinstance(error, psycopg.DataError):
        say_failure(
            "PostgreSQL cannot take a value of this command.",
            f"{error}".strip(),
            "Check the numbers and names that were typed: one is too large, or has a character that no text can hold.",
        )
        return ERROR
    # Whoever got one has read these modules already; every other error is said without them.
    keyring = sys.modules.get("infra.keyring")
    if keyring is not None and isinstance(error, keyring.WrongMasterKey):
        from infra.secret_proofs import ForeignSecrets  # noqa: PLC0415

        return explain_error(ForeignSecrets(None, str(error)), internal=False)
    what = "Something unexpected happened in Moot itself." if internal else "The machine or an engine said no."
    fix = "Run it again with --debug to see where." if internal else "Put that right, or run moot doctor for a check."
    say_failure(what, f"{type(error).__name__}: {error}".strip(), fix)
    return ERROR


def say_failure(what: str, why: str, fix: str) -> None:
    """The three parts of an error, on standard error."""
    words.print(f"[bold red]error:[/] {escape(what)}\n", highlight=False)
    words.print(f"{escape(why)}\n", highlight=False)
    words.print(f"[bold]fix:[/] {escape(fix)}", highlight=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table on standard output; plain columns where that is no terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(text(value)) for value in row))
    if not out.is_terminal:
        out.width = PIPED_WIDTH
    out.print(table, soft_wrap=False)


def show_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One line of JSON on standard output."""
    out.file.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")
    out.file.flush()


def text(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
