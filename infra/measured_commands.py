"""Commands as they are carried out, counted by what came of them, each a step of its trace."""

import time
from typing import Final

from commands.handling import Caller, Commands, Contended, NotSignedIn, Outcome
from commands.ports import IdsUnavailable, StoreUnavailable
from domain.command import Command
from domain.refusal import Refusal
from infra.telemetry import metrics, tracing

_OUTCOMES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Refusal, "refused"),
    (NotSignedIn, "refused"),
    (Contended, "contended"),
    (StoreUnavailable, "unavailable"),
    (IdsUnavailable, "unavailable"),
)


class MeasuredCommands(Commands):
    """See ``Commands``."""

    async def execute(self, command: Command, caller: Caller) -> Outcome:
        """See ``Commands``."""
        name = type(command).__name__
        began = time.perf_counter()
        outcome = "failed"
        with tracing.span("command", command=name) as recording:
            try:
                done = await super().execute(command, caller)
            except Exception as error:
                outcome = next((said for kind, said in _OUTCOMES if isinstance(error, kind)), "failed")
                raise
            else:
                outcome = "done"
                return done
            finally:
                recording.set("outcome", outcome)
                metrics.COMMANDS.labels(name, outcome).inc()
                metrics.COMMAND_SECONDS.labels(name).observe(time.perf_counter() - began)
