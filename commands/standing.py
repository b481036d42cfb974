"""What decisions of several use cases ask of the streams: access, items, blocks."""

from commands.use_case import Streams
from domain import block, comment, community, membership, post
from domain.access import Access
from domain.block import NO_BLOCKS, Blocks
from domain.event import Id
from domain.ids import block_id, membership_id
from domain.item import Item


def item(streams: Streams, item_id: Id) -> Item | None:
    """The post or comment of that stream, which is loaded."""
    found = streams.state(post, item_id) or streams.state(comment, item_id)
    return found.item if found is not None else None


def access_streams(community_id: Id | None, account_id: Id) -> tuple[Id, ...]:
    """The streams that ``access`` reads."""
    return () if community_id is None else (community_id, membership_id(community_id, account_id))


def access(streams: Streams, community_id: Id | None, account_id: Id) -> Access:
    """What the account may do in the community, whose streams are loaded."""
    if community_id is None:
        return membership.access(None, membership.START)
    standing = streams.state(membership, membership_id(community_id, account_id))
    return membership.access(streams.state(community, community_id), standing)


def block_streams(actor_id: Id, other_id: Id | None) -> tuple[Id, ...]:
    """The streams that ``blocks`` reads."""
    return () if other_id is None else (block_id(actor_id, other_id), block_id(other_id, actor_id))


def blocks(streams: Streams, actor_id: Id, other_id: Id | None) -> Blocks:
    """The blocks between the two, whose streams are loaded."""
    if other_id is None:
        return NO_BLOCKS
    return Blocks(
        by_actor=streams.state(block, block_id(actor_id, other_id)),
        of_actor=streams.state(block, block_id(other_id, actor_id)),
    )
