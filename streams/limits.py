"""The limits of the runner, of a rebuild and of the relay, from the settings."""

from infra.settings import Settings
from streams.rebuild import RebuildLimits
from streams.relay_keys import RelayLimits
from streams.runner import RunnerLimits


def runner_limits(settings: Settings) -> RunnerLimits:
    """Those settings that begin with ``runner_``."""
    return RunnerLimits(**{name: getattr(settings, f"runner_{name}") for name in RunnerLimits.__struct_fields__})


def rebuild_limits(settings: Settings) -> RebuildLimits:
    """Those settings that begin with ``rebuild_``."""
    return RebuildLimits(**{name: getattr(settings, f"rebuild_{name}") for name in RebuildLimits.__struct_fields__})


def relay_limits(settings: Settings) -> RelayLimits:
    """Those settings that begin with ``relay_``."""
    return RelayLimits(**{name: getattr(settings, f"relay_{name}") for name in RelayLimits.__struct_fields__})
