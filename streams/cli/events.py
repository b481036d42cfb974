"""``moot events``: what the log says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from infra.event_store import GroupCommitStore, postgres_store
from infra.failures import Failure
from infra.secrets import load_secrets
from infra.settings import Settings
from streams.cli.console import OK, DataDir, Output, OutputOption, show_json, words
from streams.cli.decoded import as_json, show_events, show_metadata
from streams.cli.session import engines
from streams.cli.subjects import find_subject

PAGE_EVENTS = 1_000
"""Events read at a time."""
WAIT_SECONDS = 1.0


class NoSuchEvent(Failure):
    """There is no event at that position, or none in that stream."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    events = typer.Typer(no_args_is_help=True, help="See what the log says: tail, show POSITION, stream NAME.")
    events.command("tail")(tail)
    events.command("show")(show)
    events.command("stream")(stream)
    app.add_typer(events, name="events")


@contextmanager
def open_log(settings: Settings) -> Iterator[GroupCommitStore]:
    """The log over running engines, personal fields decrypted."""
    secrets = load_secrets(settings.secrets_place)
    settings_url, _ = settings.engine_urls()
    store = postgres_store(settings_url, secrets.master_key, limits=settings.store_limits)
    try:
        yield store
    finally:
        store.close()


def tail(
    count: Annotated[int, typer.Option("--count", "-n", help="How many of the newest events to show.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show the newest events of the log, oldest of them first."""
    with engines(data_dir) as settings, open_log(settings) as log:
        after = max(0, log.head_sync() - count)
        while True:
            page = log.read_sync(after, PAGE_EVENTS)
            if page:
                after = page[-1].position
                show_events(page, output)
            elif not follow:
                return OK
            else:
                log.wait_for_more(after, WAIT_SECONDS)


def show(
    position: Annotated[int, typer.Argument(help="Where it stands in the log, from 1.", min=1)],
    data_dir: DataDir = None,
    output: OutputOption = Output.JSON,
) -> int:
    """Show one event and all of its metadata."""
    with engines(data_dir) as settings, open_log(settings) as log:
        page = log.read_sync(position - 1, 1)
        if not page:
            raise NoSuchEvent(
                f"There is no event {position}.", f"The newest is {log.head_sync()}.", "See them: moot events tail"
            )
        if output is Output.JSON:
            show_json(as_json(page[0]))
        else:
            show_events(page, output)
            show_metadata(page[0])
    return OK


def stream(
    name: Annotated[str, typer.Argument(help="An id, or account:NAME, community:NAME, post:ID, comment:ID.")],
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show all events of one stream, oldest first."""
    with engines(data_dir) as settings, open_log(settings) as log:
        name_key = load_secrets(settings.secrets_place).name_key
        stream_id = find_subject(name, log, settings.engine_urls()[0], name_key)
        events = log.load_sync([stream_id])[stream_id]
        if not events:
            raise NoSuchEvent(
                f"The stream {stream_id} has no events.", "Nothing goes by that id.", "Find one: moot events tail"
            )
        show_events(events, output)
        words.print(f"{len(events)} events of the stream {stream_id}.")
    return OK
