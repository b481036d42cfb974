"""What decisions of several use cases ask of the streams: access, items, blocks, standings."""

from collections.abc import Collection

from commands.use_case import Streams
from domain import channel, comment, community, conversation, membership, post, relation, role, server, server_member
from domain.access import Access
from domain.conversation import Party
from domain.event import Id
from domain.ids import membership_id, relation_id, roles_id, server_member_id
from domain.item import Item
from domain.message import Place
from domain.relation import NO_BLOCKS, Blocks
from domain.server_member import Standing


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


def relation_stream(actor_id: Id, other_id: Id | None) -> Id | None:
    """The stream that ``blocks`` reads, if there is another one."""
    return None if other_id is None else relation_id(actor_id, other_id)


def blocks(streams: Streams, actor_id: Id, other_id: Id | None) -> Blocks:
    """The blocks between the two, whose stream is loaded."""
    if other_id is None:
        return NO_BLOCKS
    return streams.state(relation, relation_id(actor_id, other_id)).blocks(actor_id, other_id)


def server_streams(server_id: Id, *account_ids: Id) -> tuple[Id, ...]:
    """The streams that ``in_server`` reads for each of these accounts."""
    return (server_id, roles_id(server_id), *(server_member_id(server_id, one) for one in account_ids))


def in_server(streams: Streams, server_id: Id, account_id: Id) -> Standing:
    """What the account is in the server, whose streams are loaded."""
    return Standing(
        account_id,
        streams.state(server, server_id),
        streams.state(role, roles_id(server_id)),
        streams.state(server_member, server_member_id(server_id, account_id)),
    )


async def in_conversation(streams: Streams, conversation_id: Id, account_id: Id) -> Party:
    """What the account is in the conversation. Loads its stream and, between two people, that of their relation."""
    await streams.fetch(conversation_id)
    found = streams.state(conversation, conversation_id)
    other_id = None if found is None else found.other(account_id)
    await streams.fetch(relation_stream(account_id, other_id))
    return Party(account_id, found, blocks(streams, account_id, other_id))


async def place(streams: Streams, channel_id: Id | None, account_id: Id) -> Place | None:
    """Where messages are written, as the account stands there; ``None`` if there is no such place. Loads it.

    It is a channel or, by the same name, a conversation.
    """
    if channel_id is None:
        return None
    await streams.fetch(channel_id)
    found = streams.state(channel, channel_id)
    if found is None:
        party = await in_conversation(streams, channel_id, account_id)
        return None if party.conversation is None else Place(channel_id, None, party.may(), blocks=party.blocks)
    await streams.fetch(*server_streams(found.server_id, account_id))
    there = in_server(streams, found.server_id, account_id)
    if there.server is None:
        return None
    return Place(
        channel_id,
        found.server_id,
        there.may(found.overrides),
        writing=channel.writing(found.kind),
        slow_mode_seconds=found.slow_mode_seconds,
    )


async def viewers(streams: Streams, channel_id: Id, account_ids: Collection[Id]) -> frozenset[Id]:
    """Those of the accounts who see the place, which is loaded; loads what they are there."""
    found = streams.state(channel, channel_id)
    if found is None:
        talk = streams.state(conversation, channel_id)
        return frozenset() if talk is None else frozenset(account_ids) & frozenset(talk.members)
    await streams.fetch(*server_streams(found.server_id, *account_ids))
    return frozenset(one for one in account_ids if channel.seen(found, in_server(streams, found.server_id, one)))
