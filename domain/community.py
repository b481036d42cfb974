"""A community: a named place for posts, with rules of who may see it and who may post."""

from typing import Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from domain import name, text
from domain.access import Access
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.refusal import Code, Refusal

Visibility = Literal["public", "restricted", "private"]
"""``public``: everybody sees and posts. ``restricted``: everybody sees, the invited post. ``private``: members only."""

VISIBILITIES: Final[tuple[str, ...]] = get_args(Visibility)


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


class CreateCommunity(Command, frozen=True):
    """Open a community and be its first moderator. An empty ``title`` becomes the name."""

    name: str
    title: str = ""
    description: str = ""
    visibility: Visibility = "public"
    anonymous_allowed: bool = False


class EditCommunity(Command, frozen=True):
    """Change what a community says of itself. ``None`` leaves a field as it is. The name is for good."""

    community_id: Id
    title: str | None = None
    description: str | None = None
    visibility: Visibility | None = None
    anonymous_allowed: bool | None = None

    @property
    def ends(self) -> bool:
        """A community can always be closed to strangers and to anonymous posts."""
        said = self.title is not None or self.description is not None
        return not said and self.visibility in (None, "private") and self.anonymous_allowed is not True


class Community(Struct, frozen=True):
    """A community, as decisions need it."""

    community_id: Id
    title: str
    description: str
    visibility: Visibility
    anonymous_allowed: bool


START: Community | None = None


def evolve(community: Community | None, event: Event) -> Community | None:
    """The community after the event."""
    match event:
        case CommunityCreated():
            return Community(
                event.community_id, event.title, event.description, event.visibility, event.anonymous_allowed
            )
        case CommunityImported(community_id=community_id, name=name_):
            return Community(community_id, name_, "", "public", anonymous_allowed=False)
        case CommunityEdited() if community is not None:
            return replace(
                community,
                title=event.title,
                description=event.description,
                visibility=event.visibility,
                anonymous_allowed=event.anonymous_allowed,
            )
        case _:
            return community


def decide(
    command: CreateCommunity | EditCommunity,
    community: Community | None,
    *,
    community_id: Id,
    actor_id: Id,
    access: Access,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the command makes of the community. That the name is free is decided by its claim."""
    match command:
        case CreateCommunity():
            name_ = name.checked("community", command.name, limits)
            created = CommunityCreated(
                community_id=community_id,
                creator_id=actor_id,
                name=name_,
                title=_title(command.title or name_, limits),
                description=_description(command.description, limits),
                visibility=_visibility(command.visibility),
                anonymous_allowed=command.anonymous_allowed,
            )
            return (created,)
        case EditCommunity():
            if community is None or not access.sees:
                raise not_found()
            if not access.moderates:
                raise not_moderator()
            edited = _edited(command, community, limits)
            if edited == community:
                return ()
            event = CommunityEdited(
                community_id=community_id,
                editor_id=actor_id,
                title=edited.title,
                description=edited.description,
                visibility=edited.visibility,
                anonymous_allowed=edited.anonymous_allowed,
            )
            return (event,)


def not_found() -> Refusal:
    """The same for a community that does not exist and for one that somebody may not see."""
    message = "There is no such community, or you may not see it. Check the link, or ask its moderators."
    return Refusal(Code.COMMUNITY_NOT_FOUND, message, "community_id")


def not_moderator() -> Refusal:
    """Only moderators of the community may do this."""
    return Refusal(Code.NOT_MODERATOR, "Only moderators of this community can do this. Ask one of them.")


def _edited(command: EditCommunity, community: Community, limits: Limits) -> Community:
    given = command
    return replace(
        community,
        title=community.title if given.title is None else _title(given.title, limits),
        description=community.description if given.description is None else _description(given.description, limits),
        visibility=community.visibility if given.visibility is None else _visibility(given.visibility),
        anonymous_allowed=community.anonymous_allowed if given.anonymous_allowed is None else given.anonymous_allowed,
    )


def _title(title: str, limits: Limits) -> str:
    return text.line(title, "title", length_max=limits.community_title_length_max)


def _description(description: str, limits: Limits) -> str:
    return text.markdown(description, "description", length_max=limits.community_description_length_max, required=False)


def _visibility(visibility: Visibility) -> Visibility:
    if visibility not in VISIBILITIES:
        raise Refusal(Code.INVALID_VALUE, f"Choose one of {', '.join(VISIBILITIES)}.", "visibility")
    return visibility
