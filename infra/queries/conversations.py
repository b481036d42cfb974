"""Conversations: between two people, and groups.

Only who is in one sees it. What he may there is told by ``Joined.party``: the same pure function that decides for
commands.
"""

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from msgspec import Struct

from domain.conversation import Conversation as ConversationState
from domain.conversation import Party
from domain.event import Id
from domain.relation import NO_BLOCKS, Blocks
from infra.queries.rows import Connection, Page, Slice, by_position, columns, fetch, sliced
from infra.queries.servers import one_moment
from projections.conversation_members import ConversationMember
from projections.conversations import Conversation

_CONVERSATION = columns(Conversation, "c")


Stamp: TypeAlias = tuple[Any, ...]
"""Of a conversation of somebody: another one once anything that he sees of it has changed, what is unread included."""


class Joined(Struct, frozen=True, dict=True):
    """A conversation as somebody sees it who is in it: its row, all its members as they came, and his own row."""

    conversation: Conversation
    members: Sequence[ConversationMember]
    mine: ConversationMember
    blocks: Blocks

    @cached_property
    def party(self) -> Party:
        """What he is there, as decisions know it."""
        row = self.conversation
        ids = tuple(member.account_id for member in self.members)
        return Party(
            self.mine.account_id, ConversationState(row.conversation_id, ids, row.owner_id, row.name), self.blocks
        )


async def joined(connection: Connection, viewer_id: Id, conversation_ids: Sequence[Id]) -> list[Joined]:
    """Those of the conversations that the viewer is in. Primary keys; three statements of one moment."""
    sql = f"""SELECT {_CONVERSATION}
        FROM views.conversations c JOIN views.conversation_members m USING (conversation_id)
        WHERE c.conversation_id = ANY(%(ids)s::uuid[]) AND m.account_id = %(viewer)s::uuid"""
    async with one_moment(connection):
        found = await fetch(connection, sql, {"viewer": viewer_id, "ids": list(conversation_ids)}, Conversation)
        return await _with_members(connection, viewer_id, found)


async def viewers(connection: Connection, conversation_id: Id, account_ids: Collection[Id]) -> set[Id]:
    """Those of the accounts that are in the conversation, and so see it. Primary key."""
    sql = """SELECT m.account_id FROM views.conversation_members m
        WHERE m.conversation_id = %(id)s::uuid AND m.account_id = ANY(%(ids)s::uuid[])"""
    return set(await fetch(connection, sql, {"id": conversation_id, "ids": list(account_ids)}, lambda one: one))


async def company(connection: Connection, viewer_id: Id, conversation_id: Id | None, limit: int) -> list[Id]:
    """With whom the viewer is in that conversation, or in any; himself included, but for whom he or who him blocks.

    At most ``limit``, of that many conversations, those of the ones that he came to last. Index (account_id, position),
    primary keys.
    """
    sql = """WITH mine AS MATERIALIZED (
            SELECT m.conversation_id, m.position FROM views.conversation_members m
            WHERE m.account_id = %(viewer)s::uuid
            AND (%(id)s::uuid IS NULL OR m.conversation_id = %(id)s::uuid) ORDER BY m.position DESC LIMIT %(limit)s),
        met AS MATERIALIZED (
            SELECT o.account_id, max(mine.position) AS last
            FROM mine JOIN views.conversation_members o USING (conversation_id) GROUP BY o.account_id)
        SELECT met.account_id FROM met
        WHERE NOT EXISTS (SELECT FROM views.blocks b
            WHERE b.blocker_id = %(viewer)s::uuid AND b.blocked_id = met.account_id)
        AND NOT EXISTS (SELECT FROM views.blocks b
            WHERE b.blocker_id = met.account_id AND b.blocked_id = %(viewer)s::uuid)
        ORDER BY met.last DESC, met.account_id LIMIT %(limit)s"""
    given = {"viewer": viewer_id, "id": conversation_id, "limit": limit}
    return await fetch(connection, sql, given, lambda account_id: account_id)


async def apart(connection: Connection, conversation_id: Id, account_ids: Collection[Id]) -> set[tuple[Id, Id]]:
    """Each member of the conversation with each of those accounts such that one of the two blocks the other.

    Primary keys.
    """
    sql = """SELECT m.account_id, a.account_id
        FROM views.conversation_members m CROSS JOIN unnest(%(ids)s::uuid[]) AS a (account_id)
        WHERE m.conversation_id = %(id)s::uuid AND EXISTS (SELECT FROM views.blocks b
            WHERE b.blocker_id = m.account_id AND b.blocked_id = a.account_id
            OR b.blocker_id = a.account_id AND b.blocked_id = m.account_id)"""
    return set(await fetch(connection, sql, {"id": conversation_id, "ids": list(account_ids)}, lambda *pair: pair))


