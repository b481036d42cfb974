"""A channel of a server: what it is called and for, and whom it treats otherwise than the server does.

The list of a server's channels is a stream of its own (``domain.channel_list``), for their order is one invariant.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from domain import permissions, text
from domain.command import Command
from domain.event import Event, Id
from domain.limits import Limits
from domain.permissions import OF_CHANNELS, Override, Permission
from domain.refusal import Code, Refusal
from domain.role import too_high
from domain.server_member import Standing

ChannelKind = Literal["text", "announcement"]
"""``text``: written in with ``SEND_MESSAGES``; ``announcement``: with ``ANNOUNCE``."""

KINDS: Final[tuple[str, ...]] = get_args(ChannelKind)


def writing(kind: ChannelKind) -> Permission:
    """What it takes to write in a channel of that kind."""
    return Permission.ANNOUNCE if kind == "announcement" else Permission.SEND_MESSAGES


class ChannelCreated(Event, frozen=True):
    """A channel is there from now on, the last of its server's."""

    server_id: Id
    channel_id: Id
    creator_id: Id
    kind: ChannelKind
    name: str
    topic: str
    slow_mode_seconds: int


class ChannelEdited(Event, frozen=True):
    """What the channel is called and for, and its slow mode, from now on."""

    server_id: Id
    channel_id: Id
    editor_id: Id
    name: str
    topic: str
    slow_mode_seconds: int


class ChannelDeleted(Event, frozen=True):
    """The channel is gone for good, with what was said in it."""

    server_id: Id
    channel_id: Id
    deleter_id: Id


class OverrideSet(Event, frozen=True):
    """What the channel allows and denies a role or member, from now on; with neither it is as in the server.

    What is allowed to a member holds for this ``membership`` of his, as they are counted; it is 0 for a role.
    """

    server_id: Id
    channel_id: Id
    target_id: Id
    editor_id: Id
    allow: int
    deny: int
    membership: int


class WantedOverride(Struct, frozen=True):
    """Whom a new channel treats otherwise than its server does: as in ``SetOverride``."""

    target_id: Id
    allow: int = 0
    deny: int = 0


class SeenOverride(Struct, frozen=True):
    """What somebody saw that a channel says of a role or member; neither: nothing."""

    allow: int = 0
    deny: int = 0


class CreateChannel(Command, frozen=True):
    """Make a channel. Needs ``MANAGE_CHANNELS``. ``slow_mode_seconds``: between two messages of one person; 0: none.

    It has the ``overrides`` from its beginning on, each target's once: nobody sees for a moment what he may not. Of
    each the rules of ``SetOverride`` hold, by what one may in the server.
    """

    server_id: Id
    name: str
    kind: ChannelKind = "text"
    topic: str = ""
    slow_mode_seconds: int = 0
    overrides: tuple[WantedOverride, ...] = ()


class EditChannel(Command, frozen=True):
    """Change a channel. ``None`` leaves a field as it is. Needs ``MANAGE_CHANNELS`` there."""

    channel_id: Id
    name: str | None = None
    topic: str | None = None
    slow_mode_seconds: int | None = None


class DeleteChannel(Command, frozen=True):
    """Delete a channel with what was said in it. Needs ``MANAGE_CHANNELS`` there."""

    ends: ClassVar[bool] = True
    channel_id: Id


class SetOverride(Command, frozen=True):
    """Say what a channel allows and denies a role or a member, whatever the server does; neither: as the server does.

    Both are numbers of ``Permission``, added up; of those a channel can override. Needs ``MANAGE_CHANNELS`` there, and
    that one may oneself what one allows or denies. Of roles besides that of everyone, and of other members, it takes
    such as are below one's own highest role.

    It replaces what was said before. Who ``saw`` what that was is refused if it is not so any more, so that of two who
    change one thing each neither undoes the other; without it the last one holds, as with a form that is sent again.
    """

    channel_id: Id
    target_id: Id
    allow: int = 0
    deny: int = 0
    saw: SeenOverride | None = None


class Channel(Struct, frozen=True):
    """A channel, as decisions need it. ``overrides`` are by the id of a role or an account."""

    channel_id: Id
    server_id: Id
    kind: ChannelKind
    name: str
    topic: str
    slow_mode_seconds: int
    overrides: Mapping[Id, Override]


START: Channel | None = None
_NONE: Final[Mapping[Id, Override]] = MappingProxyType({})


