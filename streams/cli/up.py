"""``moot up``: everything on this machine, from one command, until Ctrl-C."""

import asyncio
import gc
import os
import shlex
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from infra.embedded import Engines, start_engines
from infra.instance import Claim, Instance, claim
from infra.logging import configure_logging
from infra.settings import ROOT, Settings, load_settings
from infra.supervision import Supervisor
from infra.telemetry.serving import telemetry
from streams.cli.console import OK, DataDir, Output, OutputOption, show_json, words
from streams.cli.interruption import Interruption
from streams.cli.preflight import check_given_engines, check_machine, listen
from streams.cli.session import make_secrets, set_up

Port = Annotated[
    int | None,
    typer.Option(
        "--port", "-p", help="Listen here and nowhere else. [default: 8000, or the next free one]", min=0, max=65535
    ),
]


Beside = Callable[[Any], Awaitable[None]]
"""What runs beside the API, given the ``Moot`` that it serves."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(port: Port = None, data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Start everything on this machine: PostgreSQL, Redis, the views and the API. Ctrl-C stops it all."""
    start_and_serve(port, data_dir, output)
    return OK


def start_and_serve(port: int | None, data_dir: Path | None, output: Output, beside: Beside | None = None) -> None:
    """What ``up`` does; ``beside`` runs in the same process once it serves."""
    interruption = Interruption(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    settings = load_settings(port=port, data_dir=data_dir)
    check_machine(settings)
    check_given_engines(settings)
    exactly = port is not None or "MOOT_PORT" in os.environ
    with claim(settings.data_dir) as held, listen(settings, exactly=exactly) as listener:
        make_secrets(settings)
        configure_logging(settings)
        run(settings, held, listener, output, beside=beside, interruption=interruption)


def run(
    settings: Settings,
    held: Claim,
    listener: socket.socket,
    output: Output,
    *,
    beside: Beside | None,
    interruption: Interruption,
) -> None:
    """Start the engines and serve until told to stop; then stop both, whatever happened."""
    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(_start, settings)
        try:
            # The engines start while Python reads the API's modules; both take about a second.
            serving: Any = import_module("streams.serving")
            uvloop: Any = import_module("uvloop")
            engines = starting.result()
        except BaseException:
            # Also when Ctrl-C comes in between: what was started is stopped.
            if starting.exception() is None:
                starting.result().close()
            raise
    with engines:
        # What was imported stays for good: no collection needs to look at it again.
        gc.collect()
        gc.freeze()
        interruption.check()
        instance = _instance(settings, listener)

        def on_serving() -> None:
            served = msgspec.structs.replace(instance, start_seconds=round(_age_seconds(), 2))
            held.publish(served)
            _tell(settings, served, engines, output)
            interruption.repeat()  # whatever came is for those who serve to handle by now

        with (
            telemetry(engines.settings, "up"),
            Supervisor(engines, lambda: os.kill(os.getpid(), signal.SIGTERM)),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
        ):
            loop.run(serving.serve(engines.settings, listener, on_serving, beside))
        if output is Output.TABLE:
            words.print("Stopping PostgreSQL and Redis …")
    if output is Output.TABLE:
        words.print("Stopped. All data is kept.")


def _start(settings: Settings) -> Engines:
    engines = start_engines(settings)
    try:
        set_up(engines.database_url, settings.secrets_place)
    except BaseException:
        engines.close()
        raise
    return engines


def _age_seconds() -> float:
    """Since this process was started, by the shell that became it if there was one."""
    return time.time() - psutil.Process().create_time()


def _instance(settings: Settings, listener: socket.socket) -> Instance:
    port = listener.getsockname()[1]
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104 - compared, not bound
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Instance(
        pid=os.getpid(),
        graphql=f"http://{place}/graphql",
        graphiql=f"http://{place}/graphql",
        websocket=f"ws://{place}/graphql",
        mail=f"http://{place}/mail",
        data_dir=str(settings.data_dir),
    )


def _tell(settings: Settings, instance: Instance, engines: Engines, output: Output) -> None:
    if output is Output.JSON:
        show_json(msgspec.to_builtins(instance))
        return
    places = Table.grid(padding=(0, 2))
    places.add_column(style="bold", no_wrap=True)
    places.add_column(overflow="fold")
    places.add_row("GraphQL", instance.graphql)
    places.add_row("GraphiQL", f"{instance.graphiql} in a browser")
    places.add_row("WebSocket", f"{instance.websocket} (graphql-transport-ws)")
    places.add_row("Mail", f"{instance.mail} (captured, never sent)")
    places.add_row("Data", escape(instance.data_dir))
    notes = [f"Ready in {instance.start_seconds:.1f} s."]
    if not exactly_usual(settings, instance):
        notes.append(f"Port {settings.port} is taken, so this one was chosen.")
    if not engines.started:
        notes.append("Attached to the engines that an earlier run left behind.")
    warning = "[yellow]Not a production set-up:[/] no TLS, no backups, no mail is sent."
    words.print(
        Panel(
            Group(places, "", " ".join(notes), warning),
            title="[bold]Moot is up[/]",
            title_align="left",
            box=box.ROUNDED,
            expand=False,
            padding=(1, 2),
        ),
        soft_wrap=False,
    )
    words.print("\nThree commands to copy into another terminal in this folder:\n")
    where = "" if settings.data_dir == ROOT / ".moot" else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    for command, meaning in COMMANDS:
        words.print(f"  [bold cyan]{escape(command + where)}[/]", highlight=False)
        words.print(f"      [dim]{meaning}[/]", highlight=False)
    words.print("\nCtrl-C stops everything; the data stays.\n")


COMMANDS = (
    ('./task moot post "Hello, Moot" --as ada', "signs ada up (or in) and posts to the community welcome"),
    ("./task moot vote up --as bob", "bob votes on that post"),
    ("./task moot watch", "shows the post's score as it changes, live: vote again and look"),
)


def exactly_usual(settings: Settings, instance: Instance) -> bool:
    """Whether it listens where the settings say."""
    return settings.port == 0 or f":{settings.port}/" in instance.graphql
