"""Accounts: signing up, the name one is shown under, following and blocking."""

from commands.use_case import Act, Decision, Streams, UseCases
from domain import account, name, relation
from domain.account import ChangeDisplayName, Register
from domain.block import Block, Unblock
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.ids import relation_id
from domain.name import claim_id

cases = UseCases()


def _new(_command: Register, act: Act) -> Id:
    return act.actor_id


@cases.on(Register, stream=_new)
async def _(command: Register, act: Act, streams: Streams) -> Decision:
    events = account.decide(command, streams.state(account, act.actor_id), account_id=act.actor_id, limits=act.limits)
    claimed_id = claim_id("account", command.name, act.name_key)
    await streams.fetch(claimed_id)
    claim = name.claim(streams.state(name, claimed_id), kind="account", claimant_id=act.actor_id)
    return Decision(events, others=((claimed_id, claim),))


def _own(_command: ChangeDisplayName, act: Act) -> Id:
    return act.actor_id


@cases.on(ChangeDisplayName, stream=_own)
async def _(command: ChangeDisplayName, act: Act, streams: Streams) -> Decision:
    state = streams.state(account, act.actor_id)
    return Decision(account.decide(command, state, account_id=act.actor_id, limits=act.limits))


Relate = Follow | Unfollow | Block | Unblock


def _relation(command: Relate, act: Act) -> Id:
    return relation_id(act.actor_id, command.account_id)


@cases.on(
    Follow,
    Unfollow,
    Block,
    Unblock,
    stream=_relation,
    subject=lambda c, _: c.account_id,
    reads=lambda c, _: (c.account_id,),
)
async def _(command: Relate, act: Act, streams: Streams) -> Decision:
    events = relation.decide(
        command,
        streams.state(relation, _relation(command, act)),
        actor_id=act.actor_id,
        other=streams.state(account, command.account_id),
    )
    return Decision(events)
