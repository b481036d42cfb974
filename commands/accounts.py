"""Accounts: signing up, the name one is shown under, following and blocking."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import account, block, follow, name
from domain.account import ChangeDisplayName, Register
from domain.block import Block, Unblock
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.ids import block_id, follow_id
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


def _following(command: Follow | Unfollow, act: Act) -> Id:
    return follow_id(act.actor_id, command.account_id)


@cases.on(
    Follow,
    Unfollow,
    stream=_following,
    subject=lambda c, _: c.account_id,
    reads=lambda c, act: (c.account_id, *standing.block_streams(act.actor_id, c.account_id)),
)
async def _(command: Follow | Unfollow, act: Act, streams: Streams) -> Decision:
    events = follow.decide(
        command,
        streams.state(follow, _following(command, act)),
        follower_id=act.actor_id,
        followed=streams.state(account, command.account_id),
        blocks=standing.blocks(streams, act.actor_id, command.account_id),
    )
    return Decision(events)


def _blocking(command: Block | Unblock, act: Act) -> Id:
    return block_id(act.actor_id, command.account_id)


@cases.on(Block, Unblock, stream=_blocking, subject=lambda c, _: c.account_id, reads=lambda c, _: (c.account_id,))
async def _(command: Block | Unblock, act: Act, streams: Streams) -> Decision:
    events = block.decide(
        command,
        streams.state(block, _blocking(command, act)),
        blocker_id=act.actor_id,
        blocked=streams.state(account, command.account_id),
    )
    if not events or isinstance(command, Unblock):
        return Decision(events)
    pairs = ((act.actor_id, command.account_id), (command.account_id, act.actor_id))
    await streams.fetch(*(follow_id(*pair) for pair in pairs))
    endings = (
        (
            follow_id(*pair),
            follow.ended(streams.state(follow, follow_id(*pair)), follower_id=pair[0], followed_id=pair[1]),
        )
        for pair in pairs
    )
    return Decision(events, others=tuple(endings))
