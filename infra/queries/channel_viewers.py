"""Who of those who follow a channel may see it: the pure function that decides for commands, for many at a time."""

from collections.abc import Collection

from domain.event import Id
from infra.queries.rows import Connection, array, columns, fetch
from infra.queries.servers import Inside, channels, one_moment, roles_of
from projections.server_members import ServerMember
from projections.servers import Server


async def viewers_of_channel(connection: Connection, channel_id: Id, account_ids: Collection[Id]) -> set[Id]:
    """Those of the accounts that may see the channel; none of them if it is gone. Primary keys; six statements.

    Members with the same roles, of whom the channel says nothing in particular, are decided once.
    """
    async with one_moment(connection):
        placed = await channels(connection, [channel_id])
        server_id = placed[0].channel.server_id if placed else None
        if server_id is None:
            return set()
        sql = f"""SELECT {columns(Server, "s")} FROM views.servers s
            WHERE s.server_id = %(id)s::uuid AND s.created_at IS NOT NULL AND NOT s.deleted"""
        found = await fetch(connection, sql, {"id": server_id}, Server)
        if not found:
            return set()
        roles = await roles_of(connection, [server_id])
        treated = {override.target_id for override in placed[0].overrides} | {found[0].owner_id}
        asked = {"id": server_id, "ids": array(account_ids), "treated": [one for one in treated if one is not None]}
        sql = f"""SELECT {columns(ServerMember, "m")} FROM views.server_members m
            WHERE m.server_id = %(id)s::uuid AND m.account_id = ANY(%(treated)s::uuid[])
            AND m.account_id = ANY(%(ids)s::uuid[])"""
        single = await fetch(connection, sql, asked, ServerMember)
        # Ten thousand may follow, and most of them are alike: they come as one text for each set of roles.
        sql = """SELECT m.roles, string_agg(m.account_id::text, ',') FROM views.server_members m
            WHERE m.server_id = %(id)s::uuid AND m.account_id = ANY(%(ids)s::uuid[])
            AND NOT m.account_id = ANY(%(treated)s::uuid[]) GROUP BY m.roles"""
        groups = await fetch(connection, sql, asked, lambda *row: row)
    (server,), (one,), of_server = found, placed, roles.get(server_id, [])
    seeing = {member.account_id for member in single if one.seen_by(Inside(server, of_server, member))}
    for held, joined in groups:
        alike = joined.split(",")
        if one.seen_by(Inside(server, of_server, ServerMember(server_id, alike[0], held))):
            seeing.update(alike)
    return seeing
