"""What one account may do in one community, as far as decisions ask for it."""

from typing import Final

from msgspec import Struct


class Access(Struct, frozen=True):
    """The standing of somebody in a community, boiled down.

    A community that does not exist and one that somebody may not see are the same here, so that no refusal
    tells them apart.
    """

    sees: bool
    """Reads, comments, votes, saves."""
    posts: bool
    moderates: bool
    anonymous_allowed: bool


NO_ACCESS: Final = Access(sees=False, posts=False, moderates=False, anonymous_allowed=False)
