"""``moot health``: asks a role on this machine whether it lives, for whoever restarts it."""

import json
import urllib.error
import urllib.request
from typing import Annotated

import typer

from infra.settings import SettingsError, load_settings
from streams.cli.console import ERROR, OK, words

SECONDS_MAX = 5.0
"""How long it may take to answer."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("health")(health)


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it can do its work, not only whether it lives.")
    ] = False,
) -> int:
    """Ask the role that serves metrics on MOOT_METRICS_PORT of this machine. Exit code 1 when all is not well."""
    settings = load_settings()
    if not settings.metrics_port:
        raise SettingsError(
            "MOOT_METRICS_PORT must be set.",
            "That is where a role says how it does.",
            "Set it, here and for the role, for example MOOT_METRICS_PORT=9464.",
        )
    url = f"http://127.0.0.1:{settings.metrics_port}/{'readyz' if ready else 'healthz'}"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS_MAX) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        words.print(error.read().decode(errors="replace"), highlight=False, markup=False)
        return ERROR
    except OSError as error:
        words.print(f"Nothing answers at {url}: {error}", highlight=False, markup=False)
        return ERROR
    words.print(found["status"])
    return OK
