"""``moot projections parked``, ``retry`` and ``discard``: what the views could not take, and what becomes of it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from infra.cassandra.opening import message_log
from infra.failures import Failure
from infra.postgres import connect
from infra.rows import key_of, key_text
from projections.core import Key, Projection
from streams import dead_letters
from streams.cli.console import (
    OK,
    PENDING,
    DataDir,
    Output,
    OutputOption,
    Refused,
    counted,
    show_json,
    show_table,
    words,
)
from streams.cli.events import open_log
from streams.cli.session import engines
from streams.cli.subjects import find_views
from streams.cli.telling import publisher

_CHANGES: Final = ("applied", "left", "moved")


class NothingParked(Failure):
    """No dead letters go by what was typed."""


class NotNow(Failure):
    """The view is held by others; nothing was changed."""


View = Annotated[str, typer.Argument(help="Which view.", metavar="VIEW", show_default=False)]
ParkedKey = Annotated[
    str,
    typer.Argument(help="The key, as moot projections parked shows it, in quotes if it has brackets.", metavar="KEY"),
]


def show_parked(
    view: Annotated[str | None, typer.Argument(help="Which view. [default: all]", metavar="[VIEW]")] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", help="How many keys to show, those parked longest first.", min=1)
    ] = dead_letters.LIST_KEYS_MAX,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show what views could not take: by key, the first event and why. Exit code 2 when there is any.

    Later events of a key wait behind the first, so that their order is kept; all other keys go on.
    """
    name = None if view is None else find_views([view])[0].name
    with engines(data_dir) as settings, connect(settings.engine_urls()[0]) as connection:
        found = dead_letters.dead_letters(connection, name, limit=count + 1)
    rows: list[dict[str, Any]] = [
        {
            "projection": one.projection,
            "key": shown_key(one.key),
            "events": one.events,
            "first_position": one.first_position,
            "last_position": one.last_position,
            "parked_at": one.parked_at,
            "error": one.error,
        }
        for one in found[:count]
    ]
    if output is Output.JSON:
        show_json({"parked": rows, "more": len(found) > count})
    elif rows:
        cells = [[*one.values()] for one in ({**row, "parked_at": _minute(row["parked_at"])} for row in rows)]
        show_table(
            [column.replace("_", " ") for column in rows[0]],
            cells,
            right=("events", "first position", "last position"),
        )
    if not found:
        words.print("Nothing is parked.")
        return OK
    if len(found) > count:
        words.print(f"There are more keys than these {count:,}: see them with --count.")
    words.print("See an event: moot events show POSITION. Once the cause is gone: moot projections retry VIEW KEY")
    return PENDING


