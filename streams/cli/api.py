"""``moot api``: the role of a fleet that answers clients. Any number of them, alike."""

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable

import typer

from infra.logging import configure_logging
from infra.settings import Settings, SettingsError, load_settings
from infra.telemetry.serving import telemetry
from streams.cli.console import OK, DataDir, Output, OutputOption, show_json, words
from streams.cli.interruption import Interruption
from streams.cli.preflight import listen
from streams.cli.session import check_set_up
from streams.cli.up import Port

_ANY = {
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - it is asked, not listened at
    "::": "[::1]",
    "::1": "[::1]",
}
"""By the address of the listener, that at which this machine is answered."""
READY_SECONDS_MAX = 4.0
"""How long the API may take to say whether it is ready: less than whoever asks for its health waits."""
_NEEDED = {"database_url": "MOOT_DATABASE_URL", "redis_url": "MOOT_REDIS_URL"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("api")(api)


def api(port: Port = None, data_dir: DataDir = None, output: OutputOption = Output.TABLE) -> int:
    """Answer clients over GraphQL, until told to stop. A role of a fleet: it starts no engines and keeps no views.

    Start any number, with the same MOOT_DATABASE_URL, MOOT_REDIS_URL and MOOT_SECRETS_FILE, behind a proxy that ends
    TLS. /healthz says that a process lives, /readyz that it can serve, and if not, why.
    """
    settings = load_settings(port=port, data_dir=data_dir)
    require_engines(settings)
    configure_logging(settings, name="api")
    check_set_up(settings)
    serving: list[str] = []

    def wrong() -> dict[str, str]:
        return _wrong(serving[0]) if serving else {"api": "It is starting."}

    with listen(settings, exactly=True) as listener, telemetry(settings, "api", ready=wrong) as metrics_port:
        host, bound = listener.getsockname()[:2]
        place = {"api": f"http://{host}:{bound}", "metrics": metrics_port}

        def on_serving() -> None:
            serving.append(f"{_ANY.get(host, host)}:{bound}")
            if output is Output.JSON:
                show_json(place)
            else:
                words.print(f"The API answers at {place['api']}/graphql.", highlight=False)

        _serve(settings, listener, on_serving)
    if output is Output.TABLE:
        words.print("Stopped.")
    return OK


def _wrong(address: str) -> dict[str, str]:
    """What is wrong by what the API itself says."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=READY_SECONDS_MAX):
            return {}
    except urllib.error.HTTPError as error:
        found: dict[str, str] = json.load(error)["wrong"]
        return found
    except (OSError, ValueError) as error:
        return {"api": f"It does not answer: {type(error).__name__}."}


def require_engines(settings: Settings) -> None:
    """Raise ``SettingsError`` unless every engine is named: a role of a fleet starts none."""
    missing = [variable for name, variable in _NEEDED.items() if getattr(settings, name) is None]
    if missing:
        raise SettingsError(
            f"{' and '.join(missing)} must be set.",
            "A role of a fleet starts no engines of its own: it would have data that the others do not see.",
            "Name them, or start everything on this machine: ./task up",
        )


def _serve(settings: Settings, listener: socket.socket, on_serving: Callable[[], None]) -> None:
    interruption = Interruption(signal.SIGINT, signal.SIGTERM)
    # Reading the API's modules takes a second; what is wrong with the settings is said before.
    import uvloop  # noqa: PLC0415

    from streams.serving import serve_api  # noqa: PLC0415

    def serving() -> None:
        on_serving()
        interruption.repeat()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve_api(settings, listener, serving))