def evolve(channel: Channel | None, event: Event) -> Channel | None:
    """The channel after the event; ``None`` once it is deleted.

    Overrides that it has from its beginning on come before it: no view shows it without them.
    """
    match event:
        case ChannelCreated() as e:
            said = _NONE if channel is None else channel.overrides
            return Channel(e.channel_id, e.server_id, e.kind, e.name, e.topic, e.slow_mode_seconds, said)
        case ChannelEdited() as e if channel is not None:
            return replace(channel, name=e.name, topic=e.topic, slow_mode_seconds=e.slow_mode_seconds)
        case OverrideSet() as e:
            channel = channel or Channel(e.channel_id, e.server_id, "text", "", "", 0, _NONE)
            return replace(channel, overrides=_said(channel.overrides, e))
        case ChannelDeleted():
            return None
        case _:
            return channel


def _said(overrides: Mapping[Id, Override], e: OverrideSet) -> Mapping[Id, Override]:
    others = {target_id: override for target_id, override in overrides.items() if target_id != e.target_id}
    override = Override(Permission(e.allow), Permission(e.deny), e.membership)
    return {**others, e.target_id: override} if e.allow or e.deny else others


def seen(channel: Channel | None, standing: Standing) -> bool:
    """Whether somebody with that standing may see the channel, which is of that server."""
    server = standing.server
    if channel is None or server is None or channel.server_id != server.server_id:
        return False
    return Permission.VIEW_CHANNELS in standing.may(channel.overrides)


def created(
    command: CreateChannel,
    standing: Standing,
    *,
    channel_id: Id,
    targets: Mapping[Id, Standing],
    limits: Limits,
) -> tuple[Event, ...]:
    """A new channel, behind its overrides, by somebody who manages channels.

    ``targets`` are the standings of the accounts that the overrides name.
    """
    if command.kind not in KINDS:
        raise Refusal(Code.INVALID_VALUE, f"Choose one of {', '.join(KINDS)}.", "kind")
    if len({wanted.target_id for wanted in command.overrides}) < len(command.overrides):
        raise Refusal(Code.INVALID_VALUE, "A role or member is named twice. Say all about it at once.", "overrides")
    new = Channel(channel_id, command.server_id, command.kind, "", "", 0, _NONE)
    overrides: list[Event] = []
    for wanted in command.overrides:
        one = SetOverride(channel_id, wanted.target_id, wanted.allow, wanted.deny)
        target = targets.get(wanted.target_id)
        try:
            overrides += _treated(one, new, standing, target=target, may=standing.may(), limits=limits)
        except Refusal as refusal:
            raise Refusal(refusal.code, refusal.message, "overrides") from None
    return (
        *overrides,
        ChannelCreated(
            server_id=command.server_id,
            channel_id=channel_id,
            creator_id=standing.account_id,
            kind=command.kind,
            name=_name(command.name, limits),
            topic=_topic(command.topic, limits),
            slow_mode_seconds=_slow_mode(command.slow_mode_seconds, limits),
        ),
    )


def named(command: CreateChannel, limits: Limits) -> tuple[Id, ...]:
    """Whom the overrides of a new channel name. Raises ``TOO_MANY_OVERRIDES``."""
    if len(command.overrides) > limits.overrides_max:
        raise _too_many(limits)
    return tuple(wanted.target_id for wanted in command.overrides)


def decide(
    command: EditChannel | DeleteChannel | SetOverride,
    channel: Channel | None,
    standing: Standing,
    *,
    target: Standing | None = None,
    limits: Limits,
) -> tuple[Event, ...]:
    """What the command of somebody with that standing in its server makes of the channel.

    ``target`` is the standing of the account that an override names, if it names one.
    """
    may = permissions.NONE if channel is None else standing.may(channel.overrides)
    if channel is None or Permission.VIEW_CHANNELS not in may:
        raise not_found()
    if Permission.MANAGE_CHANNELS not in may:
        raise permissions.denied(Permission.MANAGE_CHANNELS)
    ids: dict[str, Any] = {"server_id": channel.server_id, "channel_id": channel.channel_id}
    match command:
        case EditChannel():
            edited = _edited(command, channel, limits)
            if edited == channel:
                return ()
            return (
                ChannelEdited(
                    **ids,
                    editor_id=standing.account_id,
                    name=edited.name,
                    topic=edited.topic,
                    slow_mode_seconds=edited.slow_mode_seconds,
                ),
            )
        case DeleteChannel():
            return (ChannelDeleted(**ids, deleter_id=standing.account_id),)
        case SetOverride():
            return _treated(command, channel, standing, target=target, may=may, limits=limits)


