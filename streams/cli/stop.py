"""``moot stop``: end the ``moot up`` of this folder, and engines that a killed one left behind."""

import psutil
import typer

from infra.embedded import stop_engines
from infra.instance import running
from infra.settings import load_settings
from streams.cli.console import OK, DataDir, Refused, words

_SECONDS_MAX = 60.0
"""How long ``moot up`` may take to stop itself and its engines."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stop")(stop)


def stop(data_dir: DataDir = None) -> int:
    """Stop what serves this folder, and engines that a killed process left behind. Nothing is lost."""
    settings = load_settings(data_dir=data_dir)
    instance = running(settings.data_dir)
    if instance is not None:
        words.print(f"Stopping process {instance.pid} …")
        try:
            process = psutil.Process(instance.pid)
            process.terminate()
            process.wait(_SECONDS_MAX)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            raise Refused(
                f"Process {instance.pid} did not stop within {_SECONDS_MAX:.0f} s.",
                "A request or a batch may be very long.",
                f"Wait and try again, or kill -9 {instance.pid}; the next start recovers.",
            ) from None
    if not stop_engines(settings):
        raise Refused(
            "The engines are in use by another command of this folder.",
            "A rebuild or an import perhaps; it would fail.",
            "Wait until it is done, or stop it first.",
        )
    words.print("Nothing runs any more. All data is kept.")
    return OK
