"""Communities: opening and editing them, and who belongs to them."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import account, community, membership, moderators, name
from domain.access import NO_ACCESS
from domain.community import CreateCommunity, EditCommunity
from domain.event import Id
from domain.ids import membership_id, moderators_id
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.name import claim_id

cases = UseCases()


def _new(_command: CreateCommunity, act: Act) -> Id:
    return act.new_id("community")


@cases.on(CreateCommunity, stream=_new)
async def _(command: CreateCommunity, act: Act, streams: Streams) -> Decision:
    community_id = _new(command, act)
    events = community.decide(
        command, None, community_id=community_id, actor_id=act.actor_id, access=NO_ACCESS, limits=act.limits
    )
    claimed_id = claim_id("community", command.name, act.name_key)
    standing_id, list_id = membership_id(community_id, act.actor_id), moderators_id(community_id)
    await streams.fetch(claimed_id, standing_id, list_id)
    claim = name.claim(streams.state(name, claimed_id), kind="community", claimant_id=community_id)
    first = moderators.listed(moderators.START, community_id=community_id, account_id=act.actor_id, limits=act.limits)
    founding = membership.founded(community_id, act.actor_id)
    return Decision(events, others=((claimed_id, claim), (list_id, first), (standing_id, founding)))


def _edited(command: EditCommunity, _act: Act) -> Id:
    return command.community_id


@cases.on(EditCommunity, stream=_edited, reads=lambda c, act: standing.access_streams(c.community_id, act.actor_id))
async def _(command: EditCommunity, act: Act, streams: Streams) -> Decision:
    events = community.decide(
        command,
        streams.state(community, command.community_id),
        community_id=command.community_id,
        actor_id=act.actor_id,
        access=standing.access(streams, command.community_id, act.actor_id),
        limits=act.limits,
    )
    return Decision(events)


def _own(command: JoinCommunity | LeaveCommunity, act: Act) -> Id:
    return membership_id(command.community_id, act.actor_id)


@cases.on(
    JoinCommunity,
    LeaveCommunity,
    stream=_own,
    subject=lambda c, _: c.community_id,
    reads=lambda c, _: (c.community_id,),
)
async def _(command: JoinCommunity | LeaveCommunity, act: Act, streams: Streams) -> Decision:
    state = streams.state(membership, _own(command, act))
    events = membership.decide_own(
        command,
        state,
        actor_id=act.actor_id,
        community=streams.state(community, command.community_id),
    )
    if not (events and state.moderator and isinstance(command, LeaveCommunity)):
        return Decision(events)
    list_id = moderators_id(command.community_id)
    await streams.fetch(list_id)
    rest = moderators.delisted(
        streams.state(moderators, list_id), community_id=command.community_id, account_id=act.actor_id
    )
    return Decision(events, others=((list_id, rest),))


def _others(command: InviteMember | AppointModerator, _act: Act) -> Id:
    return membership_id(command.community_id, command.account_id)


@cases.on(
    InviteMember,
    AppointModerator,
    stream=_others,
    subject=lambda c, _: c.community_id,
    reads=lambda c, act: (c.account_id, *standing.access_streams(c.community_id, act.actor_id)),
)
async def _(command: InviteMember | AppointModerator, act: Act, streams: Streams) -> Decision:
    events = membership.decide_other(
        command,
        streams.state(membership, _others(command, act)),
        actor_id=act.actor_id,
        access=standing.access(streams, command.community_id, act.actor_id),
        account=streams.state(account, command.account_id),
    )
    if not events or isinstance(command, InviteMember):
        return Decision(events)
    list_id = moderators_id(command.community_id)
    await streams.fetch(list_id)
    longer = moderators.listed(
        streams.state(moderators, list_id),
        community_id=command.community_id,
        account_id=command.account_id,
        limits=act.limits,
    )
    return Decision(events, others=((list_id, longer),))
