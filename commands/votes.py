"""Voting on posts and comments, and keeping a list of them."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import ballot, save
from domain.ballot import CastVote
from domain.event import Id
from domain.ids import ballot_id, save_id
from domain.save import SaveItem, UnsaveItem

cases = UseCases()


def _ballot(command: CastVote, act: Act) -> Id:
    return ballot_id(act.actor_id, command.target_id)


@cases.on(CastVote, stream=_ballot, subject=lambda c, _: c.target_id, reads=lambda c, _: (c.target_id,))
async def _(command: CastVote, act: Act, streams: Streams) -> Decision:
    item = standing.item(streams, command.target_id)
    community_id = item.community_id if item else None
    author_id = item.author_id if item else None
    await streams.fetch(
        *standing.access_streams(community_id, act.actor_id), standing.relation_stream(act.actor_id, author_id)
    )
    events = ballot.decide(
        command,
        streams.state(ballot, _ballot(command, act)),
        voter_id=act.actor_id,
        item=item,
        access=standing.access(streams, community_id, act.actor_id),
        blocking=standing.blocks(streams, act.actor_id, author_id).by_actor,
    )
    return Decision(events)


def _saved(command: SaveItem | UnsaveItem, act: Act) -> Id:
    return save_id(act.actor_id, command.target_id)


@cases.on(SaveItem, UnsaveItem, stream=_saved, subject=lambda c, _: c.target_id, reads=lambda c, _: (c.target_id,))
async def _(command: SaveItem | UnsaveItem, act: Act, streams: Streams) -> Decision:
    item = standing.item(streams, command.target_id)
    community_id = item.community_id if item else None
    await streams.fetch(*standing.access_streams(community_id, act.actor_id))
    events = save.decide(
        command,
        streams.state(save, _saved(command, act)),
        account_id=act.actor_id,
        item=item,
        access=standing.access(streams, community_id, act.actor_id),
    )
    return Decision(events)
