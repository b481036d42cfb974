"""``moot topics``: the topics of the log, as they are declared and as they are."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from infra.kafka.opening import record_bytes_max
from infra.settings import load_settings
from streams.cli.console import OK, PENDING, DataDir, Output, OutputOption, Refused, show_json, show_table, words
from streams.cli.fleet import kafka
from streams.topic_plan import MAKE_ANEW, Change, apply, plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    topics = typer.Typer(no_args_is_help=True, help="The topics of the log on Kafka: apply makes them as declared.")
    topics.callback()(lambda: None)
    topics.command("apply")(apply_topics)
    app.add_typer(topics, name="topics")


def apply_topics(
    check: Annotated[bool, typer.Option("--check", help="Only say what would be done.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Make the topics as they are declared: show what has to be done, then do it.

    Topics are made and their settings set. Nothing is ever taken away, and no count of partitions changed: a topic that
    has another one is to be deleted first, which it says how to do. Exit code 2 when --check found something to do, 3
    when it may not be done.
    """
    settings = load_settings(data_dir=data_dir)
    replicas = settings.kafka_replicas
    with kafka(settings) as log:
        changes = plan(log.topics(), replicas=replicas, record_bytes_max=record_bytes_max(settings))
        _show(changes, output)
        if refused := [change for change in changes if not change.allowed]:
            raise Refused(
                f"The topic {refused[0].topic} cannot be made as it is declared.",
                f"{refused[0].what}. Nothing was changed.",
                MAKE_ANEW,
            )
        if not changes:
            words.print("The topics are as they are declared.")
            return OK
        if check:
            return PENDING
        apply(log, changes, replicas=replicas)
    words.print(f"Done: {len(changes)} changes.")
    return OK


def _show(changes: Sequence[Change], output: Output) -> None:
    if output is Output.JSON:
        show_json({"changes": msgspec.to_builtins(changes)})
    elif changes:
        show_table(("topic", "change", "what"), [(change.topic, change.kind, change.what) for change in changes])
