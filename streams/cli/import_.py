"""``moot import``: archives of Reddit become the history of this site."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psycopg
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from domain.ids import derived
from infra.cassandra.log import LogStore
from infra.cassandra.opening import message_log
from infra.composition import utc_now
from infra.event_store import GroupCommitStore, postgres_store
from infra.failures import Failure
from infra.postgres import connect
from infra.rows import read_reached
from infra.secrets import load_secrets
from infra.settings import Settings
from projections.catalogue import ALL
from streams.archive_files import ArchiveFile, CutOffError, NotAnArchiveError
from streams.attaching import attach
from streams.bookmarks import Bookmarks, fingerprint
from streams.cli.console import ERROR, OK, DataDir, Output, OutputOption, show_json, show_table, words
from streams.cli.rebuilding import rebuild_bar
from streams.cli.rejects import Rejects
from streams.cli.session import engines
from streams.importer import Imported, Importer
from streams.limits import rebuild_limits, runner_limits
from streams.rebuild import rebuild
from streams.runner import Runner

REPORT_SECONDS = 5.0
"""How often it is said how far the import is, where there is no terminal for a bar."""
REBUILD_EVENTS_MIN = 20_000
REBUILD_SHARE_MIN = 0.05
"""Views that are so many events behind, and so much of the log, are built anew: that takes a twentieth of the time
of an event, and replaces the views without a gap."""
BUILDING = {"copy_rows": 10_000, "copies_waiting_max": 2}
"""Limits of the rebuild after an import, instead of the settings: it stays far below the 500 MB that an import may
take, however long the archive."""
SHORT_LOG_EVENTS_MAX = 300_000
ROWS_OF_SHORT_LOG_MAX, ROWS_MAX = 500_000, 100_000
"""Rows in memory during that: more for a log that is short, where nothing else takes memory yet; writing rows out and
reading them again halves the speed."""
LOOK_SECONDS = 0.1
"""How often it is looked whether the views have caught up."""


class NoArchive(Failure):
    """A file that cannot be imported. Nothing was."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_archives)


