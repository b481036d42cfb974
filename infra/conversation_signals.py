"""Whom a change in a conversation concerns, besides those whom a row names that changed: those who are in it.

A message to a group is one row, and is signalled to each of its members on a channel of his own; so whoever follows his
conversations listens to one channel, however many they are. Members are asked for after the commit of what changed. Of
two changes that views of several partitions bring in any order, such as a message and the joining of whom it is for,
the later one finds the earlier: nobody is passed over.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

from psycopg import Connection
from psycopg.errors import UndefinedTable

from domain.event import Id
from infra.queries.presence import standing_channel
from projections.blocks import Block, blocks
from projections.channel_activity import ChannelActivity, channel_activity
from projections.conversation_members import ConversationMember, conversation_members
from projections.conversations import Conversation, conversations
from projections.core import Projection, Row
from projections.stepping import Stepped

R = TypeVar("R", bound=Row)


def conversations_channel(account_id: Id) -> str:
    """Signalled when something was said in a conversation of the account, or it came to one, or one was changed."""
    return f"conversations:{account_id}"


def company_channel(account_id: Id) -> str:
    """Signalled when it may be others with whom the account is in conversations, or one of two blocks the other."""
    return f"company:{account_id}"


def concerned(connection: Connection[Any], done: Mapping[str, Stepped]) -> set[str]:
    """The channels to wake besides those that rows name. Nothing is asked where nothing of conversations changed."""
    moved = _changed(done, conversation_members, ConversationMember)
    parted = _changed(done, blocks, Block)
    told = {row.conversation_id for row in _changed(done, conversations, Conversation)}
    told.update(row.channel_id for row in _changed(done, channel_activity, ChannelActivity) if row.server_id is None)
    met = {row.conversation_id for row in moved}
    channels = set()
    for conversation_id, account_id in _members(connection, told | met):
        if conversation_id in told:
            channels.add(conversations_channel(account_id))
        if conversation_id in met:
            channels.add(company_channel(account_id))
    channels.update(standing_channel(conversation_id) for conversation_id in _shared(connection, parted))
    return channels


def _changed(done: Mapping[str, Stepped], projection: Projection, kind: type[R]) -> list[R]:
    """The rows that changed; of one that is gone nothing but its key."""
    if projection.name not in done:
        return []
    changed = done[projection.name].changed.items()
    rows = (projection.new(key) if row is None else row for key, row in changed)
    return [row for row in rows if isinstance(row, kind)]


def _members(connection: Connection[Any], conversation_ids: Collection[Id]) -> list[tuple[Id, Id]]:
    """Each of the conversations with each of its members. Primary key."""
    if not conversation_ids:
        return []
    sql = """SELECT m.conversation_id, m.account_id FROM views.conversation_members m
        WHERE m.conversation_id = ANY(%s::uuid[])"""
    return _found(connection, sql, list(conversation_ids))


def _shared(connection: Connection[Any], pairs: Sequence[Block]) -> list[Id]:
    """The conversations that both of any of the pairs are in. Index (account_id, position), primary key."""
    if not pairs:
        return []
    sql = """SELECT DISTINCT m.conversation_id
        FROM unnest(%s::uuid[], %s::uuid[]) AS p (one_id, other_id)
            JOIN views.conversation_members m ON m.account_id = p.one_id
            JOIN views.conversation_members o ON o.conversation_id = m.conversation_id AND o.account_id = p.other_id"""
    ones, others = [row.blocker_id for row in pairs], [row.blocked_id for row in pairs]
    return [conversation_id for (conversation_id,) in _found(connection, sql, ones, others)]


def _found(connection: Connection[Any], sql: LiteralString, *given: Sequence[Id]) -> list[Any]:
    """What a statement finds. In a new fleet there may be no view of members yet: nobody is in anything, so far."""
    try:
        return connection.execute(sql, given).fetchall()
    except UndefinedTable:
        return []
