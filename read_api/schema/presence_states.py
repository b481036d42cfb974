"""How people are: as others see them, and as they choose and see it themselves."""

from enum import Enum

import strawberry

from infra.presence import Presence
from read_api.schema.common import named


@strawberry.enum(description="How somebody is, as others see them. Who is invisible is offline.")
class PresenceState(Enum):
    """How somebody is, as others see them."""

    ONLINE = named("ONLINE", "There.")
    IDLE = named("IDLE", "There, and not at it.")
    DO_NOT_DISTURB = named("DO_NOT_DISTURB", "There, and not to be disturbed.")
    OFFLINE = named("OFFLINE", "Not there, or not to be seen.")


@strawberry.enum(description="How you want to be shown, and how you are to yourself.")
class PresenceChoice(Enum):
    """What a device can choose."""

    ONLINE = named("ONLINE", "There.")
    IDLE = named("IDLE", "There, and not at it.")
    DO_NOT_DISTURB = named("DO_NOT_DISTURB", "There, and not to be disturbed.")
    INVISIBLE = named("INVISIBLE", "There, and shown to everybody else as if not.")


def choice_of(state: Presence) -> PresenceChoice | None:
    """What the owner is told; ``None`` where no device of his is there."""
    return None if state is Presence.OFFLINE else PresenceChoice(state.value)
