"""The list of one server's channels: a stream that guards their order, and that they are not too many.

What a channel is, is told by the channel; this list is written in the same append.
"""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final

from domain import ordering
from domain.channel import not_found
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from domain.server_member import Standing


class ChannelListed(Event, frozen=True):
    """The channel is on the list, at its end. ``place`` orders the list; see ``domain.ordering``."""

    server_id: Id
    channel_id: Id
    place: int


class ChannelPlaced(Event, frozen=True):
    """The channel has another place, as it was moved or others around it were."""

    server_id: Id
    channel_id: Id
    place: int


class ChannelDelisted(Event, frozen=True):
    """The channel is off the list."""

    server_id: Id
    channel_id: Id


class MoveChannel(Command, frozen=True):
    """Put a channel directly behind another one, or first of all. Needs ``MANAGE_CHANNELS``."""

    server_id: Id
    channel_id: Id
    after_id: Id | None = None


Places = Mapping[Id, int]
"""The channels of a server, each with its place."""

START: Final[Places] = MappingProxyType({})


def evolve(places: Places, event: Event) -> Places:
    """The list after the event."""
    match event:
        case ChannelListed(channel_id=channel_id, place=place) | ChannelPlaced(channel_id=channel_id, place=place):
            return {**places, channel_id: place}
        case ChannelDelisted(channel_id=gone_id):
            return {channel_id: place for channel_id, place in places.items() if channel_id != gone_id}
        case _:
            return places


def listed(places: Places, *, server_id: Id, channel_id: Id, limits: Limits) -> tuple[Event, ...]:
    """The channel is put at the end of the list. Raises ``TOO_MANY_CHANNELS``."""
    if len(places) >= limits.channels_max:
        message = f"A server has at most {limits.channels_max} channels. Delete one first."
        raise Refusal(Code.TOO_MANY_CHANNELS, message)
    place = ordering.last(places.values())
    return (ChannelListed(server_id=server_id, channel_id=channel_id, place=place),)


def delisted(*, server_id: Id, channel_id: Id) -> tuple[Event, ...]:
    """The channel is taken off the list."""
    return (ChannelDelisted(server_id=server_id, channel_id=channel_id),)


def moved(command: MoveChannel, places: Places, standing: Standing, *, seen: Container[Id]) -> tuple[Event, ...]:
    """The channel is put behind another one, of those that the actor has ``seen``."""
    standing.refuse_without(Permission.MANAGE_CHANNELS)
    if command.channel_id not in places or command.channel_id not in seen:
        raise not_found()
    if command.after_id is not None and (command.after_id not in places or command.after_id not in seen):
        raise not_found("after_id")
    changed = ordering.put(places, command.channel_id, command.after_id)
    return tuple(
        ChannelPlaced(server_id=command.server_id, channel_id=channel_id, place=place)
        for channel_id, place in changed.items()
    )
