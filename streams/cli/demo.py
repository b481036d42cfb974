"""``moot demo``: everything that ``moot up`` starts, filled with a lively community that goes on living."""

import asyncio
import contextlib
import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from infra.composition import Moot, open_moot, utc_now
from infra.instance import running
from infra.settings import ROOT, Settings, load_settings
from streams.cli.console import OK, DataDir, Output, OutputOption, show_json, words
from streams.cli.session import engines
from streams.cli.up import Port, start_and_serve
from streams.demo.bots import Bots
from streams.demo.chat import GENERAL, SERVER
from streams.demo.week import Week

REPORT_ACTS = 25
"""After how many acts of the bots a line says what they did."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    port: Port = None,
    data_dir: DataDir = None,
    bots: Annotated[bool, typer.Option(help="Keep it alive with a few bots until Ctrl-C.")] = True,
    output: OutputOption = Output.TABLE,
) -> int:
    """Fill the site with a week of a synthetic community, and keep it alive. A second time changes nothing."""

    async def play(moot: Moot) -> None:
        await _play(moot, bots=bots, output=output)

    if running(load_settings(data_dir=data_dir).data_dir) is None:
        start_and_serve(port, data_dir, output, beside=play)
    else:
        words.print("Moot is up already: the demo joins it.")
        asyncio.run(_join(data_dir, bots=bots, output=output))
    return OK


async def _join(data_dir: Path | None, *, bots: bool, output: Output) -> None:
    with engines(data_dir) as settings:
        async with open_moot(settings) as moot:
            with contextlib.suppress(asyncio.CancelledError):
                await _play(moot, bots=bots, output=output)
            if output is Output.JSON:
                show_json({"head": await moot.store.head()})


async def _play(moot: Moot, *, bots: bool, output: Output) -> None:
    quiet = output is Output.JSON
    week = Week(moot.store, name_key=moot.secrets.name_key, limits=moot.settings.rules, until=utc_now())
    columns = (TextColumn("A week of community life"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=words, transient=True, disable=quiet or not words.is_terminal) as bar:
        task = bar.add_task("", total=week.total)
        await week.play(lambda done: bar.update(task, completed=done))
    if not quiet:
        words.print(f"Filled with a week of community life: {len(week.people)} people, {week.done:,} things they did.")
        _tell_chat(week, moot.settings)
    if not bots:
        return
    if not quiet:
        words.print("A few bots keep it alive. Browse it, vote, comment: they answer. Ctrl-C ends it.\n")
    did: Counter[str] = Counter()

    def on_act(what: str) -> None:
        did[what] += 1
        if not quiet and did.total() % REPORT_ACTS == 0:
            words.print(", ".join(f"{name} {number}" for name, number in did.most_common()), highlight=False)

    await Bots(moot.commands, moot.pool, week.people, hall=week.hall).run(on_act)


def _tell_chat(week: Week, settings: Settings) -> None:
    if week.hall is not None:
        command = f"./task moot chat {SERVER}/{GENERAL} --invite {week.hall.invite} --as NAME"
        where = "" if settings.data_dir == ROOT / ".moot" else f" --data-dir {shlex.quote(str(settings.data_dir))}"
        words.print("They chat, too. Join them from another terminal:\n")
        words.print(f"  {command}{where}\n", highlight=False, markup=False)
