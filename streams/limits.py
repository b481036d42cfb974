"""The limits of the runner and of a rebuild, from the settings."""

from infra.settings import Settings
from streams.rebuild import RebuildLimits
from streams.runner import RunnerLimits


def runner_limits(settings: Settings) -> RunnerLimits:
    """Those settings that begin with ``runner_``."""
    return RunnerLimits(**{name: getattr(settings, f"runner_{name}") for name in RunnerLimits.__struct_fields__})


def rebuild_limits(settings: Settings) -> RebuildLimits:
    """Those settings that begin with ``rebuild_``."""
    return RebuildLimits(**{name: getattr(settings, f"rebuild_{name}") for name in RebuildLimits.__struct_fields__})
