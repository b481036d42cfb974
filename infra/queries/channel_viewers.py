"""Who of those who follow a channel may see it: the pure function that decides for commands, for many at a time."""

from collections.abc import Collection

from domain.event import Id
from infra.queries.rows import Connection, columns, fetch
from infra.queries.servers import Inside, channels, one_moment, roles_of
from projections.server_members import ServerMember
from projections.servers import Server


async def viewers_of_channel(connection: Connection, channel_id: Id, account_ids: Collection[Id]) -> set[Id]:
    """Those of the accounts that may see the channel; none of them if it is gone. Primary keys; five statements.

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
        sql = f"""SELECT {columns(ServerMember, "m")} FROM views.server_members m
            WHERE m.server_id = %(id)s::uuid AND m.account_id = ANY(%(ids)s::uuid[])"""
        members = await fetch(connection, sql, {"id": server_id, "ids": list(account_ids)}, ServerMember)
    (server,), (one,), of_server = found, placed, roles.get(server_id, [])
    treated = {override.target_id for override in one.overrides} | {server.owner_id}
    decided: dict[bytes, bool] = {}
    seeing: set[Id] = set()
    for member in members:
        alike = member.account_id not in treated
        sees = decided.get(member.roles) if alike else None
        if sees is None:
            sees = one.seen_by(Inside(server, of_server, member))
            if alike:
                decided[member.roles] = sees
        if sees:
            seeing.add(member.account_id)
    return seeing