def not_found(field: str = "channel_id") -> Refusal:
    """The same for a channel that does not exist and for one that somebody may not see."""
    message = "There is no such channel, or you may not see it. Check the link, or ask the server's moderators."
    return Refusal(Code.CHANNEL_NOT_FOUND, message, field)


def _treated(
    command: SetOverride,
    channel: Channel,
    standing: Standing,
    *,
    target: Standing | None,
    may: Permission,
    limits: Limits,
) -> tuple[Event, ...]:
    before = channel.overrides.get(command.target_id, Override())
    _refuse_stale(command, before)
    override = Override()
    if command.allow or command.deny:  # else also of a role that is deleted, or of somebody who left
        override = _override(command, channel, may, _membership(command, standing, target), limits)
    if override == before:
        return ()
    _refuse_upwards(command, standing, target)
    return (
        OverrideSet(
            server_id=channel.server_id,
            channel_id=channel.channel_id,
            target_id=command.target_id,
            editor_id=standing.account_id,
            allow=int(override.allow),
            deny=int(override.deny),
            membership=override.membership,
        ),
    )


def _refuse_stale(command: SetOverride, before: Override) -> None:
    """Raises ``OVERRIDE_CHANGED`` if he saw something else, unless what he wants holds already."""
    there = (before.allow, before.deny)
    if command.saw is None or there in ((command.saw.allow, command.saw.deny), (command.allow, command.deny)):
        return
    message = "Somebody else changed this since you saw it. Look at it again, and then change it."
    raise Refusal(Code.OVERRIDE_CHANGED, message, "saw")


def _membership(command: SetOverride, standing: Standing, target: Standing | None) -> int:
    """Which of his memberships the override is about; 0 for a role. Raises ``ROLE_NOT_FOUND`` for neither."""
    if command.target_id in standing.roles:
        return 0
    if target is None or not target.inside:
        message = "Choose a role or a member of this server."
        raise Refusal(Code.ROLE_NOT_FOUND, message, "target_id")
    return target.member.membership


def _refuse_upwards(command: SetOverride, standing: Standing, target: Standing | None) -> None:
    """Raises ``ROLE_TOO_HIGH`` when it is about somebody, or a role, that is not below who asks."""
    role = standing.roles.get(command.target_id)
    if role is not None:
        above = role.rank and role.rank >= standing.rank
    else:
        above = target is not None and target.account_id != standing.account_id and target.rank >= standing.rank
    if above:
        raise too_high()


def _override(command: SetOverride, channel: Channel, may: Permission, membership: int, limits: Limits) -> Override:
    allow = permissions.checked(command.allow, "allow", among=OF_CHANNELS)
    deny = permissions.checked(command.deny, "deny", among=OF_CHANNELS)
    if allow & deny:
        message = "A permission is either allowed or denied. Take it out of one of the two."
        raise Refusal(Code.INVALID_VALUE, message, "deny")
    before = channel.overrides.get(command.target_id, Override())
    for permission in (allow ^ before.allow) | (deny ^ before.deny):
        if permission not in may:
            raise permissions.denied(permission)
    if command.target_id not in channel.overrides and len(channel.overrides) >= limits.overrides_max:
        raise _too_many(limits)
    return Override(allow, deny, membership)


def _too_many(limits: Limits) -> Refusal:
    message = f"A channel treats at most {limits.overrides_max} roles and members otherwise. Use a role."
    return Refusal(Code.TOO_MANY_OVERRIDES, message)


def _edited(command: EditChannel, channel: Channel, limits: Limits) -> Channel:
    name, topic, slow = command.name, command.topic, command.slow_mode_seconds
    return replace(
        channel,
        name=channel.name if name is None else _name(name, limits),
        topic=channel.topic if topic is None else _topic(topic, limits),
        slow_mode_seconds=channel.slow_mode_seconds if slow is None else _slow_mode(slow, limits),
    )


def _name(name: str, limits: Limits) -> str:
    return text.line(name, "name", length_max=limits.channel_name_length_max)


def _topic(topic: str, limits: Limits) -> str:
    return text.markdown(topic, "topic", length_max=limits.channel_topic_length_max, required=False)


def _slow_mode(seconds: int, limits: Limits) -> int:
    if not 0 <= seconds <= limits.slow_mode_seconds_max:
        message = f"Choose from 0 to {limits.slow_mode_seconds_max:,} seconds between two messages of one person."
        raise Refusal(Code.INVALID_VALUE, message, "slow_mode_seconds")
    return seconds
