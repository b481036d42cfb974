"""``moot projections``: how far each view has come, and how to build one anew. Dead letters are in ``parked``."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

import msgspec
import psycopg
import typer

from infra.cassandra.opening import message_log
from infra.failures import Failure
from infra.postgres import connect
from infra.rows import create_missing
from projections.catalogue import ALL
from projections.core import Projection
from streams.cli.console import (
    ERROR,
    OK,
    PENDING,
    DataDir,
    Output,
    OutputOption,
    say_foreign,
    show_json,
    show_table,
    words,
)
from streams.cli.events import open_log
from streams.cli.fleet import kafka
from streams.cli.parked import discard_parked, retry_parked, show_parked
from streams.cli.rebuilding import rebuild_bar
from streams.cli.session import engines
from streams.cli.subjects import NoSuchProjection, find_views
from streams.cli.telling import publisher
from streams.limits import rebuild_limits
from streams.rebuild import OtherLog, RebuildFailure, RebuildSummary, rebuild
from streams.views import ViewStatus, list_views


class NotRebuilt(Failure):
    """The rebuild did not happen; the live views are as they were."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    projections = typer.Typer(
        no_args_is_help=True, help="The views: list them, rebuild them from the log, see to what they could not take."
    )
    projections.command("list")(list_projections)
    projections.command("rebuild")(rebuild_projections)
    projections.command("parked")(show_parked)
    projections.command("retry")(retry_parked)
    projections.command("discard")(discard_parked)
    app.add_typer(projections, name="projections")


def list_projections(data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Show how far each view has come. Exit code 2 when one is not in sync with the log."""
    with engines(data_dir) as settings, open_log(settings) as log:
        head = log.head_sync()
        with connect(settings.engine_urls()[0]) as connection:
            rows = standing(connection, head)
    if output is Output.JSON:
        show_json({"head": head, "projections": rows})
    else:
        columns = ("projection", "version", "built", "position", "lag", "rows", "parked", "state")
        show_table(columns, table_rows(rows, columns), right=("version", "built", "position", "lag", "rows", "parked"))
        words.print(f"The log ends at position {head:,}.")
    return OK if all(row["state"] == "in sync" for row in rows) else PENDING


def standing(connection: psycopg.Connection[Any], head: int) -> list[dict[str, Any]]:
    """Each projection: its version, the built one, position, lag in events, rows, dead letters, a word.

    The rows are estimated; those of a view that is kept in Cassandra are not known.
    """
    return [
        {
            "projection": view.name,
            "version": view.version,
            "built": view.built_version,
            "position": view.position,
            "lag": view.lag_events,
            "rows": view.rows,
            "kept_in": "Cassandra" if view.in_cassandra else "PostgreSQL",
            "parked": view.parked,
            "state": _state(view, head),
        }
        for view in list_views(connection, ALL.values(), head)
    ]


def table_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    """What ``standing`` says as a person reads it."""
    read = [row if row["rows"] is not None else {**row, "rows": f"- ({row['kept_in']})"} for row in rows]
    return [[row[column] for column in columns] for row in read]


def _state(view: ViewStatus, head: int) -> str:
    if view.built_version is None:
        return "not built" if head else "in sync"
    if view.stale:
        return "other version"
    if view.parked:
        return "dead letters"
    return "behind" if view.lag_events else "in sync"


def rebuild_projections(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones.", metavar="NAME…")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="All of them, in one pass over the log.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Count the rows that differ from the live view.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Build views anew from the log beside the live ones, and exchange them.

    Readers notice nothing, and nothing is lost if it fails: so it does not ask first. With --compare the exit code is 0
    where every view was compared and is the same, 1 where one differs, 2 where one was too far behind to be compared.
    """
    wanted = _wanted(names or [], all_of_them=all_of_them)
    with ExitStack() as opened:
        settings = opened.enter_context(engines(data_dir))
        log = opened.enter_context(open_log(settings))
        # Where there is a Kafka, it is the log: the event store is left to the commands.
        topics = opened.enter_context(kafka(settings)) if settings.kafka_url else None
        messages = opened.enter_context(message_log(settings))
        database_url, _ = settings.engine_urls()
        with connect(database_url) as connection:
            create_missing(connection, wanted)
        try:
            with rebuild_bar(
                ", ".join(p.name for p in wanted) if len(wanted) <= 3 else f"{len(wanted)} views"
            ) as progress:
                summary = rebuild(
                    database_url,
                    log,
                    wanted,
                    progress=progress,
                    compare=compare,
                    limits=rebuild_limits(settings),
                    topics=topics,
                    message_log=messages,
                )
        except RebuildFailure as error:
            fix = "see what the topics hold: moot log audit" if isinstance(error, OtherLog) else "try again"
            raise NotRebuilt(
                "The rebuild did not happen.", str(error), f"The live views are as they were; {fix}."
            ) from error
        # What came in between and was folded by the rebuild alone has been signalled by nobody.
        opened.enter_context(publisher(settings)).say_lost()
    _report(summary, output)
    say_foreign(summary.foreign)
    if any(view.differences for view in summary.views):
        return ERROR
    not_compared = [view.name for view in summary.views if view.differences is None] if compare else []
    if not_compared:
        words.print(
            f"Not compared, as the live view did not come to where the new one began: {', '.join(not_compared)}."
            " They were exchanged; compare again once they are in sync (moot projections list)."
        )
    return PENDING if not_compared else OK


def _wanted(names: Sequence[str], *, all_of_them: bool) -> list[Projection]:
    views = find_views(names)
    if all_of_them == bool(names):
        raise NoSuchProjection(
            "Which projections?", "Either names or --all must be given, and not both.", "moot projections rebuild --all"
        )
    return list(ALL.values()) if all_of_them else views


def _report(summary: RebuildSummary, output: Output) -> None:
    if output is Output.JSON:
        show_json({**msgspec.to_builtins(summary), "rate": round(summary.rate)})
        return
    columns = ("projection", "version", "position", "rows", "parked", "differences")
    rows = [(v.name, v.version, v.position, v.rows, v.parked, v.differences) for v in summary.views]
    show_table(columns, rows, right=columns[1:])
    words.print(f"{summary.events:,} events in {summary.seconds:.1f} s: {summary.rate:,.0f} events/s.")