def retry_parked(
    view: View,
    key: Annotated[
        str | None,
        typer.Argument(
            help="The key, as moot projections parked shows it, in quotes if it has brackets.", metavar="KEY"
        ),
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="All parked keys of the view, one by one.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Fold parked events into a view, in order, once the cause is gone. Who follows it is told, or reads it anew.

    All that is parked under a key is one transaction, beside the workers that run. Exit code 2 when an event still
    cannot be folded: it and all behind it stay where they are.
    """
    projection = find_views([view])[0]
    if all_of_them == (key is not None):
        raise NothingParked(
            "Which key?", "Either a key or --all must be given, and not both.", f"moot projections parked {view}"
        )
    done: dict[Key, dead_letters.Retried] = {}
    with (
        engines(data_dir) as settings,
        open_log(settings) as log,
        connect(settings.engine_urls()[0]) as connection,
        publisher(settings) as told_by,
        message_log(settings) as messages,
        _explained(projection, done),
    ):
        for one in [typed_key(key)] if key is not None else dead_letters.parked_keys(connection, projection.name):
            try:
                done[one] = dead_letters.retry(connection, log, projection, one, told_by, message_log=messages)
            except dead_letters.NotParked:
                if key is not None:
                    raise
                # Somebody else has seen to it since they were listed.
        told = not told_by.failures
    _show_retried(projection, done, output, told=told)
    return PENDING if any(one.left or one.moved for one in done.values()) else OK


def discard_parked(
    view: View,
    key: ParkedKey,
    *,
    position: Annotated[
        int | None,
        typer.Option("--position", help="Only the event there: the others can then be retried without it.", min=1),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Take parked events out of a view's way for good: it will be as if they had not happened. Asks first.

    They stay in the log, and a rebuild of the view folds them again, as far as they can be folded.
    """
    projection, wanted = find_views([view])[0], typed_key(key)
    with (
        engines(data_dir) as settings,
        connect(settings.engine_urls()[0]) as connection,
        _explained(projection, {}),
    ):
        waiting = dead_letters.positions(connection, projection.name, wanted)
        if position is not None and position not in waiting:
            raise NothingParked(
                f"The event {position} is not parked in {view} under {key}.",
                f"The first that is there is {waiting[0]}, the last {waiting[-1]}.",
                f"moot projections parked {view}",
            )
        going = waiting if position is None else [position]
        if not yes:
            _ask(view, key, going)
        # No more than was said: what has been parked behind them since then waits on, and can be retried.
        gone = dead_letters.discard(connection, projection.name, wanted, going)
        left = 0
        with suppress(dead_letters.NotParked):
            left = len(dead_letters.positions(connection, projection.name, wanted))
    if output is Output.JSON:
        show_json({"projection": view, "key": shown_key(wanted), "discarded": gone, "left": left})
    words.print(f"{counted(gone, 'event')} of {escape(key)} will not be in {view} until it is rebuilt.")
    if left:
        words.print(f"{left:,} more of that key wait: moot projections retry {view} {escape(key)}")
    return OK


def _ask(view: str, key: str, going: Sequence[int]) -> None:
    """Raises ``Refused`` unless somebody at a terminal says yes."""
    which = f"position {going[0]:,}" if len(going) == 1 else f"positions {going[0]:,} to {going[-1]:,}"
    what = f"{counted(len(going), 'event')} ({which}) will be missing in {view} under {key}."
    how = (
        f"The log keeps them: moot projections rebuild {view} folds them again, as far as they can be folded. If the"
        " cause is gone, moot projections retry applies them instead."
    )
    if not sys.stdin.isatty():
        raise Refused(what, f"{how} There is no terminal to ask at, so nothing was changed.", "Say so with --yes.")
    words.print(f"{escape(what)} {escape(how)}", highlight=False)
    if not typer.confirm("Discard them?", err=True):
        raise Refused("Nothing was discarded.", "The answer was no.", f"moot projections parked {view}")


def shown_key(key: Key) -> str:
    """A key as it is shown: as it is, or as JSON where it has several fields or is a number."""
    return key if isinstance(key, str) and typed_key(key) == key else key_text(key)


def typed_key(text: str) -> Key:
    """The key that was shown so."""
    try:
        return key_of(text)
    except ValueError:
        return text


def _show_retried(projection: Projection, done: dict[Key, dead_letters.Retried], output: Output, *, told: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"key": shown_key(key), **{name: getattr(one, name) for name in _CHANGES}, "error": one.error}
        for key, one in done.items()
    ]
    if output is Output.JSON:
        show_json({"projection": projection.name, "retried": rows, "told": told})
    elif rows:
        show_table([*rows[0]], [[*row.values()] for row in rows], right=_CHANGES)
    if not done:
        words.print("Nothing is parked.")
    if not told:
        words.print("Redis did not answer: who follows these live has it only when he reads them anew.")
    if any(one.moved for one in done.values()):
        words.print("Events that were moved wait under the keys of their rows now.")


@contextmanager
def _explained(projection: Projection, done: dict[Key, dead_letters.Retried]) -> Iterator[None]:
    """What can go wrong with dead letters, in words; ``done`` is what was retried before."""
    name = projection.name
    try:
        yield
    except dead_letters.NotParked as error:
        raise NothingParked("Nothing is parked there.", f"{error}.", f"moot projections parked {name}") from error
    except dead_letters.OtherVersion as error:
        raise Refused(
            f"What is parked in {name} cannot be retried.",
            f"{error}, and these folds are not for its rows. Nothing was changed.",
            f"moot projections rebuild {name}",
        ) from error
    except dead_letters.ViewHeld as error:
        raise NotNow(
            f"{name} is in use.",
            f"{error}, as the comparison of a rebuild may. {counted(len(done), 'key')} had been retried before.",
            "Try again in a moment.",
        ) from error


def _minute(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
