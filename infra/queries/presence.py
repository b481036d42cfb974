"""Where people see each other: which places an account is in, and who of some accounts is in a place.

A place is a server, which has any number of members. In conversations people are followed one by one
(``conversations.company``).
"""

from collections.abc import Collection, Sequence

from domain.event import Id
from infra.queries.rows import Connection, fetch


def standing_channel(place_id: Id) -> str:
    """Signalled when who is in a server changed, or what its roles allow, a channel of its, or the server itself; and
    when who is in a conversation changed, or who of them blocks whom."""
    return f"standing:{place_id}"


def overrides_channel(channel_id: Id) -> str:
    """Signalled when whom a channel treats otherwise than its server does changed."""
    return f"standing:{channel_id}"


async def places_of(connection: Connection, account_ids: Sequence[Id]) -> dict[Id, list[Id]]:
    """The places that each of the accounts is in. Index (account_id, position)."""
    sql = """SELECT m.account_id, m.server_id FROM views.server_members m
        WHERE m.account_id = ANY(%(ids)s::uuid[]) ORDER BY m.account_id, m.position"""
    places: dict[Id, list[Id]] = {account_id: [] for account_id in account_ids}
    for account_id, server_id in await fetch(connection, sql, {"ids": list(account_ids)}, lambda *row: row):
        places[account_id].append(server_id)
    return places


async def members_among(connection: Connection, place_id: Id, account_ids: Collection[Id]) -> set[Id]:
    """Those of the accounts that are in the place; none of them if it is gone. Primary keys."""
    sql = """SELECT m.account_id FROM views.server_members m JOIN views.servers s USING (server_id)
        WHERE m.server_id = %(place)s::uuid AND m.account_id = ANY(%(ids)s::uuid[])
        AND s.created_at IS NOT NULL AND NOT s.deleted"""
    given = {"place": place_id, "ids": list(account_ids)}
    return set(await fetch(connection, sql, given, lambda account_id: account_id))


async def last_joined(connection: Connection, place_id: Id) -> int:
    """The position of the last joining of those who are in the place. Index (server_id, position)."""
    sql = "SELECT coalesce(max(m.position), 0) FROM views.server_members m WHERE m.server_id = %(place)s::uuid"
    (found,) = await fetch(connection, sql, {"place": place_id}, lambda position: position)
    return int(found)


async def joined_since(connection: Connection, place_id: Id, position: int, limit: int) -> list[tuple[Id, int]]:
    """At most ``limit`` who joined after that position, in order, with their positions. Index (server_id, position)."""
    sql = """SELECT m.account_id, m.position FROM views.server_members m
        WHERE m.server_id = %(place)s::uuid AND m.position > %(after)s ORDER BY m.position LIMIT %(limit)s"""
    given = {"place": place_id, "after": position, "limit": limit}
    return await fetch(connection, sql, given, lambda *row: row)