async def mine(connection: Connection, viewer_id: Id, where: Slice) -> Page[Joined]:
    """The conversations that the viewer is in, last joined first. Index (account_id, position)."""
    condition, order, parameters = by_position(where, "m.position")
    sql = f"""SELECT {_CONVERSATION}
        FROM views.conversation_members m JOIN views.conversations c USING (conversation_id)
        WHERE m.account_id = %(viewer)s::uuid AND {condition} {order}"""
    async with one_moment(connection):
        page = sliced(await fetch(connection, sql, {"viewer": viewer_id, **parameters}, Conversation), where)
        return Page(await _with_members(connection, viewer_id, page.items), page.has_next, page.has_previous)


async def stamps(connection: Connection, viewer_id: Id, limit: int) -> dict[Id, Stamp]:
    """At most ``limit`` conversations that the viewer is in, the last joined first, each with how it is now.

    Index (account_id, position), primary keys. No position says that nothing changed since another: what makes a stamp
    is of several partitions, of which one that is behind brings what is of a lower position than what was seen before.
    """
    sql = """WITH mine AS MATERIALIZED (
            SELECT m.conversation_id, m.position FROM views.conversation_members m
            WHERE m.account_id = %(viewer)s::uuid ORDER BY m.position DESC LIMIT %(limit)s),
        blocked AS MATERIALIZED (
            SELECT md5(string_agg(b.position::text, ' ' ORDER BY b.position)) AS by_viewer
            FROM views.blocks b WHERE b.blocker_id = %(viewer)s::uuid)
        SELECT c.conversation_id, j.position, c.name, c.owner_id, c.members,
            (SELECT max(o.position) FROM views.conversation_members o WHERE o.conversation_id = c.conversation_id),
            (SELECT a.position FROM views.channel_activity a WHERE a.channel_id = c.conversation_id),
            (SELECT r.position FROM views.read_markers r
                WHERE r.account_id = %(viewer)s::uuid AND r.channel_id = c.conversation_id),
            b.by_viewer,
            c.owner_id IS NULL AND EXISTS (SELECT FROM views.conversation_members o
                JOIN views.blocks k ON k.blocker_id = o.account_id AND k.blocked_id = %(viewer)s::uuid
                WHERE o.conversation_id = c.conversation_id)
        FROM mine j JOIN views.conversations c USING (conversation_id) CROSS JOIN blocked b
        ORDER BY j.position DESC"""
    given = {"viewer": viewer_id, "limit": limit}
    return dict(await fetch(connection, sql, given, lambda conversation_id, *stamp: (conversation_id, stamp)))


async def still_in(connection: Connection, viewer_id: Id, conversation_ids: Collection[Id]) -> set[Id]:
    """Those of the conversations that the viewer is in. Primary key."""
    sql = """SELECT m.conversation_id FROM views.conversation_members m
        WHERE m.conversation_id = ANY(%(ids)s::uuid[]) AND m.account_id = %(viewer)s::uuid"""
    return set(await fetch(connection, sql, {"viewer": viewer_id, "ids": list(conversation_ids)}, lambda one: one))


async def _with_members(connection: Connection, viewer_id: Id, found: Sequence[Conversation]) -> list[Joined]:
    sql = f"""SELECT {columns(ConversationMember, "m")} FROM views.conversation_members m
        WHERE m.conversation_id = ANY(%(ids)s::uuid[]) ORDER BY m.conversation_id, m.position, m.account_id"""
    members: dict[Id, list[ConversationMember]] = {row.conversation_id: [] for row in found}
    for member in await fetch(connection, sql, {"ids": list(members)}, ConversationMember):
        members[member.conversation_id].append(member)
    others = {
        row.conversation_id: member.account_id
        for row in found
        if row.owner_id is None
        for member in members[row.conversation_id]
        if member.account_id != viewer_id
    }
    blocks = await blocks_between(connection, viewer_id, list(others.values()))
    made = []
    for row in found:
        there = members[row.conversation_id]
        own = next(member for member in there if member.account_id == viewer_id)
        made.append(Joined(row, there, own, blocks.get(others.get(row.conversation_id, viewer_id), NO_BLOCKS)))
    return made


async def blocks_between(connection: Connection, viewer_id: Id, others: Sequence[Id]) -> dict[Id, Blocks]:
    """The blocks between the viewer and each of these others, if there are any. Primary keys."""
    if not others:
        return {}
    sql = """SELECT o.account_id,
            EXISTS (SELECT FROM views.blocks b WHERE b.blocker_id = %(viewer)s::uuid AND b.blocked_id = o.account_id),
            EXISTS (SELECT FROM views.blocks b WHERE b.blocker_id = o.account_id AND b.blocked_id = %(viewer)s::uuid)
        FROM unnest(%(others)s::uuid[]) o (account_id)"""

    def made(other_id: Id, by_actor: bool, of_actor: bool) -> tuple[Id, Blocks]:
        return other_id, Blocks(by_actor=by_actor, of_actor=of_actor)

    return dict(await fetch(connection, sql, {"viewer": viewer_id, "others": list(others)}, made))
