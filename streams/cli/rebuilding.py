"""What the terminal shows while views are rebuilt."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from streams.cli.console import words
from streams.rebuild import Progress as Step

REPORT_SECONDS = 5.0
"""How often a rebuild says where it is where there is no terminal for a bar."""


class Report:
    """Takes what a rebuild reports and moves a bar, or writes a line now and then where no terminal shows one."""

    def __init__(self, bar: Progress | None, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None, rate="", phase="") if bar else None
        self._due = REPORT_SECONDS

    def __call__(self, step: Step) -> None:
        rate = f"{step.rate:,.0f} events/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step.position, total=step.total or None, rate=rate, phase=step.phase)
        elif step.seconds >= self._due:
            self._due = step.seconds + REPORT_SECONDS
            words.print(
                f"{step.phase}: {step.position:,} of {step.total:,} events, {rate}, {step.seconds_left:.0f} s left"
            )


@contextmanager
def rebuild_bar(what: str) -> Iterator[Report]:
    """The bar, or the lines, for as long as the block lasts: pass what it gives as ``progress``."""
    if not words.is_terminal:
        yield Report(None, what)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[phase]}"),
    )
    with Progress(*columns, console=words, transient=True) as bar:
        yield Report(bar, what)
