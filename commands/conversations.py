"""Conversations between two people, and groups."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import account, conversation
from domain.conversation import (
    AddToGroup,
    Change,
    CreateGroup,
    HandOverGroup,
    LeaveGroup,
    OpenDirect,
    RemoveFromGroup,
    RenameGroup,
)
from domain.event import Id
from domain.ids import direct_id

cases = UseCases()


def _between(command: OpenDirect, act: Act) -> Id:
    return direct_id(act.actor_id, command.account_id)


def _who(account_id: Id, act: Act) -> tuple[Id | None, ...]:
    return account_id, standing.relation_stream(act.actor_id, account_id)


@cases.on(OpenDirect, stream=_between, reads=lambda c, act: _who(c.account_id, act))
async def _(command: OpenDirect, act: Act, streams: Streams) -> Decision:
    conversation_id = _between(command, act)
    events = conversation.opened(
        command,
        streams.state(conversation, conversation_id),
        conversation_id=conversation_id,
        actor_id=act.actor_id,
        other=streams.state(account, command.account_id),
        blocks=standing.blocks(streams, act.actor_id, command.account_id),
    )
    return Decision(events)


def _new(_command: CreateGroup, act: Act) -> Id:
    return act.new_id("group")


@cases.on(CreateGroup, stream=_new)
async def _(command: CreateGroup, act: Act, streams: Streams) -> Decision:
    others = conversation.others(command, act.actor_id, act.limits)
    await streams.fetch(*(stream_id for other_id in others for stream_id in _who(other_id, act)))
    found = {
        other_id: (streams.state(account, other_id), standing.blocks(streams, act.actor_id, other_id))
        for other_id in others
    }
    conversation_id = _new(command, act)
    events = conversation.created(
        command, conversation_id=conversation_id, actor_id=act.actor_id, others=found, limits=act.limits
    )
    return Decision(events)


def _longer(command: AddToGroup, _act: Act) -> Id:
    return command.conversation_id


@cases.on(AddToGroup, stream=_longer, reads=lambda c, act: _who(c.account_id, act))
async def _(command: AddToGroup, act: Act, streams: Streams) -> Decision:
    events = conversation.added(
        command,
        await standing.in_conversation(streams, command.conversation_id, act.actor_id),
        account=streams.state(account, command.account_id),
        blocks=standing.blocks(streams, act.actor_id, command.account_id),
        limits=act.limits,
    )
    return Decision(events)


def _group(command: Change, _act: Act) -> Id:
    return command.conversation_id


@cases.on(RenameGroup, HandOverGroup, RemoveFromGroup, LeaveGroup, stream=_group)
async def _(command: Change, act: Act, streams: Streams) -> Decision:
    party = await standing.in_conversation(streams, command.conversation_id, act.actor_id)
    return Decision(conversation.decide(command, party, limits=act.limits))
