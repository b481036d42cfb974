"""Channels: making, editing and ordering them, and whom they treat otherwise than their server does."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases, refuse_too_many
from domain import channel, channel_list
from domain.channel import CreateChannel, DeleteChannel, EditChannel, SetOverride
from domain.channel_list import MoveChannel
from domain.event import Id
from domain.ids import channels_id
from domain.permissions import Permission

cases = UseCases()


def _new(_command: CreateChannel, act: Act) -> Id:
    return act.new_id("channel")


@cases.on(
    CreateChannel,
    stream=_new,
    reads=lambda c, act: (channels_id(c.server_id), *standing.server_streams(c.server_id, act.actor_id)),
)
async def _(command: CreateChannel, act: Act, streams: Streams) -> Decision:
    channel_id, list_id = _new(command, act), channels_id(command.server_id)
    actor = standing.in_server(streams, command.server_id, act.actor_id)
    actor.refuse_without(Permission.MANAGE_CHANNELS)
    named = channel.named(command, act.limits)
    await streams.fetch(*standing.server_streams(command.server_id, *named))
    targets = {one: standing.in_server(streams, command.server_id, one) for one in named}
    events = channel.created(command, actor, channel_id=channel_id, targets=targets, limits=act.limits)
    longer = channel_list.listed(
        streams.state(channel_list, list_id), server_id=command.server_id, channel_id=channel_id, limits=act.limits
    )
    # The own stream is a new one each time.
    refuse_too_many(streams.events(list_id), act.actor_id, act.limits.structure_changes_max)
    return Decision(events, others=((list_id, longer),))


Edit = EditChannel | DeleteChannel | SetOverride


def _edited(command: Edit, _act: Act) -> Id:
    return command.channel_id


@cases.on(EditChannel, DeleteChannel, SetOverride, stream=_edited)
async def _(command: Edit, act: Act, streams: Streams) -> Decision:
    found = streams.state(channel, command.channel_id)
    if found is None:
        raise channel.not_found()
    server_id = found.server_id
    target_ids = (command.target_id,) if isinstance(command, SetOverride) else ()
    await streams.fetch(*standing.server_streams(server_id, act.actor_id, *target_ids))
    events = channel.decide(
        command,
        found,
        standing.in_server(streams, server_id, act.actor_id),
        target=standing.in_server(streams, server_id, target_ids[0]) if target_ids else None,
        limits=act.limits,
    )
    if not (events and isinstance(command, DeleteChannel)):
        return Decision(events)
    list_id = channels_id(server_id)
    await streams.fetch(list_id)
    shorter = channel_list.delisted(server_id=server_id, channel_id=command.channel_id)
    return Decision(events, others=((list_id, shorter),))


def _list(command: MoveChannel, _act: Act) -> Id:
    return channels_id(command.server_id)


@cases.on(
    MoveChannel,
    stream=_list,
    subject=lambda c, _: c.channel_id,
    reads=lambda c, act: (c.channel_id, c.after_id, *standing.server_streams(c.server_id, act.actor_id)),
    changes_max=lambda limits: limits.structure_changes_max,
)
async def _(command: MoveChannel, act: Act, streams: Streams) -> Decision:
    actor = standing.in_server(streams, command.server_id, act.actor_id)
    named = [one for one in (command.channel_id, command.after_id) if one is not None]
    seen = {one for one in named if channel.seen(streams.state(channel, one), actor)}
    places = streams.state(channel_list, channels_id(command.server_id))
    return Decision(channel_list.moved(command, places, actor, seen=seen))