def import_archives(
    files: Annotated[list[Path], typer.Argument(help="RS_… and RC_… files, plain, .zst or .gz.", metavar="FILE…")],
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Import Reddit's monthly archives. Importing again adds nothing; interrupted, it goes on where it was."""
    started = time.monotonic()
    for path in files:
        _check(path)
    run_id = derived("import", *(str(path) for path in files), utc_now().isoformat())
    with engines(data_dir, create=True) as settings:
        secrets = load_secrets(settings.secrets_place)
        database_url, _ = settings.engine_urls()
        store = postgres_store(database_url, secrets.master_key, limits=settings.store_limits)
        try:
            with (
                connect(database_url) as connection,
                message_log(settings) as messages,
                _Views(settings, store, connection, secrets.master_key, messages) as views,
            ):
                importer = Importer(
                    store, name_key=secrets.name_key, run_id=run_id, at=utc_now(), limits=settings.rules
                )
                outcomes = [_import(path, importer, Bookmarks(connection), settings) for path in files]
                # What it remembers of names and places is memory that the views need now.
                del importer
                attached = attach(store, connection, views.catch_up, run_id=run_id, at=utc_now(), limits=settings.rules)
        except (KeyboardInterrupt, SystemExit):
            words.print("Interrupted. What was imported is kept. The same command goes on from there.")
            raise
        finally:
            store.close()
    seconds = time.monotonic() - started
    records = sum(outcome.done.records for outcome in outcomes)
    if output is Output.JSON:
        show_json(
            {
                "files": [_as_json(outcome) for outcome in outcomes],
                "records": records,
                "attached": attached,
                "seconds": round(seconds, 3),
                "rate": round(records / seconds),
            }
        )
    else:
        _show(outcomes)
        words.print(
            f"{records:,} records in {seconds:.1f} s ({records / seconds:,.0f} a second), all views caught up;"
            f" {attached:,} comments found their parents afterwards."
        )
    return ERROR if any(outcome.trouble for outcome in outcomes) else OK


class Outcome(msgspec.Struct):
    """What came of one file. ``trouble``: why not all of it could be read. ``rejected_in`` lists the bad lines."""

    path: Path
    done: Imported
    trouble: str | None = None
    rejected_in: Path | None = None


def _check(path: Path) -> None:
    try:
        ArchiveFile(path).close()
    except NotAnArchiveError as error:
        raise NoArchive(str(error), "Nothing was imported.", "Name archives only: RS_… and RC_… files.") from None
    except OSError as error:
        raise NoArchive(
            f"{path} cannot be read: {error.strerror}.", "Nothing was imported.", "Check its name and its permissions."
        ) from None


def _import(path: Path, importer: Importer, bookmarks: Bookmarks, settings: Settings) -> Outcome:
    mark = fingerprint(path)
    skip = bookmarks.lines_done(mark)
    if skip:
        words.print(f"{path.name}: going on after line {skip:,}, where an earlier import stopped.")
    folder = settings.data_dir / "imports"
    with ArchiveFile(path) as archive, _progress(archive) as progress, Rejects(folder, path, mark, skip) as rejects:

        def on_batch(done: Imported) -> None:
            rejects.flush()
            bookmarks.keep(mark, path, done.lines)
            outcome.done = msgspec.structs.replace(done)
            progress(done)

        outcome = Outcome(path, Imported(lines=skip))
        try:
            outcome.done = importer.run(archive, skip_lines=skip, on_batch=on_batch, on_reject=rejects)
        except CutOffError as error:
            outcome.trouble = str(error)
        else:
            bookmarks.keep(mark, path, outcome.done.lines, finished=True)
        outcome.rejected_in = rejects.written
    return outcome


class _Views:
    """Brings the views up to the head of the log: from scratch where that is less work, else by the runner.

    Where ``moot up`` runs, its runner does the latter, and ours waits to take over from it.
    """

    def __init__(
        self,
        settings: Settings,
        store: GroupCommitStore,
        connection: psycopg.Connection[Any],
        master_key: bytes,
        messages: LogStore | None,
    ) -> None:
        self._database_url, _ = settings.engine_urls()
        self._settings = settings
        self._store = store
        self._connection = connection
        self._master_key = master_key
        self._messages = messages
        self._runner: Runner | None = None

    def __enter__(self) -> "_Views":
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.stop(self._settings.shutdown_seconds_max)

    def catch_up(self) -> None:
        """Return when all views stand where the log ended when this was called."""
        head = self._store.head_sync()
        if self._backlog(head) > max(REBUILD_EVENTS_MIN, head * REBUILD_SHARE_MIN):
            words.print(f"Building the views from {head:,} events.")
            rows_max = ROWS_OF_SHORT_LOG_MAX if head <= SHORT_LOG_EVENTS_MAX else ROWS_MAX
            limits = msgspec.structs.replace(rebuild_limits(self._settings), **BUILDING, rows_max=rows_max)
            with rebuild_bar(f"{len(ALL)} views") as progress:
                rebuild(
                    self._database_url,
                    self._store,
                    list(ALL.values()),
                    progress=progress,
                    limits=limits,
                    message_log=self._messages,
                )
        if self._runner is None:
            self._runner = Runner(
                self._database_url,
                self._store,
                ALL.values(),
                limits=runner_limits(self._settings),
                message_log=self._messages,
            )
            self._runner.start()
        due = time.monotonic() + REPORT_SECONDS
        while backlog := self._backlog(head):
            if time.monotonic() > due:
                due = time.monotonic() + REPORT_SECONDS
                words.print(f"The views follow: {backlog:,} events to go.")
            time.sleep(LOOK_SECONDS)

    def _backlog(self, head: int) -> int:
        return max(0, head - min(read_reached(self._connection).values()))


class _Reporter:
    """Moves a bar, or writes a line now and then where there is no terminal for one."""

    def __init__(self, archive: ArchiveFile, bar: Progress | None) -> None:
        self._archive = archive
        self._bar = bar
        self._task = bar.add_task(archive.path.name, total=archive.size, rate="") if bar else None
        self._started = time.monotonic()
        self._due = self._started + REPORT_SECONDS

    def __call__(self, done: Imported) -> None:
        now = time.monotonic()
        rate = f"{(done.records + done.known) / max(now - self._started, 0.001):,.0f} records/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._archive.bytes_read, rate=rate)
        elif now >= self._due:
            self._due = now + REPORT_SECONDS
            share = self._archive.bytes_read / max(self._archive.size, 1)
            left = (now - self._started) * (1 / share - 1) if share else 0
            words.print(f"{self._archive.path.name}: line {done.lines:,}, {share:.0%}, {rate}, {left:.0f} s left")


@contextmanager
def _progress(archive: ArchiveFile) -> Iterator[_Reporter]:
    if not words.is_terminal:
        yield _Reporter(archive, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        yield _Reporter(archive, bar)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "path": str(outcome.path),
        **msgspec.to_builtins(outcome.done),
        "trouble": outcome.trouble,
        "rejected_in": outcome.rejected_in and str(outcome.rejected_in),
    }


def _show(outcomes: Sequence[Outcome]) -> None:
    columns = ("file", "lines", "submissions", "comments", "accounts", "communities", "known", "rejected", "orphans")
    rows = [(outcome.path.name, *(getattr(outcome.done, column) for column in columns[1:])) for outcome in outcomes]
    show_table(columns, rows, right=columns[1:])
    for outcome in outcomes:
        if outcome.trouble:
            words.print(f"[bold red]error:[/] {outcome.trouble}. Everything before that is imported.")
