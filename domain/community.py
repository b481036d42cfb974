"""A community: a named place for posts, with rules of who may see it and who may post."""

from typing import Literal

from domain.event import Event, Id

Visibility = Literal["public", "restricted", "private"]
"""``public``: everybody sees and posts. ``restricted``: everybody sees, the invited post. ``private``: members only."""


class CommunityCreated(Event, frozen=True):
    """A community was opened; its creator is its first moderator, by a membership event in the same append."""

    community_id: Id
    creator_id: Id
    name: str
    title: str
    description: str
    visibility: Visibility
    anonymous_allowed: bool


class CommunityImported(Event, frozen=True):
    """An archive's community. ``source`` names the archive: ``reddit``. It is public and has no moderator."""

    community_id: Id
    name: str
    source: str


class CommunityEdited(Event, frozen=True):
    """A moderator changed what the community says of itself; all fields are the values from now on."""

    community_id: Id
    editor_id: Id
    title: str
    description: str
    visibility: Visibility
    anonymous_allowed: bool
