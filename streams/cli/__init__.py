"""The ``moot`` command: one module for each of its commands, imported when that command is asked for.

Data goes to standard output, words to standard error. Exit codes: 0 done and in sync, 1 an error, 2 changes are
pending, 3 refused.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

import typer
from typer import rich_utils
from typer._click.exceptions import ClickException  # typer brings a click of its own

from streams.cli.console import OK, Trouble, explain_error

COMMANDS: Final = {
    "up": "up",
    "demo": "demo",
    "stop": "stop",
    "import": "import_",
    "doctor": "doctor",
    "api": "api",
    "relay": "relay",
    "worker": "worker",
    "projections": "projections",
    "events": "events",
    "log": "log",
    "topics": "topics",
    "migrate": "migrate",
    "secrets": "secrets",
    "health": "health",
    "explain": "explain",
    "post": "post",
    "vote": "vote",
    "watch": "watch",
    "chat": "chat",
}
"""Each command and its module in this package, which has a function ``register(app)``."""


def application(wanted: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command line with these of its commands."""
    app = typer.Typer(
        name="moot",
        help="A community platform on one immutable log. Try: moot up",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in wanted:
        import_module(f"streams.cli.{COMMANDS[name]}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. ``--debug`` anywhere shows the traceback of an error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = next((word for word in words if word != "--debug"), None)
    return run("moot", lambda: application([first] if first in COMMANDS else list(COMMANDS)), words)


def run(name: str, make: Callable[[], typer.Typer], words: Sequence[str]) -> int:
    """Run the command line that ``make`` makes, with these words; every error is said. Gives the exit code."""
    debug = "--debug" in words
    try:
        outcome = make()(args=[word for word in words if word != "--debug"], prog_name=name, standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except ClickException as error:
        rich_utils.rich_format_error(error)
        return 1
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; nothing more can be said there.
        sys.stdout = None
        return OK
    except Exception as error:
        if debug:
            raise
        return explain_error(error, internal=not isinstance(error, Trouble))
    return outcome if isinstance(outcome, int) else OK


def _root() -> None:
    """A community platform on one immutable log."""
