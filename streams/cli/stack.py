"""``./task stack:up``, ``stack:status`` and ``stack:down``: the native stack, for whoever has no Docker.

It is no part of the ``moot`` command: it runs what Moot runs on. Exit codes are the same.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from infra.stack import SERVICES, Condition, Stack, open_stack
from streams.cli import run
from streams.cli.console import ERROR, OK, PENDING, Output, OutputOption, out, show_json, show_table, words

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="The stack's folder. [default: MOOT_STACK_DIR or .moot-stack]", metavar="FOLDER"),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help=f"One of {', '.join(SERVICES)}; again for more. [default: all]", metavar="SERVICE"),
]


def application() -> typer.Typer:
    """The command line."""
    app = typer.Typer(
        name="stack",
        help="Real servers of Kafka, PostgreSQL, Redis and Cassandra, behind a fault proxy, without Docker.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (up, status, down):
        app.command()(command)
    return app


def up(
    folder: Folder = None,
    only: Only = None,
    new_ports: Annotated[bool, typer.Option("--new-ports", help="Give every server another port.")] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Start the servers that do not run, wait until all answer, and print the settings to export."""
    began = time.monotonic()
    stack = _open(folder, only)
    words.print(f"The stack in {stack.folder} (its logs are in {stack.folder / 'logs'})", highlight=False)
    started = stack.start(new_ports=new_ports)
    seconds = round(time.monotonic() - began, 1)
    if output is Output.JSON:
        show_json(_described(stack) | {"started": started, "seconds": seconds})
        return OK
    words.print(f"Ready after {seconds} s. They run until ./task stack:down; export these, or add the fault proxy:\n")
    for variable, value in stack.environment().items():
        out.print(f"export {variable}={shlex.quote(value)}", highlight=False, markup=False)
    for variable, value in stack.environment(proxied=True).items():
        words.print(f"# through the fault proxy: {variable}={shlex.quote(value)}", highlight=False, markup=False)
    return OK


def status(folder: Folder = None, only: Only = None, output: OutputOption = Output.TABLE) -> int:
    """Show each server. Exit code 0: all answer; 1: one runs and does not answer; 2: one does not run."""
    stack = _open(folder, only)
    found = stack.status()
    if output is Output.JSON:
        show_json(_described(stack))
    else:
        columns = ("service", "pid", "port", "state", "log")
        rows = [(one.title, _plain(one.pid), _plain(one.port), one.condition.value, one.log) for one in found]
        show_table(columns, rows, right=("pid", "port"))
    conditions = {one.condition for one in found}
    if conditions & {Condition.SILENT, Condition.PAUSED}:
        return ERROR
    return PENDING if Condition.STOPPED in conditions else OK


def down(folder: Folder = None, only: Only = None, output: OutputOption = Output.TABLE) -> int:
    """Stop the servers in good order, whoever started them. Their data, their ports and their logs are kept."""
    stack = _open(folder, only)
    stopped = stack.stop()
    if output is Output.JSON:
        show_json({"folder": str(stack.folder), "stopped": stopped})
    elif not stopped:
        words.print("Nothing was running.")
    return OK


def _open(folder: Path | None, only: Sequence[str] | None) -> Stack:
    return open_stack(
        None if folder is None else folder.expanduser(),
        only or SERVICES,
        say=lambda line: words.print(escape(line), highlight=False),
    )


def _described(stack: Stack) -> dict[str, Any]:
    """The stack as JSON has it."""
    return {
        "folder": str(stack.folder),
        "services": {one.service: msgspec.to_builtins(one) for one in stack.status()},
        "environment": stack.environment(),
        "proxied_environment": stack.environment(proxied=True),
    }


def _plain(number: int | None) -> str | None:
    """An id or a port: not a quantity, so without separators."""
    return None if number is None else str(number)


if __name__ == "__main__":
    sys.exit(run("./task stack", application, sys.argv[1:]))
